//! Resizes and mean pools as a product of matrices for each side: Burn 0.22 has no backward pass for a bilinear
//! resize on GPUs, and its means over windows that overlap are other than PyTorch's on some devices.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_graph::Shape;
use segmenta_kernels::SideMap;

/// The matrices of one input size, on the device.
#[derive(Debug)]
pub(super) struct Sides {
    device: Device,
    input: Option<Shape>,
    /// By what happens to a side, its length before and after.
    matrices: HashMap<(SideMap, usize, usize), Tensor<2>>,
}

impl Sides {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            input: None,
            matrices: HashMap::new(),
        }
    }

    /// Forgets the matrices of other input sizes.
    pub(super) fn keep_for(&mut self, input: Shape) {
        if self.input != Some(input) {
            self.input = Some(input);
            self.matrices.clear();
        }
    }

    /// Rows and columns, each as `sides` say, to `height`×`width`.
    pub(super) fn apply(
        &mut self,
        x: Tensor<4>,
        sides: [SideMap; 2],
        [height, width]: [usize; 2],
    ) -> Tensor<4> {
        let [n, c, from_height, from_width] = x.dims();
        let columns = self.matrix(sides[1], from_width, width);
        let x = x.reshape([n * c * from_height, from_width]).matmul(columns);
        let rows = self.matrix(sides[0], from_height, height).transpose();
        let x = x.reshape([n * c, from_height, width]);
        let y = rows.unsqueeze::<3>().matmul(x);
        y.reshape([n, c, height, width])
    }

    fn matrix(&mut self, side: SideMap, from: usize, to: usize) -> Tensor<2> {
        let device = &self.device;
        let new = || {
            let values = TensorData::new(side.matrix(from, to), [from, to]);
            Tensor::from_data(values, device).autodiff()
        };
        let matrix = self.matrices.entry((side, from, to)).or_insert_with(new);
        matrix.clone()
    }
}
