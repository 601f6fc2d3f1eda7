//! Weights read, batch norms folded into them, and packed for the kernels.

use rayon::prelude::*;
use segmenta_graph::{BatchNorm, Graph, Node, Op, Parameter};
use segmenta_kernels::low::{self, ConvElements, LowConvolution, LowKernel};
use segmenta_kernels::{
    Activation, ConvSpec, Convolution, Embeddings, Isa, Kernel2d, TransposedConvolution,
};
use segmenta_program::terms::{
    as_convolution, conv_spec, has_leading_taps, transposed_spec, with_leading_taps,
};
use segmenta_program::{
    Branch, ConvDraft, ConvLayer, Draft, Element, Layers, NormDraft, NormLayer, NormNumbers,
    Numbers, Packed, Table, Tokens, TokensOf, TransposedLayer, Work,
};

use crate::int8::quantise_weights;
use crate::passes::widened;

/// Packs the weights of all layers, and gives steps that have some of their own theirs. Reading and packing is most of
/// the time to load: on all threads.
pub(crate) fn pack<E: Send>(
    draft: &mut Draft<'_>,
    engine: low::Engine,
    read: &(impl Fn(&Parameter) -> Result<Vec<f32>, E> + Sync),
) -> Result<Layers, E> {
    draft.drop_unused_layers();
    let (graph, isa) = (draft.graph, draft.isa);
    let forms: Vec<Form> = draft.places().filter_map(|at| form(draft, at)).collect();
    for at in draft.places() {
        match draft.work_mut(at) {
            Some(Work::GroupNorm(norm)) => {
                for numbers in norm.affine.iter_mut().flatten() {
                    own(numbers, graph, read)?;
                }
            }
            Some(Work::LayerNorm(norm)) => {
                for numbers in &mut norm.affine {
                    own(numbers, graph, read)?;
                }
            }
            Some(Work::Table(Table(numbers))) => own(numbers, graph, read)?,
            Some(Work::Tokens(Tokens(of))) => {
                if let TokensOf::Parameters { grid, entries } = *of {
                    let [token, positions] = entries.map(|at| read(&graph.parameters()[at]));
                    *of = TokensOf::Own(Box::new(Embeddings::new(&token?, &positions?, grid)));
                }
            }
            _ => {}
        }
    }
    let convs = draft.convs.par_iter().zip(forms);
    let convs = convs.map(|(conv, form)| {
        let (spec, weights) = weights(conv, graph, read)?;
        let packed = packed(isa, engine, spec, &weights, conv.activation, form);
        let learning = None;
        Ok(ConvLayer { packed, learning })
    });
    let transposed = draft.transposed.par_iter();
    let transposed = transposed.map(|conv| transposed_convolution(conv, graph, isa, read));
    let norms = draft
        .norms
        .par_iter()
        .map(|norm| batch_norm(norm, graph, read));
    Ok(Layers {
        convs: convs.collect::<Result<_, E>>()?,
        transposed: transposed.collect::<Result<_, E>>()?,
        norms: norms.collect::<Result<_, E>>()?,
    })
}

/// A parameter's numbers become a step's own.
fn own<E>(
    numbers: &mut Numbers,
    graph: &Graph,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    if let Numbers::Parameter(at) = *numbers {
        *numbers = Numbers::Own(read(&graph.parameters()[at])?);
    }
    Ok(())
}

/// Kernel and bias in f32, with all that is folded into them.
struct Weights {
    kernel: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    fn as_kernel(&self) -> Kernel2d<'_> {
        Kernel2d {
            weights: &self.kernel,
            bias: &self.bias,
        }
    }
}

/// What a convolution's weights are packed for.
#[derive(Clone, Copy)]
enum Form {
    Picture,
    Blocked,
    Low(ConvElements),
}

/// What the convolution of a step is packed for; in the order of the layers' indices.
fn form(draft: &Draft<'_>, at: usize) -> Option<Form> {
    let step = draft.step(at)?;
    let Work::Conv(conv) = step.work else {
        return None;
    };
    if conv.on_picture {
        return Some(Form::Picture);
    }
    let low = |node, storage| match draft.element(node, storage) {
        Element::Low(element) => Some(element),
        Element::F32 | Element::U32 => None,
    };
    let Some(input) = low(step.inputs[0], step.reads) else {
        return Some(Form::Blocked);
    };
    // What is added comes as it was made, if that is of low precision.
    let residual = conv.adds.then(|| {
        let added = step.inputs[1];
        let maker = draft.maker(added).and_then(|maker| draft.step(maker));
        let made = maker.and_then(|maker| low(added, maker.writes));
        made.or_else(|| low(added, step.reads))
    });
    Some(Form::Low(ConvElements {
        input,
        output: low(step.output, step.writes),
        residual: residual.flatten(),
    }))
}

