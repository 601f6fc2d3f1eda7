//! What a node is to the kernels: the same for running and for training.

use segmenta_graph::{
    Activation as GraphActivation, Conv2d, ConvTranspose2d, Graph, Node, Op, Pool2d, Shape,
};
use segmenta_kernels::{Activation, ConvSpec, MapShape, PoolWindow, TransposedSpec};

/// A shape as the kernels have it.
pub fn map_shape(shape: Shape) -> MapShape {
    MapShape::new(shape.batch, shape.channels, shape.height, shape.width)
}

/// The max pools that are undone later.
pub fn undone_pools(graph: &Graph) -> Vec<Node> {
    let unpools = graph
        .nodes()
        .iter()
        .filter(|data| data.op == Op::MaxUnpool2d);
    unpools.map(|data| data.inputs[1]).collect()
}

/// The nodes on whose rounding it depends which pixel a max pool finds that is undone later: a value that
/// goes back to another pixel is an error without bound, so they are computed as precisely as can be.
pub fn precise_nodes(graph: &Graph) -> Vec<bool> {
    graph.needed_for(&undone_pools(graph))
}

/// A non-linearity as the kernels have it.
pub fn kernel_activation(activation: GraphActivation) -> Activation {
    match activation {
        GraphActivation::Relu => Activation::Relu,
        GraphActivation::Relu6 => Activation::Relu6,
        GraphActivation::Hardswish => Activation::Hardswish,
        GraphActivation::Hardsigmoid => Activation::Hardsigmoid,
        GraphActivation::Sigmoid => Activation::Sigmoid,
        GraphActivation::Silu => Activation::Silu,
        GraphActivation::Gelu => Activation::Gelu,
        GraphActivation::Tanh => Activation::Tanh,
    }
}

/// A pool's window as the kernels have it.
pub fn pool_window(pool: Pool2d) -> PoolWindow {
    PoolWindow {
        stride: [pool.stride; 2],
        padding: [pool.padding; 2],
        ceil_mode: pool.ceil_mode,
        ..PoolWindow::square(pool.kernel)
    }
}

/// What a node is as a convolution; a linear layer is one of 1×1.
pub fn as_convolution(op: &Op) -> Option<Conv2d> {
    match *op {
        Op::Conv2d(conv) => Some(conv),
        Op::Linear { out_channels, bias } => Some(Conv2d {
            bias,
            ..Conv2d::pointwise(out_channels)
        }),
        _ => None,
    }
}

/// The extents for the kernels, whose padding is the same on both ends: where there is more below and
/// right, the window has as many taps of zero weight above and left ([`with_leading_taps`]).
pub fn conv_spec(conv: &Conv2d, in_channels: usize) -> ConvSpec {
    let with_extra = |of: [usize; 2]| [0, 1].map(|axis| of[axis] + conv.extra_padding[axis]);
    ConvSpec {
        in_channels,
        out_channels: conv.out_channels,
        kernel: with_extra(conv.kernel),
        stride: conv.stride,
        padding: with_extra(conv.padding),
        dilation: conv.dilation,
        groups: conv.groups,
    }
}

/// A transposed convolution's extents for the kernels.
pub fn transposed_spec(conv: &ConvTranspose2d, in_channels: usize) -> TransposedSpec {
    TransposedSpec {
        in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        output_padding: conv.output_padding,
        dilation: conv.dilation,
        groups: conv.groups,
    }
}

/// Whether the kernels' window has taps of zero weight that the network's has not.
pub fn has_leading_taps(conv: &Conv2d) -> bool {
    conv.extra_padding != [0, 0]
}

/// The kernel with the taps of zero weight that [`conv_spec`] adds.
pub fn with_leading_taps(conv: &Conv2d, kernel: &[f32]) -> Vec<f32> {
    let windows = kernel.len() / (conv.kernel[0] * conv.kernel[1]);
    let [rows, columns] = [0, 1].map(|axis| conv.kernel[axis] + conv.extra_padding[axis]);
    let mut wider = vec![0.0; windows * rows * columns];
    each_row(conv, windows, |narrow, wide| {
        wider[wide..][..conv.kernel[1]].copy_from_slice(&kernel[narrow..][..conv.kernel[1]]);
    });
    wider
}

/// What [`with_leading_taps`] was given, or its gradient, from what it gave.
///
/// # Panics
/// If the slices do not have the lengths of one number of windows.
pub fn without_leading_taps(conv: &Conv2d, wider: &[f32], kernel: &mut [f32]) {
    let windows = kernel.len() / (conv.kernel[0] * conv.kernel[1]);
    each_row(conv, windows, |narrow, wide| {
        kernel[narrow..][..conv.kernel[1]].copy_from_slice(&wider[wide..][..conv.kernel[1]]);
    });
}

/// Where each row of each window begins, without and with leading taps.
fn each_row(conv: &Conv2d, windows: usize, mut copy: impl FnMut(usize, usize)) {
    let [above, left] = conv.extra_padding;
    let [rows, columns] = conv.kernel;
    for window in 0..windows {
        for row in 0..rows {
            let narrow = (window * rows + row) * columns;
            let wide = (window * (rows + above) + above + row) * (columns + left) + left;
            copy(narrow, wide);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_come_and_go() {
        let conv = Conv2d::square(3, 2).stride(2).same_for(224);
        let kernel: Vec<f32> = (1..=18).map(|i| i as f32).collect();
        let wider = with_leading_taps(&conv, &kernel);
        assert_eq!(wider.len(), 2 * 16);
        assert_eq!(wider[..9], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 0.0]);
        let mut back = vec![0.0; 18];
        without_leading_taps(&conv, &wider, &mut back);
        assert_eq!(back, kernel);
    }
}
