//! In what a network is computed: a pass that says it for each step. What bytes stand for is said in `ranges.rs`.

mod ranges;

use std::fmt;
use std::str::FromStr;

use segmenta_graph::{Filter, Graph, Node};
use segmenta_kernels::low::{LowConvolution, Quantisation};
use segmenta_kernels::{Activation, ConvSpec, Convolution, low};
use segmenta_program::terms::{conv_spec, precise_nodes};
use segmenta_program::{
    AvgPool, Conv, ConvDraft, Draft, DraftResult, DraftStep, Emission, Mul, Resize, Storage, Work,
};

use self::ranges::{know_bytes, share_ranges};
use crate::int8::{Int8, value_names};
use crate::passes::widened;

/// In what a network is computed.
///
/// In bf16, maps and weights are stored and multiplied in bf16; sums, biases, residuals and non-linearities are f32. The
/// last layer, norms, softmax and attention stay in f32, as do operations that have no kernel in bf16; so does the first
/// layer, but where tiles multiply bf16 numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// The upper half of single precision, with sums in it.
    Bf16,
    /// 8 bits, with exact sums: for networks that were calibrated ([`Int8`]). Layers that 8 bits would hurt, and
    /// operations that have no kernel for them, stay in f32.
    Int8,
}

impl Precision {
    /// The names there are.
    pub const NAMES: &[&str] = &["f32", "bf16", "int8"];

    /// About how many times as many products a second as in f32 an engine computes. Networks gain less: not all of
    /// their time goes into products, and f32 needs fewer for some windows.
    pub fn gain(self, engine: low::Engine) -> f32 {
        match self {
            Self::F32 => 1.0,
            Self::Bf16 => engine.gain(low::Element::Bf16),
            Self::Int8 => engine.gain(ANY_BYTES),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            other => Err(UnknownPrecision(other.into())),
        }
    }
}

/// 8-bit numbers, whatever they stand for.
pub(crate) const ANY_BYTES: low::Element = low::Element::U8(Quantisation {
    scale: 1.0,
    zero_point: 0,
});

/// A name that is no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no precision `{0}` · give f32, bf16 or int8")]
pub struct UnknownPrecision(String);

/// What the pass [`lower_precision`] goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lowering<'i> {
    pub(crate) precision: Precision,
    /// What is known of 8-bit values; nothing is stored in them without.
    pub(crate) int8: Option<&'i Int8>,
    pub(crate) engine: low::Engine,
    /// Whether layers go low that this processor computes faster in f32, too: for measuring what others will compute.
    pub(crate) everywhere: bool,
}

/// A pass: in what each step stores what it reads and writes. What reads what another step made in another element
/// finds it converted.
pub(crate) fn lower_precision(draft: &mut Draft<'_>, by: &Lowering<'_>) {
    match by.precision {
        Precision::F32 => return,
        Precision::Bf16 => {}
        Precision::Int8 => know_bytes(draft, by.int8),
    }
    let input = draft.graph.iter().next().map(|(node, _)| node);
    let precise = precise_nodes(draft.graph);
    let mut storages = vec![Storage::F32; draft.places().len()];
    for at in draft.places() {
        // A rounding that moves a maximum moves what is put back there.
        let is_precise = draft
            .step(at)
            .is_some_and(|step| precise[step.node.index()]);
        storages[at] = match role(draft, at, input, by) {
            _ if is_precise => Storage::F32,
            Role::Computes(storage) => storage,
            // What carries on what was computed in low precision.
            Role::Carries | Role::Ends => carried_in(draft, at, &storages),
            Role::Full => Storage::F32,
        };
    }
    // Carrying it on for what reads it in f32 would only move the conversion.
    for at in draft.places().rev() {
        let carries = matches!(role(draft, at, input, by), Role::Carries);
        if carries && low_readers(draft, at, &storages).next().is_none() {
            storages[at] = Storage::F32;
        }
    }
    for at in draft.places() {
        if storages[at] != Storage::F32 {
            // A convolution writes what is read, results in f32; the rest has one element.
            let is_conv = matches!(draft.work(at), Some(Work::Conv(_)));
            let output = draft.step(at).map(|step| step.output);
            let is_result = draft.results.iter().any(|r| Some(r.source) == output);
            let ends = matches!(role(draft, at, input, by), Role::Ends) || is_conv && is_result;
            let readers: Vec<Storage> = low_readers(draft, at, &storages).collect();
            let writes = match readers[..] {
                [first, ref others @ ..] if !ends => {
                    let agree = is_conv && others.iter().all(|other| *other == first);
                    if agree { first } else { storages[at] }
                }
                _ => Storage::F32,
            };
            draft.set_storage(at, storages[at], writes);
        }
    }
    share_ranges(draft);
    write_results(draft);
}

