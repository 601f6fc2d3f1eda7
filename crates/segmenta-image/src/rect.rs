//! A rectangle of whole pixels.

use crate::{ErrorKind, PictureError};

/// A rectangle in pixels; `x` and `y` are its left and top edges, counted from the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
}

impl Rect {
    /// A rectangle from its left and top edges and its sides.
    pub fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The first column to the right of it.
    pub fn right(&self) -> usize {
        self.x + self.width
    }

    /// The first row below it.
    pub fn bottom(&self) -> usize {
        self.y + self.height
    }

    pub(crate) fn check_inside(&self, (width, height): (usize, usize)) -> Result<(), PictureError> {
        let fits = |start: usize, length: usize, side: usize| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if fits(self.x, self.width, width) && fits(self.y, self.height, height) {
            return Ok(());
        }
        let Self {
            x,
            y,
            width: w,
            height: h,
        } = self;
        Err(PictureError::new(
            ErrorKind::Mismatch,
            format!("a crop of {w}×{h} at ({x}, {y}) is not inside the picture"),
            format!("picture of {width}×{height}"),
            "choose a smaller crop, or enlarge the picture first",
        ))
    }
}
