//! Every entry point that maps meet in, with small shapes.

use segmenta_kernels::*;

/// Zeros that live as long as the test. As many for every instruction set, so that no check of a length comes
/// before the one that is looked for.
pub(super) fn zeros(shape: MapShape) -> &'static mut [f32] {
    let channels = shape.channels.next_multiple_of(16);
    vec![0.0; shape.batch * channels * shape.height * shape.width].leak()
}

pub(super) fn map(isa: Isa, shape: MapShape) -> Map<'static> {
    Map::whole(isa, shape, zeros(shape))
}

pub(super) fn map_mut(isa: Isa, shape: MapShape) -> MapMut<'static> {
    MapMut::whole(isa, shape, zeros(shape))
}

/// Of most maps: several blocks of whichever instruction set, the last of them not full. Miri takes a thousand times as
/// long, so there are fewer for it.
const CHANNELS: usize = if cfg!(miri) { 12 } else { 20 };

/// A batch of two, so that a stride of the wrong layout shows, and a block that is not full.
pub(super) const SHAPE: MapShape = MapShape {
    batch: 2,
    channels: CHANNELS,
    height: 4,
    width: 6,
};
pub(super) const ONE_PIXEL: MapShape = MapShape {
    height: 1,
    width: 1,
    ..SHAPE
};
pub(super) const ONE_CHANNEL: MapShape = MapShape {
    channels: 1,
    ..SHAPE
};
pub(super) const HALF: MapShape = MapShape {
    height: 2,
    width: 3,
    ..SHAPE
};
pub(super) const DOUBLE: MapShape = MapShape {
    height: 8,
    width: 12,
    ..SHAPE
};
pub(super) const FEWER: MapShape = MapShape {
    channels: 7,
    ..SHAPE
};
/// Where the last channels begin that [`FEWER`] has.
pub(super) const LAST: usize = SHAPE.channels - FEWER.channels;
pub(super) const TOKENS: MapShape = MapShape {
    height: 1,
    width: 25,
    ..SHAPE
};
/// `SHAPE` in windows of 2×2.
pub(super) const WINDOWS: MapShape = MapShape {
    height: 2,
    width: 12,
    ..SHAPE
};
/// Biases of two heads for them.
pub(super) const BIASES: MapShape = MapShape {
    channels: 2,
    height: 3,
    width: 3,
    ..SHAPE
};
/// `SHAPE` in squares of 2×2.
pub(super) const SQUARES: MapShape = MapShape {
    channels: 4 * CHANNELS,
    ..HALF
};
/// Of two heads and one point of one map, which [`SHAPE`] is.
pub(super) const LOGITS: MapShape = MapShape {
    channels: 2,
    ..SHAPE
};
pub(super) const OFFSETS: MapShape = MapShape {
    channels: 4,
    ..SHAPE
};

pub(super) fn deformable() -> Deformable {
    Deformable {
        heads: 2,
        points: 1,
        sizes: vec![[4, 6]],
    }
}

/// [`TOKENS`] with channels and pixels exchanged.
pub(super) const EXCHANGED: MapShape = MapShape {
    channels: 25,
    height: 1,
    width: CHANNELS,
    ..SHAPE
};
/// [`SHAPE`] with a channel for each of [`TOKENS`].
pub(super) const OF_TOKENS: MapShape = MapShape {
    channels: 25,
    ..SHAPE
};
pub(super) const PER_CHANNEL: [f32; CHANNELS] = [1.0; CHANNELS];

pub(super) const SPEC: ConvSpec = ConvSpec {
    in_channels: CHANNELS,
    out_channels: CHANNELS,
    kernel: [3, 3],
    stride: [1, 1],
    padding: [1, 1],
    dilation: [1, 1],
    groups: 1,
};
pub(super) const POINTWISE: ConvSpec = ConvSpec {
    kernel: [1, 1],
    padding: [0, 0],
    ..SPEC
};
pub(super) const DEPTHWISE: ConvSpec = ConvSpec {
    groups: CHANNELS,
    ..SPEC
};
pub(super) const STRIDED: ConvSpec = ConvSpec {
    stride: [2, 2],
    ..SPEC
};
pub(super) const ON_PICTURE: ConvSpec = ConvSpec {
    in_channels: 3,
    ..SPEC
};
pub(super) const PICTURE: MapShape = MapShape {
    channels: 3,
    ..SHAPE
};

