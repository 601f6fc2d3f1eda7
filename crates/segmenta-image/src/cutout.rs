//! The wanted classes of a photograph on a transparent ground.

use rayon::prelude::*;

use crate::{LabelMap, Picture, PictureError, VOID, save};

/// The bytes of an RGBA PNG that shows the pixels whose class `keep` says yes to. The others, and always
/// class 0 (the background) and void, are transparent.
///
/// # Errors
/// A photograph of another size than the map's.
pub fn cutout(
    picture: &Picture,
    map: &LabelMap,
    keep: &dyn Fn(u8) -> bool,
) -> Result<Vec<u8>, PictureError> {
    if picture.size() != map.size() {
        return Err(PictureError::mismatch(
            "a photograph and a label map",
            picture.size(),
            map.size(),
            "resize the label map to the photograph",
        ));
    }
    let kept: [bool; 256] = std::array::from_fn(|id| {
        let id = id as u8;
        id != 0 && id != VOID && keep(id)
    });
    let (photo, _) = picture.pixels().as_chunks::<3>();
    // Hidden pixels are black: the file is smaller, and what was cut away cannot be brought back.
    let pixels: Vec<[u8; 4]> = photo
        .par_iter()
        .zip(map.ids())
        .map(|(&[r, g, b], &id)| {
            if kept[usize::from(id)] {
                [r, g, b, 255]
            } else {
                [0; 4]
            }
        })
        .collect();
    Ok(save::rgba_png(picture.size(), pixels.as_flattened()))
}
