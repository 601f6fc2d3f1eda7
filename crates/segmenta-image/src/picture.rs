//! A photograph in memory.

use segmenta_files::count;
use std::path::Path;

use rayon::prelude::*;

use crate::{ErrorKind, Notice, PictureError, Rect, decode, resize, save};

/// The extensions of files that [`Picture::open`] is meant for, in lower case.
pub const EXTENSIONS: &[&str] = &["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Whether a path's extension is that of a picture. The file is not looked at.
pub fn looks_like_picture(path: impl AsRef<Path>) -> bool {
    let extension = path.as_ref().extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// An upright picture: 8-bit RGB, row by row from the top left, at least 1×1.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// How [`Picture::resize`] fills in between pixels. All three give Pillow's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// Triangle filter, widened when shrinking (antialiased): what torchvision does to a PIL picture.
    #[default]
    Bilinear,
    /// Catmull-Rom cubic (a = −0.5), widened when shrinking.
    Bicubic,
    /// The nearest pixel, for anything whose values are names rather than amounts.
    Nearest,
}

impl Picture {
    /// Reads a picture file: JPEG, PNG, WebP, BMP, GIF or TIFF, told apart by content. Of several pictures in a file
    /// (pages, frames) the first.
    ///
    /// EXIF orientation is applied. The values are those of Pillow's `Image.open(path).convert("RGB")`: alpha is
    /// dropped (not blended; colours that a TIFF stores multiplied by it are divided), grey is repeated, CMYK becomes
    /// `(255 − ink)·(255 − black)/255`. JPEG is libjpeg-turbo's to the bit. 16-bit values keep their high byte.
    ///
    /// # Errors
    /// A file that cannot be read, is no picture, is cut short, has more than [`crate::MAX_PIXELS`], or is of a layout
    /// that is not read, which the error names.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        Self::open_with_notices(path).map(|(picture, _)| picture)
    }

    /// As [`Picture::open`], with what the file's owner should know of how it was read.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open_with_notices(path: impl AsRef<Path>) -> Result<(Self, Vec<Notice>), PictureError> {
        let path = path.as_ref();
        let bytes = segmenta_files::read(path).map_err(|e| PictureError::read(path, &e))?;
        Self::decode_with_notices(&bytes).map_err(|e| e.at(path))
    }

    /// As [`Picture::open`], from bytes.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        Self::decode_up_to(bytes, crate::MAX_PIXELS)
    }

    /// As [`Picture::open_with_notices`], from bytes.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn decode_with_notices(bytes: &[u8]) -> Result<(Self, Vec<Notice>), PictureError> {
        decode::decode(bytes, crate::MAX_PIXELS)
    }

    /// As [`Picture::decode`] with a limit of the caller's own: for pictures that strangers send. Memory is in
    /// proportion to it, 64 MiB at least for a TIFF.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn decode_up_to(bytes: &[u8], max_pixels: u64) -> Result<Self, PictureError> {
        decode::decode(bytes, max_pixels.min(crate::MAX_PIXELS)).map(|(picture, _)| picture)
    }

    /// Takes pixels as they are: `width · height · 3` bytes, RGBRGB….
    ///
    /// # Errors
    /// A side of 0, or a length that does not fit the sides.
    pub fn from_rgb(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, PictureError> {
        let wanted = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if width == 0 || height == 0 || wanted != Some(pixels.len()) {
            return Err(PictureError::new(
                ErrorKind::Mismatch,
                format!(
                    "{} for an RGB picture of {width}×{height}",
                    count(pixels.len(), "byte")
                ),
                "pixels given by the program",
                "give width · height · 3 bytes, at least one pixel",
            ));
        }
        Ok(Self::new(width, height, pixels))
    }

    /// For pixels whose count is right by construction.
    pub(crate) fn new(width: usize, height: usize, pixels: Vec<u8>) -> Self {
        debug_assert!(width > 0 && height > 0 && pixels.len() == width * height * 3);
        Self {
            width,
            height,
            pixels,
        }
    }

    /// A picture of one colour. Sides of 0 become 1.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self::new(width, height, colour.repeat(width * height))
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// `(width, height)`.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The bytes RGBRGB…, row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, to draw on.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The bytes, without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The rows from top to bottom, `width · 3` bytes each.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.pixels.chunks_exact(self.width * 3)
    }

    /// Writes the picture, atomically (see [`crate::write_atomic`]): PNG for `.png`, JPEG of quality 90 for `.jpg` and `.jpeg`.
    ///
    /// # Errors
    /// Another extension, or a path that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), PictureError> {
        save::picture(self, path.as_ref())
    }

    /// Whether [`save`](Self::save) could write a picture to this path now: for what works long before it has one.
    /// Nothing is made.
    ///
    /// # Errors
    /// As [`save`](Self::save): another extension, or what the system says.
    pub fn check_save(path: impl AsRef<Path>) -> Result<(), PictureError> {
        save::check(path.as_ref())
    }

    /// The picture as the bytes of a PNG file.
    pub fn to_png(&self) -> Vec<u8> {
        save::rgb_png(self)
    }

    /// The picture at another size, to the bit as Pillow's `Image.resize` makes it. Sides of 0 become 1.
    #[must_use]
    pub fn resize(&self, width: usize, height: usize, filter: Filter) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        if (width, height) == self.size() {
            return self.clone();
        }
        let (pixels, _) = self.pixels.as_chunks::<3>();
        let resized = match filter {
            Filter::Nearest => resize::nearest(pixels, self.size(), (width, height)),
            _ => resize::convolve(pixels, self.size(), (width, height), filter),
        };
        Self::new(width, height, resized.into_flattened())
    }

    /// The part of the picture inside `area`.
    ///
    /// # Errors
    /// An area that is empty or reaches out of the picture.
    pub fn crop(&self, area: Rect) -> Result<Self, PictureError> {
        area.check_inside(self.size())?;
        let rows = self.rows().skip(area.y).take(area.height);
        let mut pixels = Vec::with_capacity(area.width * area.height * 3);
        rows.for_each(|row| pixels.extend_from_slice(&row[area.x * 3..area.right() * 3]));
        Ok(Self::new(area.width, area.height, pixels))
    }

    /// The picture as a mirror shows it, left and right exchanged.
    #[must_use]
    pub fn flip_horizontal(&self) -> Self {
        let mut flipped = self.clone();
        flipped
            .pixels
            .par_chunks_exact_mut(self.width * 3)
            .for_each(|row| row.as_chunks_mut::<3>().0.reverse());
        flipped
    }

    /// The picture with top and bottom exchanged.
    #[must_use]
    pub fn flip_vertical(&self) -> Self {
        let rows = self.pixels.chunks_exact(self.width * 3).rev();
        Self::new(self.width, self.height, rows.flatten().copied().collect())
    }
}