pub(super) fn kernel_of(len: usize) -> Kernel2d<'static> {
    Kernel2d {
        weights: vec![0.5; len].leak(),
        bias: &[],
    }
}

pub(super) fn convolution(isa: Isa, spec: ConvSpec) -> Convolution {
    let kernel = kernel_of(spec.weights_len());
    Convolution::new(isa, spec, kernel, Activation::None)
}

pub(super) fn on_picture(isa: Isa) -> Convolution {
    let kernel = kernel_of(ON_PICTURE.weights_len());
    Convolution::on_picture(isa, ON_PICTURE, kernel, Activation::None).expect("a first layer")
}

pub(super) fn plan_of(conv: &Convolution, shape: MapShape) -> (ConvPlan, Vec<f32>) {
    let plan = conv.plan(shape, rayon_threads(), WeightMemory::Ample);
    let scratch = vec![0.0; plan.scratch_len()];
    (plan, scratch)
}

pub(super) fn rayon_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A convolution run with a map to add: of the convolution, its input, its output, the residual.
pub(super) fn run_convolution(spec: ConvSpec, isas: &[Isa]) {
    let conv = convolution(isas[0], spec);
    let (plan, mut scratch) = plan_of(&conv, SHAPE);
    let to = spec.output(SHAPE).expect("a window that fits");
    conv.run(
        &plan,
        map(isas[1], SHAPE),
        map_mut(isas[2], to),
        Some(map(isas[3], to)),
        &mut scratch,
    );
}

pub(super) fn run_weight_gradient(spec: ConvSpec, isas: &[Isa]) {
    let gradient = WeightGradient::new(isas[0], spec, SHAPE);
    let to = spec.output(SHAPE).expect("a window that fits");
    gradient.run(
        map(isas[1], SHAPE),
        map(isas[2], to),
        &mut vec![0.0; spec.weights_len()],
        &mut vec![0.0; gradient.scratch_len()],
    );
}

pub(super) fn run_transposed(groups: usize, isas: &[Isa]) {
    let spec = TransposedSpec {
        in_channels: CHANNELS,
        out_channels: CHANNELS,
        kernel: [2, 2],
        stride: [2, 2],
        padding: [0, 0],
        output_padding: [0, 0],
        dilation: [1, 1],
        groups,
    };
    let kernel = kernel_of(spec.weights_len());
    TransposedConvolution::new(isas[0], spec, kernel, Activation::None)
        .run(map(isas[1], SHAPE), map_mut(isas[2], DOUBLE));
}

/// Three maps that are read: queries, keys, values.
pub(super) fn three(isas: &[Isa]) -> [Map<'static>; 3] {
    [isas[0], isas[1], isas[2]].map(|isa| map(isa, SHAPE))
}

