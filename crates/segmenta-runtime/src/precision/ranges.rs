//! What 8-bit numbers stand for, and which values share it.

use segmenta_graph::Node;
use segmenta_kernels::low::Quantisation;
use segmenta_program::{AvgPool, Draft, DraftStep, Storage, Work};

use crate::int8::{Int8, quantisation, value_names};

/// What 8-bit numbers stand for, for the values that have a range.
pub(super) fn know_bytes(draft: &mut Draft<'_>, int8: Option<&Int8>) {
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
pub(super) fn share_ranges(draft: &mut Draft<'_>) {
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

    /// Whether all that reads a value, or one that shares its range, is the step at a place; never of the network's input.
    fn is_read_by(&self, draft: &Draft<'_>, node: Node, at: usize) -> bool {
        let own = self.group[node.index()];
        let is_own = |node: Node| self.group[node.index()] == own;
        let members = draft.graph.iter().filter(|(node, _)| is_own(*node));
        let mut makers = members.filter_map(|(node, _)| draft.maker(node));
        draft.maker(node).is_some()
            && makers.all(|maker| {
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
