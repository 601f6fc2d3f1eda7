//! In what a network is computed: a pass that says it for each step.

use std::fmt;
use std::str::FromStr;

use segmenta_graph::{Filter, Node};
use segmenta_kernels::low::{LowConvolution, Quantisation};
use segmenta_kernels::{Activation, Convolution, low};
use segmenta_program::terms::{conv_spec, precise_nodes};
use segmenta_program::{AvgPool, Conv, Draft, DraftStep, Mul, Resize, Storage, Work};

use crate::int8::{Int8, quantisation, value_names};
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
    /// 8 bits, with exact sums: for networks that were calibrated ([`Int8`]). Layers that 8 bits would hurt, and
    /// operations that have no kernel for them, stay in bf16 or f32.
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
            let ends = matches!(role(draft, at, input, by), Role::Ends);
            // A convolution writes what is read; the rest has one element.
            let is_conv = matches!(draft.work(at), Some(Work::Conv(_)));
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
}

/// In what those steps that read what the one at a place makes, and are not in f32, store it.
fn low_readers(
    draft: &Draft<'_>,
    at: usize,
    storages: &[Storage],
) -> impl Iterator<Item = Storage> {
    let readers = draft.readers(at).iter().map(|&reader| storages[reader]);
    readers.filter(|&storage| storage != Storage::F32)
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

/// What 8-bit numbers stand for, for the values that have a range.
fn know_bytes(draft: &mut Draft<'_>, int8: Option<&Int8>) {
    let Some(Int8 { ranges, .. }) = int8 else {
        return;
    };
    let names = value_names(draft.graph);
    let mut known: Vec<Option<[f32; 2]>> =
        names.iter().map(|name| ranges.get(name).copied()).collect();
    // What only moves numbers has their range.
    for at in draft.places() {
        if let Some(DraftStep {
            work: Work::Concat(_) | Work::Slice(_) | Work::Fit(_),
            inputs,
            output,
            ..
        }) = draft.step(at)
        {
            let parts: Option<Vec<[f32; 2]>> = inputs.iter().map(|i| known[i.index()]).collect();
            known[output.index()] = parts.map(|parts| widest(&parts));
        }
    }
    let quantisations = known.into_iter().map(|range| range.map(quantisation));
    draft.quantisations = quantisations.collect();
}

fn widest(ranges: &[[f32; 2]]) -> [f32; 2] {
    let ends = ranges.iter();
    ends.fold([0.0_f32; 2], |[low, high], range| {
        [low.min(range[0]), high.max(range[1])]
    })
}

/// Values that are the same numbers in other places share what numbers stand for, so that nothing is converted between
/// them.
///
/// The parts of a concatenation take its range where that costs them little: their own is no less than half of it, or
/// nothing else reads them. Others are converted on their way into it, and stay as fine as they are for their other readers.
fn share_ranges(draft: &mut Draft<'_>) {
    let mut shared = Shared::of(draft);
    let in_bytes = |step: &&DraftStep| step.reads == Storage::Bytes;
    for step in draft
        .places()
        .filter_map(|at| draft.step(at))
        .filter(in_bytes)
    {
        let moves = matches!(
            step.work,
            Work::Slice(_)
                | Work::MaxPool(_)
                | Work::Resize(_)
                | Work::AvgPool(AvgPool::Window { .. })
        );
        if moves {
            shared.join(step.inputs[0], step.output);
        }
    }
    for at in draft.places() {
        let Some(step) = draft.step(at).filter(in_bytes) else {
            continue;
        };
        if !matches!(step.work, Work::Concat(_)) {
            continue;
        }
        let parts: Vec<[f32; 2]> = step.inputs.iter().map(|&i| shared.range(i)).collect();
        shared.set_range(step.output, widest(&parts));
        let whole = scale(shared.range(step.output));
        for &input in &step.inputs {
            if whole <= 2.0 * shared.finest(input) || shared.is_read_by(draft, input, at) {
                shared.join(input, step.output);
            }
        }
    }
    draft.quantisations = shared.quantisations();
}

fn scale([low, high]: [f32; 2]) -> f32 {
    high - low
}

/// Values in groups that share a range.
struct Shared {
    /// The group of each node's value.
    group: Vec<usize>,
    /// The range of each group; `None` where nothing is known.
    ranges: Vec<Option<[f32; 2]>>,
    /// The smallest extent of a range in each group, as values have them by themselves.
    finest: Vec<f32>,
}

impl Shared {
    fn of(draft: &Draft<'_>) -> Self {
        let known = draft.quantisations.iter().map(|known| {
            let Quantisation { scale, zero_point } = (*known)?;
            Some([0, 255].map(|number| scale * (number - zero_point) as f32))
        });
        let ranges: Vec<_> = known.collect();
        Self {
            group: (0..ranges.len()).collect(),
            finest: ranges
                .iter()
                .map(|range| range.map_or(0.0, scale))
                .collect(),
            ranges,
        }
    }

    fn range(&self, node: Node) -> [f32; 2] {
        self.ranges[self.group[node.index()]].unwrap_or_default()
    }

    fn set_range(&mut self, node: Node, range: [f32; 2]) {
        let group = self.group[node.index()];
        (self.ranges[group], self.finest[group]) = (Some(range), scale(range));
    }

    fn finest(&self, node: Node) -> f32 {
        self.finest[self.group[node.index()]]
    }

    fn join(&mut self, one: Node, other: Node) {
        let [from, to] = [one, other].map(|node| self.group[node.index()]);
        if from == to {
            return;
        }
        let both: Vec<[f32; 2]> = [from, to].iter().filter_map(|&g| self.ranges[g]).collect();
        self.ranges[to] = Some(widest(&both));
        self.finest[to] = self.finest[to].min(self.finest[from]);
        for group in self.group.iter_mut().filter(|group| **group == from) {
            *group = to;
        }
    }

    /// Whether all that reads a value, or one that shares its range, is the step at a place.
    fn is_read_by(&self, draft: &Draft<'_>, node: Node, at: usize) -> bool {
        let own = self.group[node.index()];
        let is_own = |node: Node| self.group[node.index()] == own;
        let members = draft.graph.iter().filter(|(node, _)| is_own(*node));
        let mut makers = members.filter_map(|(node, _)| draft.maker(node));
        makers.all(|maker| {
            let mut readers = draft.readers(maker).iter();
            readers.all(|&reader| {
                let output = draft.step(reader).map(|step| step.output);
                reader == at || output.is_some_and(is_own)
            })
        })
    }

    fn quantisations(&self) -> Vec<Option<Quantisation>> {
        let groups = self.group.iter();
        groups
            .map(|&group| self.ranges[group].map(quantisation))
            .collect()
    }
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
/// products, and is neither the last layer nor one of a single pixel. The first layer is never in bytes, and in bf16 where
/// [`Lowering::lowers_first`] says so. In bytes where it is known what
/// they stand for, unless the layer is to stay out of them.
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
    let is_first = Some(reads) == input;
    let is_full = is_last || is_first && !by.lowers_first() || draft.graph.is_one_pixel(reads);
    if is_full || conv.on_picture || conv.scaled {
        return Storage::F32;
    }
    let pays = |element: low::Element| {
        let saves = Convolution::saves(&spec);
        // Depthwise windows are bound by memory, and by vectors lose more to widening than they gain.
        let least = if spec.groups > 1 {
            saves.max(4.0)
        } else {
            saves
        };
        LowConvolution::supports(&spec, element)
            && (by.everywhere || by.engine.gain(element) >= least)
    };
    let name = &draft.graph.node(step.node).name;
    let keeps = is_first || by.int8.is_some_and(|int8| int8.full.contains(name));
    let known = |node: Node| draft.quantisations[node.index()];
    let all_known = step.inputs.iter().all(|&node| known(node).is_some());
    let bytes = known(reads).filter(|_| all_known && known(step.output).is_some() && !keeps);
    match bytes {
        Some(bytes) if pays(low::Element::U8(bytes)) => Storage::Bytes,
        _ if by.precision == Precision::Int8 && !by.falls_to_bf16() => Storage::F32,
        _ if pays(low::Element::Bf16) => Storage::Bf16,
        _ => Storage::F32,
    }
}

impl Lowering<'_> {
    /// Whether what is no good in bytes goes into bf16: where that is much faster than f32, not for a few per cent. A
    /// network of which no range is known is being calibrated, in f32 on every processor.
    fn falls_to_bf16(&self) -> bool {
        self.int8.is_some() && self.multiplies_bf16_fast()
    }

    /// Whether the first layer goes into bf16, too: where that is much faster. Its rounding is one more among those of
    /// some fifty layers; in f32 it and the conversion of its large map would be an eighth of a U-Net's time there. Beside
    /// bytes it stays in f32, so that they are the same on every engine.
    pub(crate) fn lowers_first(&self) -> bool {
        self.precision == Precision::Bf16 && self.multiplies_bf16_fast()
    }

    fn multiplies_bf16_fast(&self) -> bool {
        self.engine.gain(low::Element::Bf16) >= 8.0
    }
}
