//! Flat tensors as slices, where they lie in this machine's memory.

use burn::backend::flex::FlexTensor;
use burn::backend::{DispatchDevice, Flex};
use burn::tensor::{DType, Tensor};

/// A flat tensor of this machine's memory, contiguous.
pub(crate) struct Slice(FlexTensor);

/// Whether the tensor can become a [`Slice`]: f32 in this machine's memory, without a tape.
pub(crate) fn is_slice(tensor: &Tensor<1>) -> bool {
    matches!(tensor.device().as_dispatch(), DispatchDevice::Flex(_)) && tensor.dtype() == DType::F32
}

impl Slice {
    /// # Errors
    /// A tensor that is none ([`is_slice`]).
    pub(crate) fn new(tensor: Tensor<1>) -> Result<Self, String> {
        let tensor = tensor
            .try_into_primitive::<Flex>()
            .map_err(|e| format!("{e:?}"))?;
        Ok(Self(if tensor.is_contiguous() {
            tensor
        } else {
            tensor.to_contiguous()
        }))
    }

    fn range(&self) -> std::ops::Range<usize> {
        let start = self.0.layout().start_offset();
        start..start + self.0.layout().num_elements()
    }

    pub(crate) fn get(&self) -> &[f32] {
        &self.0.storage()[self.range()]
    }

    /// Copies first if another tensor shares the memory.
    pub(crate) fn get_mut(&mut self) -> &mut [f32] {
        let range = self.range();
        &mut self.0.storage_mut()[range]
    }

    pub(crate) fn into_tensor(self) -> Tensor<1> {
        Tensor::from_primitive::<Flex>(self.0)
    }
}
