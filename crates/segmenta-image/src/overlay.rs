//! A label map's colours laid over its photograph.

use rayon::prelude::*;

use crate::{LabelMap, Palette, Picture, PictureError};

impl LabelMap {
    /// The photograph with every class's colour over it, `alpha` (0 to 1) being the colour's share:
    /// torchvision's `draw_segmentation_masks`, to the bit. Void and ids that are no class of the palette
    /// ([`Palette::draws`]) leave the photograph as it is. Class 0 is drawn like any other.
    ///
    /// # Errors
    /// A photograph of another size than the map's.
    pub fn overlay(
        &self,
        picture: &Picture,
        palette: &Palette,
        alpha: f64,
    ) -> Result<Picture, PictureError> {
        if picture.size() != self.size() {
            return Err(PictureError::mismatch(
                "a photograph and a label map",
                picture.size(),
                self.size(),
                "resize the label map to the photograph",
            ));
        }
        let mix = Mix::new(palette, alpha);
        let width = self.width();
        let mut pixels = vec![[0; 3]; self.ids().len()];
        let (photo, _) = picture.pixels().as_chunks::<3>();
        pixels
            .par_chunks_mut(width)
            .zip(photo.par_chunks(width))
            .zip(self.ids().par_chunks(width))
            .for_each(|((out, photo), ids)| mix.row(out, photo, ids));
        Ok(Picture::new(width, self.height(), pixels.into_flattened()))
    }
}

/// What both terms of `photo · (1 − alpha) + colour · alpha` can be: 256 values each.
struct Mix {
    photo: [f32; 256],
    colours: [Option<[f32; 3]>; 256],
}

impl Mix {
    fn new(palette: &Palette, alpha: f64) -> Self {
        let alpha = if alpha.is_nan() {
            0.0
        } else {
            alpha.clamp(0.0, 1.0)
        };
        // Python subtracts in double precision; only then do the shares meet float32 tensors.
        let (rest, alpha) = ((1.0 - alpha) as f32, alpha as f32);
        let colour = |id: usize| {
            let colour = palette.color(id as u8);
            palette
                .draws(id as u8)
                .then(|| colour.map(|c| f32::from(c) * alpha))
        };
        Self {
            photo: std::array::from_fn(|v| v as f32 * rest),
            colours: std::array::from_fn(colour),
        }
    }

    fn row(&self, out: &mut [[u8; 3]], photo: &[[u8; 3]], ids: &[u8]) {
        for ((out, photo), &id) in out.iter_mut().zip(photo).zip(ids) {
            *out = match self.colours[usize::from(id)] {
                // torch's cast from float to byte cuts off.
                Some(colour) => {
                    std::array::from_fn(|c| (self.photo[usize::from(photo[c])] + colour[c]) as u8)
                }
                None => *photo,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_and_unknown_ids_leave_the_photograph() {
        let picture = Picture::filled(3, 1, [200, 100, 51]);
        let map = LabelMap::new(3, 1, vec![0, 7, 255]).unwrap();
        let palette = Palette::from_colors(&[[0, 0, 255]]);
        let overlay = map.overlay(&picture, &palette, 0.5).unwrap();
        assert_eq!(overlay.pixels()[..3], [100, 50, 153]);
        assert_eq!(overlay.pixels()[3..], picture.pixels()[3..]);
        assert!(
            map.overlay(&Picture::filled(1, 3, [0; 3]), &palette, 0.5)
                .is_err()
        );
    }
}
