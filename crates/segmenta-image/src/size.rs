//! The one way from two numbers that somebody wrote to a size that memory is asked for.

use std::fmt;

use crate::{ErrorKind, MAX_PIXELS, PictureError};

/// A width and a height in pixels that may become an allocation: at least 1×1, within a limit.
///
/// Every size that comes from outside (a flag, a recipe, a model file's card, a document's header) goes through one of
/// the two constructors; sizes that are computed from pictures in memory need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    width: usize,
    height: usize,
}

impl Size {
    /// The longest side of a picture or a mask: 2²⁰.
    pub const MAX_SIDE: usize = 1 << 20;
    /// The most pixels of a picture or a mask: [`MAX_PIXELS`], 2²⁸.
    pub const MAX_PIXELS: usize = MAX_PIXELS as usize;
    /// The longest side of what a network is to be given: 2¹⁶.
    pub const MAX_INPUT_SIDE: usize = 1 << 16;
    /// The most pixels of what a network is to be given: 2²⁶, as a square 8192. Three planes of floats are 768 MiB then.
    pub const MAX_INPUT_PIXELS: usize = 1 << 26;

    /// The size of a picture or a mask.
    ///
    /// # Errors
    /// A side of 0 or above [`Size::MAX_SIDE`], or more than [`Size::MAX_PIXELS`] pixels
    /// ([`ErrorKind::TooLarge`]; a side of 0 is [`ErrorKind::Setting`]).
    pub fn new(width: usize, height: usize) -> Result<Self, PictureError> {
        Self::within(width, height, Self::MAX_SIDE, Self::MAX_PIXELS)
    }

    /// The size of what a network is to be given: a resize, a crop, a tile, a canvas.
    ///
    /// # Errors
    /// A side of 0 or above [`Size::MAX_INPUT_SIDE`], or more than [`Size::MAX_INPUT_PIXELS`] pixels
    /// ([`ErrorKind::TooLarge`]; a side of 0 is [`ErrorKind::Setting`]).
    pub fn for_network(width: usize, height: usize) -> Result<Self, PictureError> {
        Self::within(width, height, Self::MAX_INPUT_SIDE, Self::MAX_INPUT_PIXELS)
    }

    /// One side of what a network is to be given, where the other follows from the picture.
    ///
    /// # Errors
    /// 0, or more than [`Size::MAX_INPUT_SIDE`].
    pub fn side_for_network(side: usize) -> Result<usize, PictureError> {
        let (kind, what) = match side {
            0 => (ErrorKind::Setting, "a side of 0 has no pixels".to_owned()),
            1..=Self::MAX_INPUT_SIDE => return Ok(side),
            _ => (ErrorKind::TooLarge, format!("a side of {side} is too long")),
        };
        let remedy = format!("give 1 to {}", Self::MAX_INPUT_SIDE);
        Err(PictureError::new(kind, what, "the side given", remedy))
    }

    /// A size for a network that follows from a picture's: shrunk, proportions kept, until it has no more than
    /// [`Size::MAX_INPUT_PIXELS`] pixels. Sides of 0 become 1.
    pub fn fitted(width: usize, height: usize) -> (usize, usize) {
        let (width, height) = (width.max(1), height.max(1));
        let excess = width as f64 * height as f64 / Self::MAX_INPUT_PIXELS as f64;
        if excess <= 1.0 {
            return (width, height);
        }
        let most = Self::MAX_INPUT_PIXELS;
        let shrink = |side: usize| ((side as f64 / excess.sqrt()) as usize).clamp(1, most);
        let (a, b) = (shrink(width), shrink(height));
        // A side that could not shrink below 1 leaves the excess to the other.
        (a.min(most / b), b.min(most / a))
    }

    fn within(
        width: usize,
        height: usize,
        max_side: usize,
        max_pixels: usize,
    ) -> Result<Self, PictureError> {
        if width == 0 || height == 0 {
            return Err(PictureError::new(
                ErrorKind::Setting,
                format!("a size of {width}×{height} has no pixels"),
                "the size given",
                "give sides of at least 1",
            ));
        }
        let pixels = width.checked_mul(height);
        if width.max(height) > max_side || pixels.is_none_or(|n| n > max_pixels) {
            return Err(PictureError::new(
                ErrorKind::TooLarge,
                format!("a size of {width}×{height} is too large"),
                "the size given",
                format!(
                    "give sides up to {max_side} and up to {max_pixels} pixels in all ({side}×{side})",
                    side = max_pixels.isqrt()
                ),
            ));
        }
        Ok(Self { width, height })
    }

    /// Width in pixels, at least 1.
    pub fn width(self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(self) -> usize {
        self.height
    }

    /// Width times height.
    pub fn pixels(self) -> usize {
        self.width * self.height
    }
}

/// `640×480`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.width, self.height)
    }
}

impl From<Size> for (usize, usize) {
    fn from(size: Size) -> Self {
        (size.width, size.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_memory_holds_and_no_others() {
        assert_eq!(Size::new(16384, 16384).unwrap().pixels(), Size::MAX_PIXELS);
        assert_eq!(Size::for_network(8192, 8192).unwrap().width(), 8192);
        for (width, height) in [
            (16384, 16385),
            (1 << 21, 1),
            (usize::MAX, 2),
            (1, usize::MAX),
        ] {
            let error = Size::new(width, height).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(error.to_string().contains("16384×16384"), "{error}");
        }
        for (width, height) in [(1_000_000, 1_000_000), (65537, 1), (8193, 8192)] {
            let error = Size::for_network(width, height).unwrap_err();
            assert!(error.to_string().contains("8192×8192"), "{error}");
        }
        for (width, height) in [(usize::MAX, usize::MAX), (1 << 40, 1), (520, 4_680_000)] {
            let (w, h) = Size::fitted(width, height);
            assert!(w * h <= Size::MAX_INPUT_PIXELS, "{w}×{h}");
        }
        assert_eq!(Size::fitted(500, 0), (500, 1));
        assert_eq!(Size::new(0, 4).unwrap_err().kind(), ErrorKind::Setting);
        assert_eq!(Size::new(640, 480).unwrap().to_string(), "640×480");
    }

    #[test]
    fn an_error_says_which_setting_it_is_about() {
        let error = Size::for_network(1_000_000, 1_000_000)
            .unwrap_err()
            .of("input.size");
        assert!(error.to_string().contains("· input.size ·"), "{error}");
    }
}