/// An entry point, how many layouts meet in it, and a call of it with each laid out as is said.
pub(super) type Entry = (&'static str, usize, fn(&[Isa]));

pub(super) const ENTRIES: &[Entry] = &[
    ("add", 3, |i| {
        let to = &mut map_mut(i[2], SHAPE);
        add(map(i[0], SHAPE), map(i[1], SHAPE), to, Activation::Relu);
    }),
    ("mul", 3, |i| {
        for by in [SHAPE, ONE_PIXEL, ONE_CHANNEL] {
            let to = &mut map_mut(i[2], SHAPE);
            mul(map(i[0], SHAPE), map(i[1], by), to, Activation::None);
        }
    }),
    ("scale", 2, |i| {
        scale(map(i[0], SHAPE), 0.5, &mut map_mut(i[1], SHAPE));
    }),
    ("apply", 2, |i| {
        apply(
            map(i[0], SHAPE),
            &mut map_mut(i[1], SHAPE),
            Activation::Gelu,
        );
    }),
    ("affine", 2, |i| {
        let to = &mut map_mut(i[1], SHAPE);
        affine(
            map(i[0], SHAPE),
            &PER_CHANNEL,
            &PER_CHANNEL,
            to,
            Activation::None,
        );
    }),
    ("copy", 2, |i| {
        copy(map(i[0], FEWER), &mut map_mut(i[1], SHAPE), LAST);
    }),
    ("place", 2, |i| {
        place(map(i[0], FEWER), &mut map_mut(i[1], SHAPE), LAST);
    }),
    ("extract", 2, |i| {
        extract(map(i[0], SHAPE), LAST, &mut map_mut(i[1], FEWER));
    }),
    ("accumulate", 2, |i| {
        accumulate(map(i[0], SHAPE), &mut map_mut(i[1], SHAPE));
    }),
    ("scale_gradient", 3, |i| {
        scale_gradient(
            map(i[0], SHAPE),
            map(i[1], SHAPE),
            &mut map_mut(i[2], ONE_PIXEL),
        );
    }),
    ("gate_gradient", 3, |i| {
        gate_gradient(
            map(i[0], SHAPE),
            map(i[1], SHAPE),
            &mut map_mut(i[2], ONE_CHANNEL),
        );
    }),
    ("activation_gradient", 3, |i| {
        let to = &mut map_mut(i[2], SHAPE);
        activation_gradient(map(i[0], SHAPE), map(i[1], SHAPE), to, Activation::Silu);
    }),
    ("dropout", 2, |i| {
        dropout(map(i[0], SHAPE), 0.5, 1, &mut map_mut(i[1], SHAPE));
    }),
    ("drop_channels", 2, |i| {
        drop_channels(map(i[0], SHAPE), 0.5, 1, &mut map_mut(i[1], SHAPE));
    }),
    ("drop_pictures", 2, |i| {
        drop_pictures(map(i[0], SHAPE), 0.5, 1, &mut map_mut(i[1], SHAPE));
    }),
    ("fit", 2, |i| {
        fit(map(i[0], SHAPE), &mut map_mut(i[1], DOUBLE));
    }),
    ("fit_below", 2, |i| {
        fit_below(map(i[0], SHAPE), &mut map_mut(i[1], DOUBLE));
    }),
    ("resize_bilinear", 2, |i| {
        resize_bilinear(map(i[0], SHAPE), &mut map_mut(i[1], DOUBLE), false);
    }),
    ("resize_bilinear_gradient", 2, |i| {
        resize_bilinear_gradient(map(i[0], DOUBLE), &mut map_mut(i[1], SHAPE), true);
    }),
    ("resize_bicubic", 2, |i| {
        resize_bicubic(map(i[0], SHAPE), &mut map_mut(i[1], DOUBLE));
    }),
    ("resize_bicubic_gradient", 2, |i| {
        resize_bicubic_gradient(map(i[0], DOUBLE), &mut map_mut(i[1], SHAPE));
    }),
    ("resize_nearest", 2, |i| {
        resize_nearest(map(i[0], SHAPE), &mut map_mut(i[1], DOUBLE));
    }),
    ("resize_nearest_gradient", 2, |i| {
        resize_nearest_gradient(map(i[0], DOUBLE), &mut map_mut(i[1], SHAPE));
    }),
    ("softmax", 2, |i| {
        softmax(map(i[0], SHAPE), &mut map_mut(i[1], SHAPE));
    }),
    ("softmax_between", 2, |i| {
        softmax_between(map(i[0], SHAPE), 2, false, &mut map_mut(i[1], SHAPE));
    }),
    ("softmax_between_gradient", 3, |i| {
        let to = &mut map_mut(i[2], SHAPE);
        softmax_between_gradient(map(i[0], SHAPE), map(i[1], SHAPE), 2, true, to);
    }),
    ("max_pool", 2, |i| {
        max_pool(
            map(i[0], SHAPE),
            PoolWindow::square(2),
            &mut map_mut(i[1], HALF),
        );
    }),
    ("max_pool_with_indices", 2, |i| {
        let indices = &mut vec![0; HALF.blocked_len(i[1])];
        let to = &mut map_mut(i[1], HALF);
        max_pool_with_indices(map(i[0], SHAPE), PoolWindow::square(2), to, indices);
    }),
    ("max_unpool", 2, |i| {
        let indices = &vec![0; HALF.blocked_len(i[0])];
        max_unpool(map(i[0], HALF), indices, &mut map_mut(i[1], SHAPE));
    }),
    ("max_pool_gradient", 2, |i| {
        let indices = &vec![0; HALF.blocked_len(i[0])];
        max_pool_gradient(map(i[0], HALF), indices, &mut map_mut(i[1], SHAPE));
    }),
    ("max_unpool_gradient", 2, |i| {
        let indices = &vec![0; HALF.blocked_len(i[1])];
        max_unpool_gradient(map(i[0], SHAPE), indices, &mut map_mut(i[1], HALF));
    }),
    ("avg_pool", 2, |i| {
        avg_pool(
            map(i[0], SHAPE),
            PoolWindow::square(2),
            true,
            &mut map_mut(i[1], HALF),
        );
    }),
    ("avg_pool_gradient", 2, |i| {
        avg_pool_gradient(
            map(i[0], HALF),
            PoolWindow::square(2),
            true,
            &mut map_mut(i[1], SHAPE),
        );
    }),
    ("adaptive_avg_pool", 2, |i| {
        adaptive_avg_pool(map(i[0], SHAPE), &mut map_mut(i[1], HALF));
    }),
    ("adaptive_avg_pool_gradient", 2, |i| {
        adaptive_avg_pool_gradient(map(i[0], HALF), &mut map_mut(i[1], SHAPE));
    }),
    ("global_avg_pool", 2, |i| {
        global_avg_pool(map(i[0], SHAPE), &mut map_mut(i[1], ONE_PIXEL));
    }),
    ("layer_norm", 2, |i| {
        let affine = [&PER_CHANNEL[..], &PER_CHANNEL];
        layer_norm(map(i[0], SHAPE), affine, 1e-5, &mut map_mut(i[1], SHAPE));
    }),
    ("layer_norm_gradient", 3, |i| {
        let (a, b) = (&mut vec![0.0; CHANNELS], &mut vec![0.0; CHANNELS]);
        let dx = &mut map_mut(i[2], SHAPE);
        layer_norm_gradient(
            map(i[0], SHAPE),
            map(i[1], SHAPE),
            &PER_CHANNEL,
            1e-5,
            dx,
            [a, b],
        );
    }),
    ("group_norm", 2, |i| {
        group_norm(
            map(i[0], SHAPE),
            4,
            None,
            1e-5,
            &mut map_mut(i[1], SHAPE),
            Activation::None,
        );
    }),
    ("group_norm_gradient", 3, |i| {
        let dx = &mut map_mut(i[2], SHAPE);
        group_norm_gradient(map(i[0], SHAPE), map(i[1], SHAPE), 4, None, 1e-5, dx);
    }),
    ("train", 2, |i| {
        batch_norm().train(map(i[0], SHAPE), &mut map_mut(i[1], SHAPE));
    }),
    ("gradients", 3, |i| {
        let statistics = Statistics::fixed(&PER_CHANNEL, &PER_CHANNEL, 1e-5);
        let dx = &mut map_mut(i[2], SHAPE);
        batch_norm().gradients(map(i[0], SHAPE), map(i[1], SHAPE), &statistics, dx);
    }),
    ("tokens", 2, |i| {
        let embeddings = Embeddings::new(&PER_CHANNEL, &[0.0; 25 * CHANNELS], [4, 6]);
        tokens(map(i[0], SHAPE), &embeddings, &mut map_mut(i[1], TOKENS));
    }),
    ("patches", 2, |i| {
        patches(map(i[0], TOKENS), &mut map_mut(i[1], SHAPE));
    }),
    ("patches_gradient", 2, |i| {
        patches_gradient(map(i[0], SHAPE), &mut map_mut(i[1], TOKENS));
    }),
    ("attention", 4, |i| {
        let scratch = &mut vec![0.0; attention_scratch(i[0], [SHAPE; 3], 2)];
        attention(three(i), 2, &mut map_mut(i[3], SHAPE), scratch);
    }),
    ("masked_attention", 5, |i| {
        let scratch = &mut vec![0.0; masked_attention_scratch(i[0], [SHAPE; 3], SHAPE, 2)];
        masked_attention(
            three(i),
            map(i[3], SHAPE),
            2,
            &mut map_mut(i[4], SHAPE),
            scratch,
        );
    }),
    ("masked_attention_gradient", 8, |i| {
        let scratch = &mut vec![0.0; masked_attention_gradient_scratch(i[0], [SHAPE; 3], SHAPE, 2)];
        let [a, b, c] = &mut [i[5], i[6], i[7]].map(|isa| map_mut(isa, SHAPE));
        let (mask, dy) = (map(i[3], SHAPE), map(i[4], SHAPE));
        masked_attention_gradient(three(i), mask, dy, 2, [a, b, c], scratch);
    }),
    ("deformable_attention", 4, |i| {
        let maps = [map(i[0], SHAPE), map(i[1], OFFSETS), map(i[2], LOGITS)];
        deformable_attention(maps, &deformable(), &mut map_mut(i[3], SHAPE));
    }),
    ("deformable_attention_gradient", 7, |i| {
        let maps = [map(i[0], SHAPE), map(i[1], OFFSETS), map(i[2], LOGITS)];
        let [a, b, c] = &mut [(i[4], SHAPE), (i[5], OFFSETS), (i[6], LOGITS)]
            .map(|(isa, shape)| map_mut(isa, shape));
        deformable_attention_gradient(maps, &deformable(), map(i[3], SHAPE), [a, b, c]);
    }),
    ("rotary", 2, |i| {
        rotary(
            map(i[0], SHAPE),
            [4, 6],
            1,
            100.0,
            false,
            &mut map_mut(i[1], SHAPE),
        );
    }),
    ("join", 3, |i| {
        join(
            map(i[0], SHAPE),
            map(i[1], ONE_PIXEL),
            &mut map_mut(i[2], TOKENS),
        );
    }),
    ("part", 2, |i| {
        part(map(i[0], TOKENS), 1, &mut map_mut(i[1], SHAPE));
    }),
    ("part_gradient", 2, |i| {
        part_gradient(map(i[0], SHAPE), 1, &mut map_mut(i[1], TOKENS));
    }),
    ("transpose", 2, |i| {
        transpose(map(i[0], TOKENS), &mut map_mut(i[1], EXCHANGED));
    }),
    ("product", 3, |i| {
        let scratch = &mut vec![0.0; product_scratch(i[0], TOKENS)];
        product(
            map(i[0], SHAPE),
            map(i[1], TOKENS),
            &mut map_mut(i[2], OF_TOKENS),
            scratch,
        );
    }),
    ("product_gradient", 3, |i| {
        product_gradient(
            map(i[0], TOKENS),
            map(i[1], OF_TOKENS),
            &mut map_mut(i[2], SHAPE),
        );
    }),
    ("product_row_gradient", 3, |i| {
        product_row_gradient(
            map(i[0], SHAPE),
            map(i[1], OF_TOKENS),
            &mut map_mut(i[2], TOKENS),
        );
    }),
    ("position_attention", 4, |i| {
        let scratch = &mut vec![0.0; position_attention_scratch(i[0], [SHAPE; 3])];
        position_attention(three(i), &mut map_mut(i[3], SHAPE), scratch);
    }),
    ("attention_gradient", 7, |i| {
        let scratch = &mut vec![0.0; attention_gradient_scratch(i[0], [SHAPE; 3], 2)];
        let [a, b, c] = &mut [i[4], i[5], i[6]].map(|isa| map_mut(isa, SHAPE));
        attention_gradient(three(i), map(i[3], SHAPE), 2, [a, b, c], scratch);
    }),
    ("position_attention_gradient", 7, |i| {
        let scratch = &mut vec![0.0; position_attention_gradient_scratch(i[0], [SHAPE; 3])];
        let [a, b, c] = &mut [i[4], i[5], i[6]].map(|isa| map_mut(isa, SHAPE));
        position_attention_gradient(three(i), map(i[3], SHAPE), [a, b, c], scratch);
    }),
    ("to_windows", 2, |i| {
        to_windows(map(i[0], SHAPE), 2, 1, &mut map_mut(i[1], WINDOWS));
    }),
    ("from_windows", 2, |i| {
        from_windows(map(i[0], WINDOWS), 2, 1, &mut map_mut(i[1], SHAPE));
    }),
    ("space_to_depth", 2, |i| {
        space_to_depth(map(i[0], SHAPE), 2, &mut map_mut(i[1], SQUARES));
    }),
    ("depth_to_space", 2, |i| {
        depth_to_space(map(i[0], SQUARES), 2, &mut map_mut(i[1], SHAPE));
    }),
    ("window_attention", 5, |i| {
        let maps = [i[0], i[1], i[2]].map(|isa| map(isa, WINDOWS));
        let biases = (map(i[3], BIASES), None);
        window_attention(maps, biases, [2, 1], &mut map_mut(i[4], WINDOWS));
    }),
    ("window_attention_gradient", 9, |i| {
        let maps = [i[0], i[1], i[2]].map(|isa| map(isa, WINDOWS));
        let scratch = &mut vec![0.0; window_attention_gradient_scratch(WINDOWS, BIASES)];
        let [a, b, c] = &mut [i[5], i[6], i[7]].map(|isa| map_mut(isa, WINDOWS));
        let of_biases = (&mut map_mut(i[8], BIASES), None);
        let (biases, dy) = ((map(i[3], BIASES), None), map(i[4], WINDOWS));
        let to = [a, b, c];
        window_attention_gradient(maps, biases, dy, [2, 1], to, of_biases, scratch);
    }),
    // Of convolutions, the first layout is the packed weights'; by tiles, by windows, dense, depthwise.
    ("run", 4, |i| run_convolution(SPEC, i)),
    ("run", 4, |i| run_convolution(STRIDED, i)),
    ("run", 4, |i| run_convolution(POINTWISE, i)),
    ("run", 4, |i| run_convolution(DEPTHWISE, i)),
    ("run_scaled", 5, |i| {
        let conv = convolution(i[0], POINTWISE);
        let (plan, _) = plan_of(&conv, SHAPE);
        let residual = Some(map(i[4], SHAPE));
        let (input, scale) = (map(i[1], SHAPE), map(i[2], ONE_PIXEL));
        conv.run_scaled(&plan, input, scale, map_mut(i[3], SHAPE), residual);
    }),
    ("run_on_picture", 2, |i| {
        let conv = on_picture(i[0]);
        let (plan, mut scratch) = plan_of(&conv, PICTURE);
        let picture = vec![0.0; PICTURE.batch_len()];
        conv.run_on_picture(&plan, &picture, map_mut(i[1], SHAPE), &mut scratch);
    }),
    // Of transposed convolutions.
    ("run", 3, |i| run_transposed(1, i)),
    ("run", 3, |i| run_transposed(CHANNELS, i)),
    // Of gradients of inputs, by a convolution and by a transposed one.
    ("run", 4, |i| {
        let mut gradient = InputGradient::new(i[0], SPEC, SHAPE, rayon_threads());
        let scratch = &mut vec![0.0; gradient.scratch_len()];
        let (dy, others, dx) = (map(i[1], SHAPE), map(i[2], SHAPE), map_mut(i[3], SHAPE));
        gradient.run(
            dy,
            &vec![0.5; SPEC.weights_len()],
            Some(others),
            dx,
            scratch,
        );
    }),
    ("run", 3, |i| {
        let mut gradient = InputGradient::new(i[0], STRIDED, SHAPE, rayon_threads());
        let weights = vec![0.5; STRIDED.weights_len()];
        gradient.run(
            map(i[1], HALF),
            &weights,
            None,
            map_mut(i[2], SHAPE),
            &mut [],
        );
    }),
    // Of gradients of weights.
    ("run", 3, |i| run_weight_gradient(SPEC, i)),
    ("run", 3, |i| run_weight_gradient(STRIDED, i)),
    ("run", 3, |i| run_weight_gradient(DEPTHWISE, i)),
    ("run_on_picture", 2, |i| {
        let gradient =
            WeightGradient::on_picture(i[0], ON_PICTURE, PICTURE).expect("a first layer");
        let picture = vec![0.0; PICTURE.batch_len()];
        let (to, scratch) = (
            vec![0.0; ON_PICTURE.weights_len()],
            vec![0.0; gradient.scratch_len()],
        );
        let (to, scratch) = (to.leak(), scratch.leak());
        gradient.run_on_picture(&picture, map(i[1], SHAPE), to, scratch);
    }),
];

pub(super) fn batch_norm() -> BatchNorm<'static> {
    BatchNorm {
        scale: &PER_CHANNEL,
        shift: &PER_CHANNEL,
        epsilon: 1e-5,
        activation: Activation::None,
    }
}
