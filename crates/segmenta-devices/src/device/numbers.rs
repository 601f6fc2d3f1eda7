//! Flat numbers on a device.

use burn::tensor::{DType, Tensor, TensorData};

use super::Place;

/// The values of a parameter, a gradient, an optimiser's state or a map, flat, on a device. A copy shares memory until
/// one of the two is changed.
#[derive(Clone, Debug)]
pub struct Numbers(pub(crate) Tensor<1>);

impl Numbers {
    /// Brings values to a device.
    pub fn new(values: Vec<f32>, place: &Place) -> Self {
        let len = values.len();
        Self(Tensor::from_data(
            TensorData::new(values, [len]),
            &place.device,
        ))
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "nothing asks for it")]
    pub fn len(&self) -> usize {
        let [len] = self.0.dims();
        len
    }

    /// Where they are.
    pub fn place(&self) -> Place {
        Place {
            device: self.0.device(),
        }
    }

    /// Brings them to another device, if they are not there.
    pub fn bring_to(&mut self, place: &Place) {
        if self.0.device() != place.device {
            self.0 = self.0.clone().to_device(&place.device);
        }
    }

    /// Reads the values back.
    ///
    /// # Errors
    /// What the device says.
    pub fn values(&self) -> Result<Vec<f32>, String> {
        values_of(self.0.clone())
    }

    /// As many zeros on the same device.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        Self(self.0.zeros_like())
    }

    /// Adds others, value by value.
    pub fn add(&mut self, others: &Self) {
        self.0.inplace(|sum| sum + others.0.clone());
    }

    /// The sum of squares.
    ///
    /// # Errors
    /// What the device says.
    pub fn sum_of_squares(&self) -> Result<f64, String> {
        let squares = (self.0.clone() * self.0.clone()).sum();
        let sum = squares.try_into_scalar::<f32>();
        sum.map(f64::from).map_err(|e| e.to_string())
    }

    /// Moves by `weight` of the way to others.
    pub fn approach(&mut self, others: &Self, weight: f32) {
        self.0.inplace(|old| {
            let way = others.0.clone() - old.clone();
            old + way * weight
        });
    }
}

/// A tensor's values on this machine, the last extent fastest: as Burn's own conversion, without its look at
/// every value.
pub(crate) fn values_of<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.try_into_data().map_err(|e| e.to_string())?;
    if data.dtype() != DType::F32 {
        return Err(format!(
            "values of {:?} where F32 was expected",
            data.dtype()
        ));
    }
    Ok(bytemuck::pod_collect_to_vec(data.bytes()))
}
