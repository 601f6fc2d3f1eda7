//! In what a network is computed: a pass that says it for each step.

use std::fmt;
use std::str::FromStr;

use segmenta_graph::Node;
use segmenta_kernels::{Activation, Convolution, low};
use segmenta_program::terms::{conv_spec, precise_nodes};
use segmenta_program::{AvgPool, Conv, Draft, DraftStep, Element, Mul, Work};

use crate::passes::widened;

/// In what a network is computed.
///
/// In bf16, maps and weights are stored and multiplied in bf16; sums, biases, residuals and non-linearities are f32. The
/// first and the last layers, norms, softmax and attention stay in f32, as do operations that have no kernel in bf16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// The upper half of single precision, with sums in it.
    Bf16,
}

impl Precision {
    /// The names there are.
    pub const NAMES: &[&str] = &["f32", "bf16"];

    /// About how many times as many products a second as in f32 an engine computes. Networks gain less: not all of
    /// their time goes into products, and f32 needs fewer for some windows.
    pub fn gain(self, engine: low::Engine) -> f32 {
        match self {
            Self::F32 => 1.0,
            Self::Bf16 => engine.gain(low::Element::Bf16),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(UnknownPrecision(other.into())),
        }
    }
}

/// A name that is no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no precision `{0}` · give f32 or bf16")]
pub struct UnknownPrecision(String);

/// A pass: which steps compute in low precision. What reads what another step made in another element finds it
/// converted.
pub(crate) fn lower_precision(draft: &mut Draft<'_>, precision: Precision, engine: low::Engine) {
    let element = match precision {
        Precision::F32 => return,
        Precision::Bf16 => Element::Low(low::Element::Bf16),
    };
    let input = draft.graph.iter().next().map(|(node, _)| node);
    let precise = precise_nodes(draft.graph);
    let mut lowers = vec![false; draft.places().len()];
    for at in draft.places() {
        // A rounding that moves a maximum moves what is put back there.
        let is_precise = draft
            .step(at)
            .is_some_and(|step| precise[step.node.index()]);
        lowers[at] = match role(draft, at, input, engine) {
            _ if is_precise => false,
            Role::Computes => true,
            // What carries on what was computed in low precision.
            Role::Carries | Role::Ends => draft.step(at).is_some_and(|step| {
                let makers = carried(step).iter().map(|&node| draft.maker(node));
                makers
                    .into_iter()
                    .all(|maker| maker.is_some_and(|maker| lowers[maker]))
            }),
            Role::Full => false,
        };
    }
    // Carrying it on for what reads it in f32 would only move the conversion.
    for at in draft.places().rev() {
        let carries = matches!(role(draft, at, input, engine), Role::Carries);
        lowers[at] &= !carries || draft.readers(at).iter().any(|&reader| lowers[reader]);
    }
    for at in draft.places() {
        if lowers[at] {
            let ends = matches!(role(draft, at, input, engine), Role::Ends);
            let is_read = draft.readers(at).iter().any(|&reader| lowers[reader]);
            let writes = if is_read && !ends {
                element
            } else {
                Element::F32
            };
            draft.set_elements(at, element, writes);
        }
    }
}

/// What a step is to low precision.
enum Role {
    /// It pays: a product with a kernel.
    Computes,
    /// It can, where what it reads is in low precision.
    Carries,
    /// It reads low precision and writes f32.
    Ends,
    /// It stays in f32.
    Full,
}

fn role(draft: &Draft<'_>, at: usize, input: Option<Node>, engine: low::Engine) -> Role {
    let Some(step) = draft.step(at) else {
        return Role::Full;
    };
    let graph = draft.graph;
    match &step.work {
        Work::Conv(conv) if is_low(draft, step, conv, input, engine) => Role::Computes,
        Work::Add(_) | Work::Apply(_) | Work::Concat(_) | Work::Slice(_) | Work::Resize(_) => {
            Role::Carries
        }
        Work::MaxPool(pool) if !pool.keeps_indices => Role::Carries,
        Work::AvgPool(AvgPool::Window { .. }) => Role::Carries,
        Work::AvgPool(AvgPool::Grid | AvgPool::Global) => Role::Ends,
        Work::Mul(Mul(Activation::None)) => {
            let [x, factors] = [0, 1].map(|i| step.inputs[i]);
            let a_channel = graph.is_one_pixel(factors)
                && graph.node(factors).channels == graph.node(x).channels;
            if a_channel { Role::Carries } else { Role::Full }
        }
        _ => Role::Full,
    }
}

/// What of a step's inputs is to be in low precision for it to carry it on: all but the factors of a product.
fn carried(step: &DraftStep) -> &[Node] {
    match step.work {
        Work::Mul(_) => &step.inputs[..1],
        _ => &step.inputs,
    }
}

/// Whether a convolution is computed in low precision: it has a kernel that is not slower than f32's with its fewer
/// products, and is neither the first nor the last layer, nor one of a single pixel.
fn is_low(
    draft: &Draft<'_>,
    step: &DraftStep,
    conv: &Conv,
    input: Option<Node>,
    engine: low::Engine,
) -> bool {
    let &[reads, ..] = &step.inputs[..] else {
        return false;
    };
    let description = widened(draft.graph, &draft.convs[conv.layer]);
    let spec = conv_spec(&description, draft.graph.node(reads).channels);
    let is_last = draft
        .results
        .iter()
        .any(|result| result.source == step.output);
    let is_edge = Some(reads) == input || is_last || draft.graph.is_one_pixel(reads);
    let has_kernel = low::LowConvolution::supports(&spec, low::Element::Bf16);
    // Depthwise windows are bound by memory, and by vectors lose more to widening than they gain.
    let gain = engine.gain(low::Element::Bf16);
    let saves = Convolution::saves(&spec);
    let pays = gain
        >= if spec.groups > 1 {
            saves.max(4.0)
        } else {
            saves
        };
    has_kernel && pays && !is_edge && !conv.on_picture && !conv.scaled
}