fn packed(
    isa: Isa,
    engine: low::Engine,
    spec: ConvSpec,
    weights: &Weights,
    activation: Activation,
    form: Form,
) -> Packed {
    let kernel = weights.as_kernel();
    match form {
        Form::Picture => Packed::F32(
            Convolution::on_picture(isa, spec, kernel, activation)
                .expect("asked before it was made to read the picture"),
        ),
        Form::Blocked => Packed::F32(Convolution::new(isa, spec, kernel, activation)),
        Form::Low(elements) => {
            let bias = &weights.bias;
            let int8 = (elements.input != low::Element::Bf16)
                .then(|| quantise_weights(&weights.kernel, spec.out_channels));
            let kernel = match &int8 {
                Some((weights, scales)) => LowKernel::Int8 {
                    weights,
                    scales,
                    bias,
                },
                None => LowKernel::Float {
                    weights: &weights.kernel,
                    bias,
                },
            };
            Packed::Low(LowConvolution::new(
                engine, spec, kernel, elements, activation,
            ))
        }
    }
}

/// The extents of a convolution and its weights, with all that is folded into them.
fn weights<E>(
    draft: &ConvDraft,
    graph: &Graph,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(ConvSpec, Weights), E> {
    let data = graph.node(draft.node);
    let in_channels = graph.node(data.inputs[0]).channels;
    let Some(own) = as_convolution(&data.op) else {
        unreachable!("drafted from a convolution")
    };
    let per_group = in_channels / own.groups;
    let per_channel = per_group * own.kernel[0] * own.kernel[1];
    let runs = Runs {
        length: per_channel,
        channel_of: &|run| run,
    };
    let mut weights = read_weights(draft, own.out_channels, graph, read, &runs)?;
    let conv = widened(graph, draft);
    weights.kernel = in_window(&weights.kernel, own.kernel, conv.kernel);
    for branch in &draft.branches {
        let (kernel, bias) = read_branch(branch, graph, draft.window, per_group, read)?;
        let sums = weights.kernel.iter_mut().zip(&kernel);
        let sums = sums.chain(weights.bias.iter_mut().zip(&bias));
        sums.for_each(|(sum, value)| *sum += draft.scale * value);
    }
    if has_leading_taps(&conv) {
        weights.kernel = with_leading_taps(&conv, &weights.kernel);
    }
    Ok((conv_spec(&conv, in_channels), weights))
}

fn transposed_convolution<E>(
    draft: &ConvDraft,
    graph: &Graph,
    isa: Isa,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<TransposedLayer, E> {
    let data = graph.node(draft.node);
    let in_channels = graph.node(data.inputs[0]).channels;
    let Op::ConvTranspose2d(conv) = data.op else {
        unreachable!("drafted from a transposed convolution")
    };
    let spec = transposed_spec(&conv, in_channels);
    // Kernels lie by input channel: a group's outputs follow each other within each.
    let out_per_group = spec.out_channels / spec.groups;
    let (taps, in_per_group) = (spec.kernel[0] * spec.kernel[1], in_channels / spec.groups);
    let runs = Runs {
        length: taps,
        channel_of: &|run| {
            let (input, within) = (run / out_per_group, run % out_per_group);
            input / in_per_group * out_per_group + within
        },
    };
    let weights = read_weights(draft, spec.out_channels, graph, read, &runs)?;
    Ok(TransposedLayer {
        packed: TransposedConvolution::new(isa, spec, weights.as_kernel(), draft.activation),
        learning: None,
    })
}

fn batch_norm<E>(
    draft: &NormDraft,
    graph: &Graph,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<NormLayer, E> {
    let (scale, shift) = folded_norm(draft.node, graph, read)?;
    Ok(NormLayer {
        activation: draft.activation,
        numbers: NormNumbers::Fixed([scale, shift]),
    })
}

/// Which output channels a kernel's values are for: so many after each other are for one.
struct Runs<'a> {
    length: usize,
    channel_of: &'a dyn Fn(usize) -> usize,
}

fn read_weights<E>(
    draft: &ConvDraft,
    out_channels: usize,
    graph: &Graph,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
    runs: &Runs<'_>,
) -> Result<Weights, E> {
    let parameters = &graph.node(draft.node).parameters;
    let mut kernel = read(graph.parameter(parameters[0]))?;
    let mut bias = match parameters.get(1) {
        Some(&id) => read(graph.parameter(id))?,
        None => vec![0.0; out_channels],
    };
    if let Some(norm) = draft.norm {
        let (scale, shift) = folded_norm(norm, graph, read)?;
        for (run, values) in kernel.chunks_exact_mut(runs.length).enumerate() {
            let scale = scale[(runs.channel_of)(run)];
            for value in values {
                *value *= scale;
            }
        }
        for ((bias, scale), shift) in bias.iter_mut().zip(&scale).zip(&shift) {
            *bias = *bias * scale + shift;
        }
    }
    if draft.scale != 1.0 {
        for values in [&mut kernel, &mut bias] {
            for value in values {
                *value *= draft.scale;
            }
        }
    }
    Ok(Weights { kernel, bias })
}

/// A batch norm in evaluation mode as a scale and a shift a channel.
fn folded_norm<E>(
    norm: Node,
    graph: &Graph,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(Vec<f32>, Vec<f32>), E> {
    let norm = graph.node(norm);
    let Op::BatchNorm(BatchNorm { eps, .. }) = norm.op else {
        unreachable!("drafted from a batch norm")
    };
    let entry = |i: usize| read(graph.parameter(norm.parameters[i]));
    let (weight, bias, mean, variance) = (entry(0)?, entry(1)?, entry(2)?, entry(3)?);
    // In f64, so that folding adds no rounding of its own.
    let scales = weight.iter().zip(&variance);
    let scale: Vec<f64> = scales
        .map(|(&w, &v)| f64::from(w) / (f64::from(v) + f64::from(eps)).sqrt())
        .collect();
    let shifts = bias.iter().zip(&mean).zip(&scale);
    let shift = shifts
        .map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32)
        .collect();
    Ok((scale.into_iter().map(|s| s as f32).collect(), shift))
}

/// Kernel and bias of a branch, in a window of that size; `per_group` channels go into each group.
fn read_branch<E>(
    branch: &Branch,
    graph: &Graph,
    window: [usize; 2],
    per_group: usize,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(Vec<f32>, Vec<f32>), E> {
    let (scale, shift) = folded_norm(branch.norm, graph, read)?;
    let Some(node) = branch.conv else {
        // A kernel that gives each channel back.
        let mut points = vec![0.0; scale.len() * per_group];
        for (channel, scale) in scale.iter().enumerate() {
            points[channel * per_group + channel % per_group] = *scale;
        }
        return Ok((in_window(&points, [1, 1], window), shift));
    };
    let data = graph.node(node);
    let entry = |i: usize| data.parameters.get(i).map(|&id| read(graph.parameter(id)));
    let mut kernel = entry(0).transpose()?.unwrap_or_default();
    let each = kernel.len() / scale.len();
    for (values, scale) in kernel.chunks_exact_mut(each).zip(&scale) {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    let bias = match entry(1).transpose()? {
        Some(bias) => bias
            .iter()
            .zip(&scale)
            .zip(&shift)
            .map(|((b, s), t)| b * s + t)
            .collect(),
        None => shift,
    };
    let Op::Conv2d(conv) = data.op else {
        unreachable!("a branch's convolution")
    };
    Ok((in_window(&kernel, conv.kernel, window), bias))
}

/// A kernel with zeros around it.
fn in_window(kernel: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    if from == to {
        return kernel.to_vec();
    }
    let [above, left] = [0, 1].map(|axis| (to[axis] - from[axis]) / 2);
    let mut wider = Vec::new();
    for taps in kernel.chunks_exact(from[0] * from[1]) {
        let start = wider.len();
        wider.resize(start + to[0] * to[1], 0.0);
        for (row, taps) in taps.chunks_exact(from[1]).enumerate() {
            let at = start + (above + row) * to[1] + left;
            wider[at..][..from[1]].copy_from_slice(taps);
        }
    }
    wider
}
