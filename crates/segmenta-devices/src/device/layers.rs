//! What a node is to Burn.

use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData, activation, module};
use segmenta_graph::{
    Activation, BatchNorm, Conv2d, ConvTranspose2d, Filter, Graph, NodeData, Op, Pool2d, Shape,
};
use segmenta_kernels::{SideMap, drop_factors};
use segmenta_program::drop_seed;
use segmenta_program::terms::{as_convolution, pool_window, undone_pools};

use super::engine::Engine;
use super::sides::Sides;
use super::{Numbers, attention, norms, positions, rows, windows};

/// Computes the nodes of one forward pass.
pub(super) struct Layers<'a> {
    shapes: Vec<Shape>,
    sides: &'a mut Sides,
    device: Device,
    /// Whether each parameter learns.
    trains: &'a [bool],
    drops: bool,
    seed: u64,
    /// Whether each node is a max pool that is undone later.
    undone: Vec<bool>,
    /// Where such pools found their maxima: `row · width + column`, N×C×(rows·columns).
    indices: Vec<Option<Tensor<3, Int>>>,
    measured: Vec<Measured>,
}

/// What a batch norm measured of a batch.
pub(super) struct Measured {
    /// Running mean and variance and the counter.
    parameters: [usize; 3],
    mean: Tensor<1>,
    /// Biased.
    variance: Tensor<1>,
    /// Values a channel.
    count: usize,
    momentum: f32,
}

impl Measured {
    /// Running mean and variance and the counter, by index.
    pub(super) fn running(&self) -> [usize; 3] {
        self.parameters
    }