impl std::fmt::Debug for Picture {
    /// The size only: a picture's bytes help nobody in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_must_fit_the_sides() {
        assert!(Picture::from_rgb(2, 1, vec![0; 6]).is_ok());
        assert!(Picture::from_rgb(2, 1, vec![0; 5]).is_err());
        assert!(Picture::from_rgb(0, 1, vec![]).is_err());
        assert!(Picture::from_rgb(usize::MAX, 2, vec![]).is_err());
    }

    #[test]
    fn crop_and_flip_move_pixels() {
        let picture = Picture::new(3, 2, (0..18).collect());
        let crop = picture.crop(Rect::new(1, 1, 2, 1)).unwrap();
        assert_eq!(crop.pixels(), [12, 13, 14, 15, 16, 17]);
        assert_eq!(crop.flip_horizontal().pixels(), [15, 16, 17, 12, 13, 14]);
        assert_eq!(picture.flip_vertical().pixels()[..3], [9, 10, 11]);
        assert_eq!(picture.flip_vertical().flip_vertical(), picture);
        let error = picture.crop(Rect::new(2, 0, 2, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
    }

    #[test]
    fn extensions_are_told_without_case() {
        assert!(looks_like_picture("a/b.JPG") && looks_like_picture("c.tiff"));
        assert!(!looks_like_picture("a/jpg") && !looks_like_picture("a.txt"));
    }
}
