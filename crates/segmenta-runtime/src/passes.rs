//! Inference's passes: what is folded into weights and fused into the step before.

use crate::precision::{Lowering, Precision, lower_precision};
use segmenta_graph::{Conv2d, Graph, Node, Op};
use segmenta_kernels::{Activation, Convolution, Isa};
use segmenta_program::terms::{as_convolution, conv_spec};
use segmenta_program::{
    Add, BatchNorm, Branch, Conv, ConvDraft, Draft, DraftStep, Mul, Scale, Transposed, Work,
};

/// A graph lowered for inference.
pub(crate) fn lower<'g>(
    graph: &'g Graph,
    isa: Isa,
    wanted: &[Node],
    lowering: &Lowering<'_>,
) -> Draft<'g> {
    let mut draft = Draft::lower(graph, isa, wanted, |_, data| data.op.is_training_only());
    fold_batch_norms(&mut draft);
    merge_branches(&mut draft);
    draft.read_pictures(|draft, conv| {
        let spec = conv_spec(&widened(draft.graph, conv), draft.graph.in_channels());
        Convolution::supports_picture(&spec) && !lowering.lowers_first(draft.graph, conv, &spec)
    });
    fold_scales(&mut draft);
    if lowering.precision == Precision::F32 {
        scale_weights_by_channel(&mut draft);
    }
    add_in_convolutions(&mut draft);
    draft.fuse_activations(|_, _| true);
    draft.resize_into_results(true);
    lower_precision(&mut draft, lowering);
    draft
}

/// The convolution or transposed convolution of a step, to be folded into.
fn layer_mut<'d>(draft: &'d mut Draft<'_>, at: usize) -> Option<&'d mut ConvDraft> {
    match *draft.work(at)? {
        Work::Conv(Conv { layer, .. }) => Some(&mut draft.convs[layer]),
        Work::Transposed(Transposed { layer }) => Some(&mut draft.transposed[layer]),
        _ => None,
    }
}

/// A batch norm after a convolution becomes a part of its weights.
fn fold_batch_norms(draft: &mut Draft<'_>) {
    for at in draft.places() {
        let Some(next) = draft.only_reader(at) else {
            continue;
        };
        let Some(&Work::BatchNorm(BatchNorm { layer: norm })) = draft.work(next) else {
            continue;
        };
        let norm = draft.norms[norm].node;
        if let Some(conv) = layer_mut(draft, at) {
            conv.norm = Some(norm);
            draft.fuse(at, next);
        }
    }
}

/// Convolutions of one map that are added up become one (Ding et al. 2021, arXiv:2101.03697), as MobileOne's blocks are
/// meant to be run.
fn merge_branches(draft: &mut Draft<'_>) {
    for at in draft.places() {
        while merge_branch(draft, at).is_some() {}
    }
}

fn merge_branch(draft: &mut Draft<'_>, at: usize) -> Option<()> {
    let DraftStep { inputs, work, .. } = draft.step(at)?;
    let (&Work::Conv(Conv { layer, .. }), &[input]) = (work, &inputs[..]) else {
        return None;
    };
    let (sum, other) = summed(draft, at)?;
    let branch = draft.maker(other)?;
    let is_free = draft.only_reader(branch) == Some(sum);
    let DraftStep { inputs, work, .. } = draft.step(branch)?;
    if !is_free || inputs[..] != [input] {
        return None;
    }
    let whole = widened(draft.graph, &draft.convs[layer]);
    let (part, window) = match *work {
        Work::BatchNorm(BatchNorm { layer }) => {
            let channels = draft.graph.node(input).channels;
            let keeps = whole.stride == [1, 1] && whole.out_channels == channels;
            let norm = draft.norms[layer].node;
            (keeps && is_centred(&whole)).then_some((Branch { conv: None, norm }, whole.kernel))?
        }
        Work::Conv(Conv { layer, .. }) => {
            let conv = &draft.convs[layer];
            let Op::Conv2d(own) = draft.graph.node(conv.node).op else {
                return None;
            };
            let [one, other] = [own, whole].map(|conv| Conv2d {
                kernel: [1, 1],
                padding: [0, 0],
                bias: false,
                ..conv
            });
            let alike = one == other && is_centred(&own) && is_centred(&whole);
            let norm = conv.norm.filter(|_| alike && conv.branches.is_empty())?;
            let conv = Some(conv.node);
            (Branch { conv, norm }, whole.kernel.max(own.kernel))
        }
        _ => return None,
    };
    draft.convs[layer].branches.push(part);
    draft.convs[layer].window = window;
    draft.remove(branch);
    draft.fuse(at, sum);
    Some(())
}