    /// Moves the running statistics as PyTorch does: by `momentum` of the difference, the variance unbiased.
    pub(super) fn track(self, [mean, variance, counter]: [&mut Numbers; 3]) {
        let unbias = self.count as f64 / (self.count - 1) as f64;
        let keep = 1.0 - f64::from(self.momentum);
        let take = f64::from(self.momentum);
        mean.0.inplace(|old| old * keep + self.mean * take);
        variance
            .0
            .inplace(|old| old * keep + self.variance * (take * unbias));
        counter.0.inplace(|old| old + 1.0);
    }
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        graph: &Graph,
        shapes: Vec<Shape>,
        sides: &'a mut Sides,
        engine: &'a Engine,
        seed: u64,
    ) -> Self {
        let mut undone = vec![false; shapes.len()];
        for pool in undone_pools(graph) {
            undone[pool.index()] = true;
        }
        Self {
            indices: vec![None; shapes.len()],
            shapes,
            sides,
            device: engine.device().clone(),
            trains: &engine.trains,
            drops: engine.drops,
            seed,
            undone,
            measured: Vec::new(),
        }
    }

    /// What batch norms measured.
    pub(super) fn measured(self) -> Vec<Measured> {
        self.measured
    }

    /// The value of a node from those of its inputs and its own parameters, flat, in the order of [`Op`].
    pub(super) fn compute(
        &mut self,
        at: usize,
        data: &NodeData,
        inputs: Vec<Tensor<4>>,
        own: &[Tensor<1>],
    ) -> Tensor<4> {
        let to = self.shapes[at];
        let size = [to.height, to.width];
        if data.op == Op::Concat {
            return Tensor::cat(inputs, 1);
        }
        if data.op == Op::Table {
            return rows::table(&own[0], to);
        }
        if let Op::SinePositions { .. } = data.op {
            return positions::sine(to, &self.device);
        }
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("as many inputs as the operation has");
        let x = next();
        match data.op {
            Op::Conv2d(_) | Op::Linear { .. } => {
                let conv = as_convolution(&data.op).expect("it is one");
                convolution(x, &conv, own)
            }
            Op::ConvTranspose2d(conv) => transposed(x, &conv, own),
            Op::BatchNorm(norm) => self.batch_norm(x, data, norm, own),
            Op::Activation(activation) => activate(x, activation),
            Op::Add => x + next(),
            Op::Mul => x * next(),
            Op::MaxPool2d(pool) => self.max_pool(at, x, pool),
            Op::MaxUnpool2d => self.max_unpool(x, data.inputs[1].index(), to),
            Op::AvgPool2d {
                window,
                count_include_pad,
            } => {
                let means = |axis| SideMap::Means {
                    window: pool_window(window),
                    count_include_pad,
                    axis,
                };
                self.sides.apply(x, [means(0), means(1)], size)
            }
            Op::AdaptiveAvgPool2d { .. } => self.sides.apply(x, [SideMap::AdaptiveMeans; 2], size),
            Op::GlobalAvgPool => x.mean_dim(3).mean_dim(2),
            Op::ResizeLike { filter, .. }
            | Op::ResizeTo { filter, .. }
            | Op::Upsample { filter, .. } => {
                if x.dims()[2..] == size {
                    return x;
                }
                let side = match filter {
                    Filter::Nearest => SideMap::Nearest,
                    Filter::Bicubic => SideMap::Bicubic,
                    Filter::Bilinear { align_corners } => SideMap::Bilinear { align_corners },
                };
                self.sides.apply(x, [side; 2], size)
            }
            Op::FitLike { .. } => fit(x, size),
            Op::PadToEven => {
                let [above, left] = [2, 3].map(|axis| x.dims()[axis] % 2);
                x.pad([(above, 0), (left, 0)], PadMode::Constant(0.0))
            }
            Op::Dropout { p } => self.drop(at, x, p, [to.batch, to.channels, to.height, to.width]),
            Op::Dropout2d { p } => self.drop(at, x, p, [to.batch, to.channels, 1, 1]),
            Op::StochasticDepth { p } => self.drop(at, x, p, [to.batch, 1, 1, 1]),
            Op::GroupNorm { groups, eps } => norms::group_norm(x, groups, eps, own),
            Op::LayerNorm { eps } => norms::layer_norm(x, eps, own),
            Op::Softmax { parts, log } => norms::softmax(x, parts, log),
            Op::Attention { heads } => attention::attention([x, next(), next()], heads),
            Op::MaskedAttention { heads } => {
                attention::masked_attention([x, next(), next()], next(), heads)
            }
            Op::DeformableAttention { heads, points } => {
                let maps = data.inputs[3..].iter().map(|map| {
                    let shape = self.shapes[map.index()];
                    [shape.height, shape.width]
                });
                let maps: Vec<[usize; 2]> = maps.collect();
                attention::deformable([x, next(), next()], heads, points, &maps)
            }
            Op::Rotary { heads, theta } => {
                let map = self.shapes[data.inputs[1].index()];
                positions::rotary(x, [map.height, map.width], heads, theta)
            }
            Op::Join => Tensor::cat(vec![rows::row(x), rows::row(next())], 3),
            Op::Part { first, .. } => {
                let others = data.inputs[1..].iter();
                let before: usize = others.map(|node| self.shapes[node.index()].pixels()).sum();
                rows::part(x, before + first, size)
            }
            Op::Transpose => rows::row(x).swap_dims(1, 3),
            Op::Product => rows::product(x, next()),
            Op::PositionAttention => attention::position_attention([x, next(), next()]),
            Op::Tokens { grid } => attention::tokens(x, [&own[0], &own[1]], grid, self.sides),
            Op::Patches { .. } => attention::patches(x, size),
            Op::SpaceToDepth { side } => windows::space_to_depth(x, side),
            Op::DepthToSpace { side, .. } => fit(windows::depth_to_space(x, side), size),
            Op::Windows { side, shift } => windows::windows(x, side, shift),
            Op::FromWindows { side, shift, .. } => windows::from_windows(x, side, shift, size),
            Op::WindowAttention { heads, shift } => {
                let (maps, table) = ([x, next(), next()], next());
                let token = (data.inputs.len() > 4).then(next);
                windows::attention(maps, table, token, [heads, shift])
            }
            Op::Scale { by } => x * by,
            Op::Slice { first, channels } => x.narrow(1, first, channels),
            Op::GlobalMaxPool => {
                let [n, c, height, width] = x.dims();
                let largest = x.reshape([n, c, height * width]).max_dim(2);
                largest.reshape([n, c, 1, 1])
            }
            Op::Input | Op::Concat | Op::Table | Op::SinePositions { .. } => {
                unreachable!("no operation on one value")
            }
        }
    }

    fn batch_norm(
        &mut self,
        x: Tensor<4>,
        data: &NodeData,
        norm: BatchNorm,
        own: &[Tensor<1>],
    ) -> Tensor<4> {
        let [scale, shift, mean, variance, _] = own else {
            unreachable!("a batch norm has five entries")
        };
        let (scale, shift, epsilon) = (scale.clone(), shift.clone(), f64::from(norm.eps));
        let index = |entry: usize| data.parameters[entry].index();
        // A frozen one stays as in evaluation.
        if !self.trains[index(0)] {
            return module::batch_norm(x, scale, shift, mean.clone(), variance.clone(), epsilon);
        }
        let [n, _, height, width] = x.dims();
        let made = module::batch_norm_train(x, scale, shift, epsilon);
        self.measured.push(Measured {
            parameters: [index(2), index(3), index(4)],
            mean: made.mean.inner(),
            variance: made.variance.inner(),
            count: n * height * width,
            momentum: norm.momentum,
        });
        made.output
    }

    fn max_pool(&mut self, at: usize, x: Tensor<4>, pool: Pool2d) -> Tensor<4> {
        let options = MaxPoolOptions::new([pool.kernel; 2])
            .with_stride([pool.stride; 2])
            .with_padding([pool.padding; 2])
            .with_ceil_mode(pool.ceil_mode);
        if !self.undone[at] {
            return module::max_pool2d(x, options);
        }
        let (y, indices) = module::max_pool2d_with_indices(x, options);
        let [n, c, height, width] = y.dims();
        self.indices[at] = Some(indices.reshape([n, c, height * width]));
        y
    }

    /// Puts values to where `pool` found its maxima. Where windows overlap and two of them found the same one,
    /// PyTorch keeps either on a GPU, and the last on a processor; here they are added.
    fn max_unpool(&mut self, x: Tensor<4>, pool: usize, to: Shape) -> Tensor<4> {
        let indices = self.indices[pool].clone().expect("left by the pool");
        let [n, c, height, width] = x.dims();
        let zeros = Tensor::zeros([n, c, to.pixels()], &self.device).autodiff();
        let x = x.reshape([n, c, height * width]);
        let y: Tensor<3> = zeros.scatter(2, indices, x, IndexingUpdateOp::Add);
        y.reshape([n, c, to.height, to.width])
    }

    /// Drops the values, whole channels or whole pictures, that our kernels drop for the same seed.
    fn drop(&mut self, at: usize, x: Tensor<4>, p: f32, factors: [usize; 4]) -> Tensor<4> {
        if !self.drops || p == 0.0 {
            return x;
        }
        let values = drop_factors(p, drop_seed(self.seed, at), factors.iter().product());
        x * Tensor::from_data(TensorData::new(values, factors), &self.device).autodiff()
    }
}

