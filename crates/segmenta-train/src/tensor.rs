//! What Burn's tensors hold.

use burn::tensor::{DType, Tensor};

/// A tensor's values on this machine, the last extent fastest: as Burn's own conversion, without its look at
/// every value.
///
/// # Errors
/// What the device says; values of another type than f32.
pub fn values_of<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.try_into_data().map_err(|e| e.to_string())?;
    if data.dtype() != DType::F32 {
        return Err(format!(
            "values of {:?} where F32 was expected",
            data.dtype()
        ));
    }
    Ok(bytemuck::pod_collect_to_vec(data.bytes()))
}