/// Last layers of low precision whose values are the result as they are write it themselves, in planes.
fn write_results(draft: &mut Draft<'_>) {
    for output in 0..draft.results.len() {
        let DraftResult {
            source, emission, ..
        } = draft.results[output];
        let Some(maker) = draft.maker(source) else {
            continue;
        };
        let is_alone = draft.readers(maker).is_empty()
            && draft.results.iter().filter(|r| r.source == source).count() == 1;
        let is_low = draft.step(maker).is_some_and(|s| s.reads != Storage::F32);
        let Some(&Work::Conv(conv)) = draft.work(maker) else {
            continue;
        };
        let groups = widened(draft.graph, &draft.convs[conv.layer]).groups;
        if emission == Emission::Plain
            && is_alone
            && is_low
            && groups == 1
            && let Some(Work::Conv(conv)) = draft.work_mut(maker)
        {
            conv.emits = Some(output);
        }
    }
}

/// In what those steps that read what the one at a place makes, and are not in f32, store it. Factors of a product are
/// read in f32 by all.
fn low_readers(
    draft: &Draft<'_>,
    at: usize,
    storages: &[Storage],
) -> impl Iterator<Item = Storage> {
    let output = draft.step(at).map(|step| step.output);
    let reads_low = move |reader: &usize| {
        let step = draft.step(*reader);
        step.is_some_and(|step| carried(step).iter().any(|&node| Some(node) == output))
    };
    let readers = draft.readers(at).iter().copied().filter(reads_low);
    let stored = readers.map(|reader| storages[reader]);
    stored.filter(|&storage| storage != Storage::F32)
}

/// In what a step that carries on is stored: as what it reads, where all of that is stored alike. A concatenation takes
/// in f32 parts, too, which would be converted with the whole otherwise.
fn carried_in(draft: &Draft<'_>, at: usize, storages: &[Storage]) -> Storage {
    let Some(step) = draft.step(at) else {
        return Storage::F32;
    };
    let known = |node: Node| draft.quantisations[node.index()].is_some();
    let made = carried(step).iter().map(|&node| {
        let maker = draft.maker(node);
        maker.map_or(Storage::F32, |maker| storages[maker])
    });
    let joins = matches!(step.work, Work::Concat(_));
    let mut wanted = made.filter(|&made| !joins || made != Storage::F32);
    let Some(first) = wanted.next() else {
        return Storage::F32;
    };
    let agree = wanted.all(|other| other == first);
    let can =
        first != Storage::Bytes || known(step.output) && carried(step).iter().all(|&i| known(i));
    if agree && can { first } else { Storage::F32 }
}

/// What a step is to low precision.
enum Role {
    /// It pays: a product with a kernel, stored so.
    Computes(Storage),
    /// It can, where what it reads is in low precision.
    Carries,
    /// It reads low precision and writes f32.
    Ends,
    /// It stays in f32.
    Full,
}

