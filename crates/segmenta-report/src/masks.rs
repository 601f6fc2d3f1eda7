//! Masks of an epoch, kept in one file for the animation.

use segmenta_image::{LabelMap, Rect};

use crate::figure::drawn_size;
use crate::{ReportError, Watched};

/// The long side of masks that are kept for the animation: what it draws.
const MASK_SIDE: (usize, usize) = (1, 160);

/// A mask as small as the animation draws it.
pub(crate) fn reduced(mask: &LabelMap) -> LabelMap {
    let (width, height) = drawn_size(mask.size(), MASK_SIDE);
    mask.resize_nearest(width, height)
}

/// Masks one below the other.
pub(crate) fn stacked(masks: &[LabelMap]) -> Result<LabelMap, ReportError> {
    let width = masks.iter().map(LabelMap::width).max().unwrap_or(1);
    let mut ids = Vec::new();
    for mask in masks {
        for row in mask.ids().chunks_exact(mask.width()) {
            ids.extend(row);
            ids.resize(ids.len() + width - row.len(), segmenta_image::VOID);
        }
    }
    Ok(LabelMap::new(width, ids.len() / width, ids)?)
}

/// The masks of these pictures; `None` if the stack is of others.
pub(crate) fn unstacked(stack: &LabelMap, watched: &[Watched]) -> Option<Vec<LabelMap>> {
    let sizes: Vec<(usize, usize)> = watched
        .iter()
        .map(|w| drawn_size(w.truth.size(), MASK_SIDE))
        .collect();
    let width = sizes.iter().map(|size| size.0).max()?;
    let height: usize = sizes.iter().map(|size| size.1).sum();
    if stack.size() != (width, height) {
        return None;
    }
    let mut top = 0;
    let cut = sizes.into_iter().map(|(width, height)| {
        let mask = stack.crop(Rect::new(0, top, width, height)).ok();
        top += height;
        mask
    });
    cut.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use segmenta_image::Picture;

    #[test]
    fn masks_of_any_sizes_come_back_from_their_stack() {
        let sizes = [(3, 2), (640, 480), (1, 900)];
        let map = |(width, height)| {
            let ids = (0..width * height).map(|i| (i % 5) as u8).collect();
            LabelMap::new(width, height, ids).unwrap()
        };
        let watched = |size: (usize, usize)| Watched {
            picture: Picture::filled(size.0, size.1, [0; 3]),
            truth: map(size),
        };
        let masks: Vec<LabelMap> = sizes.into_iter().map(|size| reduced(&map(size))).collect();
        assert_eq!(masks[1].size(), (160, 120));
        let all: Vec<Watched> = sizes.into_iter().map(watched).collect();
        let stack = stacked(&masks).unwrap();
        assert_eq!(unstacked(&stack, &all).unwrap(), masks);
        assert!(unstacked(&stack, &all[1..]).is_none(), "other pictures");
    }
}
