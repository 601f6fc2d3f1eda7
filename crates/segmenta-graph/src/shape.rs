//! Concrete shapes.

use std::fmt;

/// Batch, channels, height, width of a feature map: NCHW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Shape {
    /// NCHW, in that order.
    pub fn new(batch: usize, channels: usize, height: usize, width: usize) -> Self {
        Self {
            batch,
            channels,
            height,
            width,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }

    /// True if some extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixels of one channel of one picture.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The same with another number of channels.
    #[must_use]
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }
}

impl From<[usize; 4]> for Shape {
    fn from([batch, channels, height, width]: [usize; 4]) -> Self {
        Self::new(batch, channels, height, width)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            batch,
            channels,
            height,
            width,
        } = self;
        write!(f, "{batch}×{channels}×{height}×{width}")
    }
}
