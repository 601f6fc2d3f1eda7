//! Pictures side by side, in torchvision's `make_grid` layout.

use crate::{ErrorKind, Picture, PictureError, Size};
use segmenta_files::count;

/// Pictures of one size in rows of `nrow`, `padding` (torchvision's default: 2) black pixels around each.
/// A single picture comes back as it is.
///
/// # Errors
/// No pictures, pictures of different sizes, or a grid that is larger than a picture may be ([`Size`]).
pub fn make_grid(
    pictures: &[Picture],
    nrow: usize,
    padding: usize,
) -> Result<Picture, PictureError> {
    let Some(first) = pictures.first() else {
        return Err(PictureError::new(
            ErrorKind::Mismatch,
            "a grid of no pictures",
            "pictures given by the program",
            "give at least one",
        ));
    };
    if let Some(other) = pictures.iter().find(|p| p.size() != first.size()) {
        return Err(PictureError::mismatch(
            "pictures in a grid",
            first.size(),
            other.size(),
            "resize them to one size",
        ));
    }
    if let [only] = pictures {
        return Ok(only.clone());
    }
    let columns = nrow.clamp(1, pictures.len());
    let rows = pictures.len().div_ceil(columns);
    let along = |side: usize, cells: usize| {
        let cell = side.saturating_add(padding);
        cell.saturating_mul(cells).saturating_add(padding)
    };
    let (width, height) = (along(first.width(), columns), along(first.height(), rows));
    Size::new(width, height)
        .map_err(|error| error.of(format!("a grid of {}", count(pictures.len(), "picture"))))?;
    let (cell_width, cell_height) = (first.width() + padding, first.height() + padding);
    let mut grid = Picture::filled(width, height, [0; 3]);
    for (k, picture) in pictures.iter().enumerate() {
        let left = k % columns * cell_width + padding;
        let top = k / columns * cell_height + padding;
        grid.paste(picture, left, top);
    }
    Ok(grid)
}

/// As [`make_grid`], of float tensors (three planes of `height` rows of `width` values each), every one stretched
/// from its own least and greatest value to 0–255: torchvision's `make_grid(normalize=True, scale_each=True)`
/// followed by `save_image`'s rounding.
///
/// # Errors
/// No tensors, one that has not `3 · width · height` values, or too large a grid.
pub fn make_grid_normalised(
    tensors: &[&[f32]],
    width: usize,
    height: usize,
    nrow: usize,
    padding: usize,
) -> Result<Picture, PictureError> {
    let pictures: Result<Vec<Picture>, PictureError> = tensors
        .iter()
        .map(|tensor| stretched(tensor, width, height))
        .collect();
    make_grid(&pictures?, nrow, padding)
}

fn stretched(tensor: &[f32], width: usize, height: usize) -> Result<Picture, PictureError> {
    let plane = tensor.len() / 3;
    let low = tensor.iter().copied().fold(f32::INFINITY, f32::min);
    let high = tensor.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Python's difference is of doubles, the division of floats.
    let range = (f64::from(high) - f64::from(low)).max(1e-5) as f32;
    let byte = |value: f32| ((value - low) / range * 255.0 + 0.5) as u8;
    let pixel = |i: usize| [0, 1, 2].map(|c| byte(tensor[c * plane + i]));
    Picture::from_rgb(width, height, (0..plane).flat_map(pixel).collect())
}

impl Picture {
    /// Draws `other` with its top left at (`left`, `top`).
    ///
    /// # Panics
    /// If it reaches over the right edge; what lies below the lower edge is not drawn.
    pub fn paste(&mut self, other: &Picture, left: usize, top: usize) {
        let start = left * 3..(left + other.width()) * 3;
        let width = self.width();
        let target = self.pixels_mut().chunks_exact_mut(width * 3).skip(top);
        for (to, from) in target.zip(other.rows()) {
            to[start.clone()].copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_filled_row_by_row() {
        let pictures: Vec<Picture> = (1..=3).map(|v| Picture::filled(1, 1, [v; 3])).collect();
        let grid = make_grid(&pictures, 2, 1).unwrap();
        let values: Vec<u8> = grid.pixels().iter().step_by(3).copied().collect();
        assert_eq!(grid.size(), (5, 5));
        assert_eq!(values[5..10], [0, 1, 0, 2, 0]);
        assert_eq!(values[15..20], [0, 3, 0, 0, 0]);
        assert!(make_grid(&[], 2, 2).is_err());
        for padding in [1 << 20, usize::MAX] {
            let error = make_grid(&pictures, 2, padding).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        assert!(make_grid(&[pictures[0].clone(), Picture::filled(2, 1, [0; 3])], 2, 2).is_err());
    }
}