fn convolution(x: Tensor<4>, conv: &Conv2d, own: &[Tensor<1>]) -> Tensor<4> {
    let [height, width] = conv.kernel;
    let kernel = [conv.out_channels, x.dims()[1] / conv.groups, height, width];
    let padding = [0, 1].map(|axis| {
        let before = conv.padding[axis];
        (before, before + conv.extra_padding[axis])
    });
    let options = ConvOptions::new_with_padding(conv.stride, padding, conv.dilation, conv.groups);
    let bias = own.get(1).cloned();
    module::conv2d(x, own[0].clone().reshape(kernel), bias, options)
}

fn transposed(x: Tensor<4>, conv: &ConvTranspose2d, own: &[Tensor<1>]) -> Tensor<4> {
    let [height, width] = conv.kernel;
    let kernel = [x.dims()[1], conv.out_channels / conv.groups, height, width];
    let options = ConvTransposeOptions::new(
        conv.stride,
        conv.padding,
        conv.output_padding,
        conv.dilation,
        conv.groups,
    );
    let bias = own.get(1).cloned();
    module::conv_transpose2d(x, own[0].clone().reshape(kernel), bias, options)
}

fn activate(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    // As a clamp from below its gradient at 0 would be 1; PyTorch's is 0.
    let relu6 = |x: Tensor<4>| activation::relu(x).clamp_max(6.0);
    match activation {
        Activation::Relu => activation::relu(x),
        Activation::Relu6 => relu6(x),
        Activation::Hardswish => x.clone() * relu6(x + 3.0) / 6.0,
        Activation::Hardsigmoid => relu6(x + 3.0) / 6.0,
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::Tanh => activation::tanh(x),
    }
}

/// Cut off, or filled up with zeros, below and right.
fn fit(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [n, c, from_height, from_width] = x.dims();
    let (rows, columns) = (from_height.min(height), from_width.min(width));
    let kept = x.slice([0..n, 0..c, 0..rows, 0..columns]);
    if [rows, columns] == [height, width] {
        return kept;
    }
    let below_right = [(0, height - rows), (0, width - columns)];
    kept.pad(below_right, PadMode::Constant(0.0))
}