fn role(draft: &Draft<'_>, at: usize, input: Option<Node>, by: &Lowering<'_>) -> Role {
    let Some(step) = draft.step(at) else {
        return Role::Full;
    };
    let graph = draft.graph;
    match &step.work {
        Work::Conv(conv) => match computed_in(draft, step, conv, input, by) {
            Storage::F32 => Role::Full,
            low => Role::Computes(low),
        },
        Work::Resize(Resize(Filter::Bicubic)) => Role::Full,
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

/// In what a convolution is computed: low precision where it has a kernel that is not slower than f32's with its fewer
/// products; single pixels, too, since squeeze-and-excitation has half of a small network's weights. In bytes where it is
/// known what they stand for, unless the layer is to stay out of them: then in f32, so that what was measured of the
/// network holds on every engine. Results are f32: a last layer of bytes writes them so, one of bf16 stays in f32. In
/// bf16 the first layer goes low where that is much faster ([`Lowering::multiplies_bf16_fast`]).
fn computed_in(
    draft: &Draft<'_>,
    step: &DraftStep,
    conv: &Conv,
    input: Option<Node>,
    by: &Lowering<'_>,
) -> Storage {
    let &[reads, ..] = &step.inputs[..] else {
        return Storage::F32;
    };
    let description = widened(draft.graph, &draft.convs[conv.layer]);
    let spec = conv_spec(&description, draft.graph.node(reads).channels);
    let is_last = draft
        .results
        .iter()
        .any(|result| result.source == step.output);
    if conv.on_picture || conv.scaled {
        return Storage::F32;
    }
    if by.precision == Precision::Bf16 {
        if is_last {
            return Storage::F32;
        }
        let is_low = Some(reads) != input || by.multiplies_bf16_fast();
        let pays = is_low && by.pays(&spec, low::Element::Bf16);
        return if pays { Storage::Bf16 } else { Storage::F32 };
    }
    let known = |node: Node| draft.quantisations[node.index()].is_some();
    // Calibrations from before the picture had a range were measured with these in f32.
    let is_old = !input.is_some_and(known);
    if is_old && (is_last || draft.graph.is_one_pixel(reads)) {
        return Storage::F32;
    }
    let all_known = step.inputs.iter().chain([&step.output]).all(|&i| known(i));
    let keeps = by.keeps_out(&draft.graph.node(step.node).name);
    if all_known && !keeps && by.pays(&spec, ANY_BYTES) {
        Storage::Bytes
    } else {
        Storage::F32
    }
}

impl Lowering<'_> {
    /// Whether a layer is computed in low precision though it reads the picture, and f32 has a kernel that reads it as it
    /// came. In bf16 where that is much faster: its rounding is one more among those of some fifty layers; in f32 it and
    /// the conversion of its large map would be an eighth of a U-Net's time there. In bytes where the picture's range is
    /// known.
    pub(crate) fn lowers_first(&self, graph: &Graph, conv: &ConvDraft, spec: &ConvSpec) -> bool {
        match (self.precision, self.int8) {
            (Precision::F32, _) | (Precision::Int8, None) => false,
            (Precision::Bf16, _) => {
                self.multiplies_bf16_fast() && LowConvolution::supports(spec, low::Element::Bf16)
            }
            (Precision::Int8, Some(int8)) => {
                let names = value_names(graph);
                let is_known = names.first().is_some_and(|n| int8.ranges.contains_key(n));
                let name = &graph.node(conv.node).name;
                is_known && !self.keeps_out(name) && self.pays(spec, ANY_BYTES)
            }
        }
    }

    /// Whether a layer of that name is to stay out of 8 bits.
    fn keeps_out(&self, name: &str) -> bool {
        self.int8.is_some_and(|int8| int8.full.contains(name))
    }

    /// Whether a convolution has a kernel that is not slower than f32's.
    fn pays(&self, spec: &ConvSpec, element: low::Element) -> bool {
        let saves = Convolution::saves(spec);
        // Depthwise windows are bound by memory, and by vectors lose more to widening than they gain.
        let least = if spec.groups > 1 {
            saves.max(4.0)
        } else {
            saves
        };
        LowConvolution::supports(spec, element)
            && (self.everywhere || self.engine.gain(element) >= least)
    }

    fn multiplies_bf16_fast(&self) -> bool {
        self.engine.gain(low::Element::Bf16) >= 8.0
    }
}