/// The sum that alone reads what a step makes, and what is added there.
fn summed(draft: &Draft<'_>, at: usize) -> Option<(usize, Node)> {
    let sum = draft.only_reader(at)?;
    let own = draft.step(at)?.output;
    let DraftStep { inputs, work, .. } = draft.step(sum)?;
    let is_sum = matches!(work, Work::Add(Add(Activation::None)));
    let other = inputs.iter().copied().find(|&input| input != own);
    is_sum.then_some((sum, other?))
}

/// The convolution with the window that holds all of its branches.
pub(crate) fn widened(graph: &Graph, conv: &ConvDraft) -> Conv2d {
    let Some(own) = as_convolution(&graph.node(conv.node).op) else {
        unreachable!("drafted from a convolution")
    };
    if conv.branches.is_empty() {
        return own;
    }
    let around = [0, 1].map(|axis| own.dilation[axis] * (conv.window[axis] / 2));
    Conv2d {
        kernel: conv.window,
        padding: around,
        ..own
    }
}

/// Whether a square window of odd side lies around its pixel.
fn is_centred(conv: &Conv2d) -> bool {
    let [rows, columns] = conv.kernel;
    let around = [0, 1].map(|axis| conv.dilation[axis] * (conv.kernel[axis] / 2));
    rows == columns && rows % 2 == 1 && conv.padding == around && conv.extra_padding == [0, 0]
}

/// A number that a convolution's result is multiplied by becomes a part of its weights.
fn fold_scales(draft: &mut Draft<'_>) {
    for at in draft.places() {
        let Some(next) = draft.only_reader(at) else {
            continue;
        };
        let Some(&Work::Scale(Scale { by })) = draft.work(next) else {
            continue;
        };
        if let Some(Work::Conv(Conv { layer, .. })) = draft.work(at) {
            let layer = *layer;
            draft.convs[layer].scale = by;
            draft.fuse(at, next);
        }
    }
}

/// A product with one factor a channel (squeeze-and-excitation) that only a convolution reads goes into that
/// convolution's weights, where it has a kernel for it.
fn scale_weights_by_channel(draft: &mut Draft<'_>) {
    for at in draft.places() {
        let Some(DraftStep { inputs, work, .. }) = draft.step(at) else {
            continue;
        };
        let (Work::Mul(Mul(Activation::None)), &[x, factors]) = (work, &inputs[..]) else {
            continue;
        };
        let graph = draft.graph;
        let channels = graph.node(x).channels;
        if !graph.is_one_pixel(factors) || graph.node(factors).channels != channels {
            continue;
        }
        let Some(reader) = draft.only_reader(at) else {
            continue;
        };
        let Some(&Work::Conv(Conv { layer, .. })) = draft.work(reader) else {
            continue;
        };
        let conv = as_convolution(&graph.node(draft.convs[layer].node).op);
        if conv.is_some_and(|conv| Convolution::supports_scale(&conv_spec(&conv, channels))) {
            draft.remove(at);
            draft.set_inputs(reader, vec![x, factors]);
            if let Some(Work::Conv(conv)) = draft.work_mut(reader) {
                conv.scaled = true;
            }
        }
    }
}

/// A convolution adds the map that its result alone is added to, before its values leave the registers.
fn add_in_convolutions(draft: &mut Draft<'_>) {
    for at in draft.places() {
        let Some(&Work::Conv(conv)) = draft.work(at) else {
            continue;
        };
        let Some((sum, other)) = summed(draft, at) else {
            continue;
        };
        // Only what was computed before can be added; the operand that comes last adds.
        let is_there = draft.maker(other).is_none_or(|maker| maker < at);
        if conv.on_picture || !is_there {
            continue;
        }
        draft.fuse(at, sum);
        let inputs = draft.step(at).map(|step| step.inputs.clone());
        let inputs = inputs.into_iter().flatten().chain([other]).collect();
        draft.set_inputs(at, inputs);
        if let Some(Work::Conv(conv)) = draft.work_mut(at) {
            conv.adds = true;
        }
    }
}
