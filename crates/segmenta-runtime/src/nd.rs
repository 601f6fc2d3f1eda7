//! Tensors as `ndarray` arrays of batch × channels × height × width, as NumPy has them.

use ndarray::{Array4, ArrayView4, ShapeError};
use segmenta_graph::Shape;

use crate::Tensor;

impl Tensor {
    /// The values as an array of batch × channels × height × width, without a copy.
    ///
    /// # Errors
    /// Values that do not fill the shape; those of an engine do.
    pub fn view(&self) -> Result<ArrayView4<'_, f32>, ShapeError> {
        ArrayView4::from_shape(extents(self.shape), &self.data)
    }

    /// The values as such an array of their own, without a copy.
    ///
    /// # Errors
    /// As [`Tensor::view`].
    pub fn into_array(self) -> Result<Array4<f32>, ShapeError> {
        Array4::from_shape_vec(extents(self.shape), self.data)
    }

    /// A copy of an array of batch × channels × height × width, whatever its strides.
    pub fn from_view(array: &ArrayView4<'_, f32>) -> Self {
        let (batch, channels, height, width) = array.dim();
        Self {
            shape: Shape::new(batch, channels, height, width),
            data: array.iter().copied().collect(),
        }
    }
}

fn extents(shape: Shape) -> (usize, usize, usize, usize) {
    (shape.batch, shape.channels, shape.height, shape.width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_have_the_axes_of_nchw() {
        let shape = Shape::new(2, 3, 4, 5);
        let data: Vec<f32> = (0..120_u8).map(f32::from).collect();
        let tensor = Tensor { shape, data };
        let view = tensor.view().unwrap();
        assert_eq!(view[[1, 2, 3, 4]], 119.0);
        assert_eq!(view[[0, 1, 0, 2]], 22.0);
        assert_eq!(Tensor::from_view(&view), tensor);
        // Any strides: height and width exchanged.
        let turned = Tensor::from_view(&view.permuted_axes([0, 1, 3, 2]));
        assert_eq!(turned.shape, Shape::new(2, 3, 5, 4));
        assert_eq!(turned.data[..2], [0.0, 5.0]);
        assert_eq!(tensor.clone().into_array().unwrap()[[1, 0, 0, 0]], 60.0);
        let short = Tensor {
            data: vec![0.0; 7],
            ..tensor
        };
        assert!(short.view().is_err() && short.into_array().is_err());
    }
}
