//! EXIF orientation: turning a picture upright, and the mask that was drawn on it as it lay.

use image::metadata::Orientation;
use rayon::prelude::*;

use crate::{LabelMap, Picture};

pub(crate) fn upright(picture: Picture, orientation: Orientation) -> Picture {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let (source, _) = picture.pixels().as_chunks::<3>();
    let (width, height, target) = turned(source, picture.size(), orientation);
    Picture::new(width, height, target.into_flattened())
}

impl LabelMap {
    /// The map turned as a picture with this EXIF orientation (1 to 8, see [`crate::exif_orientation`]) is turned
    /// upright: for masks that were drawn on the picture as it lies in its file. Other numbers leave it as it is.
    #[must_use]
    pub fn upright(self, exif: u8) -> Self {
        match Orientation::from_exif(exif) {
            None | Some(Orientation::NoTransforms) => self,
            Some(orientation) => {
                let (width, height, ids) = turned(self.ids(), self.size(), orientation);
                Self::from_parts(width, height, ids)
            }
        }
    }
}

/// Every orientation reads the source in straight lines: from a corner, one step a column and one step a row.
fn turned<T: Copy + Default + Send + Sync>(
    source: &[T],
    (width, height): (usize, usize),
    orientation: Orientation,
) -> (usize, usize, Vec<T>) {
    use Orientation as O;
    let (w, h) = (width as isize, height as isize);
    let (start, column, row) = match orientation {
        O::NoTransforms => (0, 1, w),
        O::FlipHorizontal => (w - 1, -1, w),
        O::Rotate180 => (w * h - 1, -1, -w),
        O::FlipVertical => (w * (h - 1), 1, -w),
        O::Rotate90FlipH => (0, w, 1),
        O::Rotate90 => (w * (h - 1), -w, 1),
        O::Rotate270FlipH => (w * h - 1, -w, -1),
        O::Rotate270 => (w - 1, w, -1),
    };
    let on_its_side = matches!(
        orientation,
        O::Rotate90 | O::Rotate90FlipH | O::Rotate270 | O::Rotate270FlipH
    );
    let (width, height) = if on_its_side {
        (height, width)
    } else {
        (width, height)
    };
    let mut target = vec![T::default(); source.len()];
    target
        .par_chunks_exact_mut(width)
        .enumerate()
        .for_each(|(y, pixels)| {
            let first = start + row * y as isize;
            for (x, pixel) in pixels.iter_mut().enumerate() {
                *pixel = source[(first + column * x as isize) as usize];
            }
        });
    (width, height, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3×2 picture whose pixels are numbered 0 to 5, and what each orientation makes of it.
    #[test]
    fn each_orientation_moves_each_pixel() {
        let numbered = |w, h, numbers: &[u8]| {
            Picture::new(w, h, numbers.iter().flat_map(|&n| [n; 3]).collect())
        };
        let source = numbered(3, 2, &[0, 1, 2, 3, 4, 5]);
        let cases: [(u8, usize, [u8; 6]); 8] = [
            (1, 3, [0, 1, 2, 3, 4, 5]),
            (2, 3, [2, 1, 0, 5, 4, 3]),
            (3, 3, [5, 4, 3, 2, 1, 0]),
            (4, 3, [3, 4, 5, 0, 1, 2]),
            (5, 2, [0, 3, 1, 4, 2, 5]),
            (6, 2, [3, 0, 4, 1, 5, 2]),
            (7, 2, [5, 2, 4, 1, 3, 0]),
            (8, 2, [2, 5, 1, 4, 0, 3]),
        ];
        for (exif, width, pixels) in cases {
            let orientation = Orientation::from_exif(exif).unwrap();
            let wanted = numbered(width, 6 / width, &pixels);
            let turned = upright(source.clone(), orientation);
            assert_eq!(turned.size(), wanted.size(), "orientation {exif}");
            assert_eq!(turned.pixels(), wanted.pixels(), "orientation {exif}");
            let mask = LabelMap::new(3, 2, vec![0, 1, 2, 3, 4, 5]).unwrap();
            let mask = mask.upright(exif);
            assert_eq!(mask.size(), wanted.size(), "orientation {exif}");
            assert_eq!(mask.ids(), pixels, "orientation {exif}");
        }
    }
}
