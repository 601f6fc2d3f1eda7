//! Layers that learn, and what follows each of their values.

use super::Builder;
use crate::conv::{Conv2d, ConvTranspose2d};
use crate::graph::Node;
use crate::op::{Activation, Op};
use crate::parameter::{ParameterId, Role};
use crate::scope::Scope;

impl Builder {
    /// Convolution; state-dict entries `NAME.weight` and, with bias, `NAME.bias`.
    pub fn conv(&mut self, x: Node, name: &Scope, conv: Conv2d) -> Node {
        let (channels, height, width) = self.extent(x);
        let op = Op::Conv2d(conv);
        if conv.extra_padding != [0; 2] && conv.dilation != [1; 2] {
            self.fail(name, &op, || {
                "a dilated window with more padding below and right; pad all sides alike".into()
            });
        }
        let fits = self.fits(name, &op, channels, conv.out_channels, conv.groups)
            && self.moves(name, &op, conv.kernel, conv.stride, conv.dilation);
        if !fits {
            return x;
        }
        let [kh, kw] = conv.kernel;
        let kernel = [conv.out_channels, channels / conv.groups, kh, kw];
        let parameters =
            self.kernel_and_bias(name, &kernel, Role::Kernel, conv.out_channels, conv.bias);
        let sides = &mut self.graph.sides;
        let mut window = |of, axis: usize| {
            sides.padded_window(
                of,
                conv.kernel[axis],
                conv.stride[axis],
                2 * conv.padding[axis] + conv.extra_padding[axis],
                conv.dilation[axis],
            )
        };
        let extent = (conv.out_channels, window(height, 0), window(width, 1));
        self.push(name, op, &[x], parameters, extent)
    }

    /// Transposed convolution; state-dict entries as for [`Builder::conv`].
    pub fn conv_transpose(&mut self, x: Node, name: &Scope, conv: ConvTranspose2d) -> Node {
        let (channels, height, width) = self.extent(x);
        let op = Op::ConvTranspose2d(conv);
        let fits = self.fits(name, &op, channels, conv.out_channels, conv.groups)
            && self.moves(name, &op, conv.kernel, conv.stride, conv.dilation);
        if !fits {
            return x;
        }
        let [kh, kw] = conv.kernel;
        let kernel = [channels, conv.out_channels / conv.groups, kh, kw];
        let role = Role::TransposedKernel;
        let parameters = self.kernel_and_bias(name, &kernel, role, conv.out_channels, conv.bias);
        let sides = &mut self.graph.sides;
        let mut stretch = |of, axis: usize| {
            let reach = (conv.dilation[axis] * (conv.kernel[axis] - 1) + 1) as i64;
            let cut = 2 * conv.padding[axis] as i64 + conv.stride[axis] as i64;
            let add = reach + conv.output_padding[axis] as i64 - cut;
            sides.stretch(of, conv.stride[axis], add)
        };
        let extent = (conv.out_channels, stretch(height, 0), stretch(width, 1));
        self.push(name, op, &[x], parameters, extent)
    }

    /// Each pixel's channels times a matrix, plus a bias (PyTorch's `Linear`); state-dict entries
    /// `NAME.weight`, `[out, in]`, and `NAME.bias`.
    pub fn linear(&mut self, x: Node, name: &Scope, out_channels: usize) -> Node {
        self.matrix(x, name, out_channels, true)
    }

    /// The same without a bias.
    pub fn linear_without_bias(&mut self, x: Node, name: &Scope, out_channels: usize) -> Node {
        self.matrix(x, name, out_channels, false)
    }

    fn matrix(&mut self, x: Node, name: &Scope, out_channels: usize, bias: bool) -> Node {
        let (channels, height, width) = self.extent(x);
        let op = Op::Linear { out_channels, bias };
        if !self.fits(name, &op, channels, out_channels, 1) {
            return x;
        }
        let matrix = [out_channels, channels];
        let parameters = self.kernel_and_bias(name, &matrix, Role::Matrix, out_channels, bias);
        self.push(name, op, &[x], parameters, (out_channels, height, width))
    }

    /// A pointwise non-linearity, named after the node that it follows.
    pub fn activation(&mut self, x: Node, activation: Activation) -> Node {
        let name = self.graph.node(x).name.clone();
        let extent = self.extent(x);
        self.push(name, Op::Activation(activation), &[x], Vec::new(), extent)
    }

    /// [`Activation::Relu`].
    pub fn relu(&mut self, x: Node) -> Node {
        self.activation(x, Activation::Relu)
    }

    /// Convolution and batch norm.
    pub fn conv_bn(&mut self, x: Node, conv: &Scope, norm: &Scope, spec: Conv2d) -> Node {
        let y = self.conv(x, conv, spec);
        self.batch_norm(y, norm)
    }

    /// Convolution, batch norm and ReLU.
    pub fn conv_bn_relu(&mut self, x: Node, conv: &Scope, norm: &Scope, spec: Conv2d) -> Node {
        let y = self.conv_bn(x, conv, norm, spec);
        self.relu(y)
    }

    /// Dropout with probability `p` in training.
    pub fn dropout(&mut self, x: Node, p: f32, name: &Scope) -> Node {
        let extent = self.extent(x);
        self.push(name, Op::Dropout { p }, &[x], Vec::new(), extent)
    }

    /// Dropout of whole channels with probability `p` in training.
    pub fn dropout2d(&mut self, x: Node, p: f32, name: &Scope) -> Node {
        let extent = self.extent(x);
        self.push(name, Op::Dropout2d { p }, &[x], Vec::new(), extent)
    }

    /// Stochastic depth with probability `p` in training; see [`Op::StochasticDepth`].
    pub fn stochastic_depth(&mut self, x: Node, p: f32, name: &Scope) -> Node {
        let extent = self.extent(x);
        self.push(name, Op::StochasticDepth { p }, &[x], Vec::new(), extent)
    }

    fn kernel_and_bias(
        &mut self,
        name: &Scope,
        kernel: &[usize],
        role: Role,
        out_channels: usize,
        bias: bool,
    ) -> Vec<ParameterId> {
        let mut parameters =
            vec![self.parameter(&(name / "weight"), kernel.to_vec(), role, kernel)];
        if bias {
            let shape = vec![out_channels];
            parameters.push(self.parameter(&(name / "bias"), shape, Role::Bias, kernel));
        }
        parameters
    }

    /// Whether channels divide into groups.
    fn fits(&mut self, name: &Scope, op: &Op, channels: usize, out: usize, groups: usize) -> bool {
        let divides = |n: usize| n > 0 && groups > 0 && n.is_multiple_of(groups);
        let fits = divides(channels) && divides(out);
        if !fits {
            self.fail(name, op, || {
                format!(
                    "the channels, {channels} in and {out} out, do not divide into {groups} groups; give \
                     numbers of channels that {groups} divides"
                )
            });
        }
        fits
    }

    /// Whether a window has pixels and gets somewhere.
    fn moves(
        &mut self,
        name: &Scope,
        op: &Op,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> bool {
        let moves = [kernel, stride, dilation].iter().flatten().all(|&n| n > 0);
        if !moves {
            self.fail(name, op, || {
                format!(
                    "a window of {kernel:?} with steps of {stride:?} and dilation {dilation:?}; none \
                     of these may be 0"
                )
            });
        }
        moves
    }
}
