//! EXIF orientation: turning a picture upright.

use image::metadata::Orientation;
use rayon::prelude::*;

use crate::Picture;

/// Every orientation reads the source in straight lines: from a corner, one step a column and one step a row.
pub(crate) fn upright(picture: Picture, orientation: Orientation) -> Picture {
    use Orientation as O;
    let (width, height) = picture.size();
    let (w, h) = (width as isize, height as isize);
    let (start, column, row) = match orientation {
        O::NoTransforms => return picture,
        O::FlipHorizontal => (w - 1, -1, w),
        O::Rotate180 => (w * h - 1, -1, -w),
        O::FlipVertical => (w * (h - 1), 1, -w),
        O::Rotate90FlipH => (0, w, 1),
        O::Rotate90 => (w * (h - 1), -w, 1),
        O::Rotate270FlipH => (w * h - 1, -w, -1),
        O::Rotate270 => (w - 1, w, -1),
    };
    let turned = matches!(
        orientation,
        O::Rotate90 | O::Rotate90FlipH | O::Rotate270 | O::Rotate270FlipH
    );
    let (width, height) = if turned {
        (height, width)
    } else {
        (width, height)
    };
    let (source, _) = picture.pixels().as_chunks::<3>();
    let mut target = vec![[0; 3]; source.len()];
    target
        .par_chunks_exact_mut(width)
        .enumerate()
        .for_each(|(y, pixels)| {
            let first = start + row * y as isize;
            for (x, pixel) in pixels.iter_mut().enumerate() {
                *pixel = source[(first + column * x as isize) as usize];
            }
        });
    Picture::new(width, height, target.into_flattened())
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
        }
    }
}
