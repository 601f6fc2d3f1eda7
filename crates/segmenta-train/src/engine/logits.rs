//! What a network gives for a batch.

use std::borrow::Cow;

use segmenta_graph::Shape;

use super::EngineError;
use crate::Numbers;

/// A result of a network for a batch, or the gradient of one: a shape, N×C×H×W, and its values, where they are
/// computed with.
#[derive(Clone, Debug)]
pub struct Logits {
    shape: Shape,
    values: Numbers,
}

impl Logits {
    /// Of these values, the last extent fastest.
    ///
    /// # Panics
    /// If there are not as many as the shape says.
    pub fn new(shape: Shape, values: impl Into<Numbers>) -> Self {
        let values = values.into();
        assert_eq!(values.len(), shape.len(), "values of {shape}");
        Self { shape, values }
    }

    /// N, C, H, W.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The values, read back if they are on a device.
    ///
    /// # Errors
    /// What the device says.
    pub fn values(&self) -> Result<Cow<'_, [f32]>, EngineError> {
        self.values.values().map_err(EngineError::Device)
    }

    #[cfg(feature = "flex")]
    pub(super) fn numbers(&self) -> &Numbers {
        &self.values
    }

    #[cfg(feature = "flex")]
    pub(super) fn into_numbers(self) -> Numbers {
        self.values
    }
}
