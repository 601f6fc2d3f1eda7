//! Runs the steps of a plan in its arena.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;

use segmenta_kernels::low::{Engine, LowMap, LowMapMut};
use segmenta_kernels::{
    self as kernels, Arena, Isa, Map, MapMut, MapShape, as_bytes, as_bytes_mut,
};

use crate::layers::Layers;
use crate::ops::Conv;
use crate::plan::Plan;
use crate::program::Program;
use crate::terms::map_shape;
use crate::value::{Element, Value};
use crate::work::{Step, Work};

/// What steps work on beside the arena.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The network's input, N×C×H×W.
    pub input: &'a [f32],
    /// The values of the graph's parameters; none where no layer learns.
    pub parameters: &'a [&'a [f32]],
    /// What decides which values are dropped in this step.
    pub seed: u64,
}

/// The packed weights that steps compute with.
#[derive(Debug)]
pub enum LayersIn<'a> {
    /// As they are, shared between threads.
    Fixed(&'a Layers),
    /// Packed anew from the parameters.
    Learning(&'a mut Layers),
}

impl LayersIn<'_> {
    pub(crate) fn get(&self) -> &Layers {
        match self {
            Self::Fixed(layers) => layers,
            Self::Learning(layers) => layers,
        }
    }

    /// To be packed, if they learn.
    pub(crate) fn learning(&mut self) -> Option<&mut Layers> {
        match self {
            Self::Fixed(_) => None,
            Self::Learning(layers) => Some(layers),
        }
    }
}

/// What the two passes read or write of their own.
#[derive(Debug)]
pub enum Pass<'a> {
    /// From the input to the results.
    Forward {
        /// Written, N×C×H×W each.
        results: Vec<&'a mut [f32]>,
    },
    /// From the gradients of the results to those of the parameters.
    Backward {
        /// The gradients of the results, N×C×H×W each.
        results: &'a [&'a [f32]],
        /// Written, by parameter, where there is room.
        gradients: Vec<Option<&'a mut [f32]>>,
    },
}

/// A step that wrote a NaN or an infinity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// Which: steps count from the first of the forward pass on.
    pub step: usize,
    /// What it wrote.
    pub value: f32,
}

/// What is looked at after each step.
#[derive(Default)]
pub enum Watch<'w> {
    /// Nothing.
    #[default]
    Nothing,
    /// Whether it wrote a NaN or an infinity: the pass ends there.
    NotFinite,
    /// What it wrote: the step, and each map with its shape, N×C×H×W in f32 whatever it is stored in.
    Values(&'w mut (dyn FnMut(&Step, MapShape, &[f32]) + Send)),
}

/// Runs the steps of a pass. `timed` hears of each step with its index and the seconds that it took.
///
/// # Errors
/// With [`Watch::NotFinite`], the first step that wrote such a number.
#[expect(clippy::too_many_arguments, reason = "each is another thing's")]
pub fn run<'p>(
    program: &Program,
    plan: &Plan,
    mut layers: LayersIn<'p>,
    arena: &mut Arena,
    around: Surroundings<'p>,
    mut pass: Pass<'p>,
    mut watch: Watch<'_>,
    mut timed: impl FnMut(usize, f64),
) -> Result<(), NotFinite> {
    let (steps, first) = match pass {
        Pass::Forward { .. } => (&program.forward, 0),
        Pass::Backward { .. } => (&program.backward, program.forward.len()),
    };
    let mut written = HashSet::new();
    for (index, step) in (first..).zip(steps) {
        if plan.skips(step) {
            continue;
        }
        let start = Instant::now();
        let before = pass.shared_gradients(step.work.parameters(layers.get()), &mut written);
        let mut run = Run {
            io: Io {
                plan,
                isa: program.isa,
                engine: program.engine,
                arena,
                step,
                index,
            },
            layers: &mut layers,
            around,
            pass: &mut pass,
        };
        step.work.run(&mut run);
        run.pass.add_gradients(before);
        match &mut watch {
            Watch::Nothing => {}
            Watch::NotFinite => {
                if let Some(value) = run.first_non_finite() {
                    return Err(NotFinite { step: index, value });
                }
            }
            Watch::Values(see) => run.written(see),
        }
        timed(index, start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// One step being run.
pub(crate) struct Run<'r, 'p> {
    pub(crate) io: Io<'r>,
    pub(crate) layers: &'r mut LayersIn<'p>,
    pub(crate) around: Surroundings<'p>,
    pub(crate) pass: &'r mut Pass<'p>,
}

/// What a step reads and writes in the arena.
pub(crate) struct Io<'r> {
    pub(crate) plan: &'r Plan,
    pub(crate) isa: Isa,
    pub(crate) engine: Engine,
    pub(crate) step: &'r Step,
    /// The step's, from the first of the forward pass on.
    pub(crate) index: usize,
    arena: &'r mut Arena,
}

/// Reads and writes as kernels take them.
pub(crate) struct Views<'m, const R: usize, const W: usize> {
    pub(crate) reads: [Map<'m>; R],
    pub(crate) writes: [MapMut<'m>; W],
    pub(crate) scratch: &'m mut [f32],
}

impl Pass<'_> {
    /// Where a result is written.
    pub(crate) fn result(&mut self, output: usize) -> &mut [f32] {
        match self {
            Self::Forward { results } => results[output],
            Self::Backward { .. } => unreachable!("results are written by the forward pass"),
        }
    }

    /// The gradient of a result.
    pub(crate) fn result_gradient(&self, output: usize) -> &[f32] {
        match self {
            Self::Backward { results, .. } => results[output],
            Self::Forward { .. } => unreachable!("gradients are read by the backward pass"),
        }
    }

    /// Where a parameter's gradient is written; `None` where it is not wanted.
    pub(crate) fn gradient(&mut self, parameter: usize) -> Option<&mut [f32]> {
        match self {
            Self::Backward { gradients, .. } => gradients[parameter].as_deref_mut(),
            Self::Forward { .. } => unreachable!("gradients are written by the backward pass"),
        }
    }

    /// The gradients that are there of entries which another step wrote already, since several layers share them: what
    /// this step writes is to be added to them.
    fn shared_gradients(
        &mut self,
        parameters: Vec<usize>,
        written: &mut HashSet<usize>,
    ) -> Vec<(usize, Vec<f32>)> {
        let mut before = Vec::new();
        for parameter in parameters {
            if !written.insert(parameter)
                && let Some(gradient) = self.gradient(parameter)
            {
                before.push((parameter, gradient.to_vec()));
            }
        }
        before
    }

    /// Adds those to what was written since.
    fn add_gradients(&mut self, before: Vec<(usize, Vec<f32>)>) {
        for (parameter, values) in before {
            let sums = self.gradient(parameter).into_iter().flatten();
            sums.zip(values).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Writes gradients, where they are wanted.
    pub(crate) fn give(&mut self, parameters: [usize; 2], values: &[Vec<f32>; 2]) {
        for (parameter, values) in parameters.into_iter().zip(values) {
            if let Some(to) = self.gradient(parameter) {
                to.copy_from_slice(values);
            }
        }
    }
}

impl Run<'_, '_> {
    pub(crate) fn unary(&mut self, work: impl FnOnce(Map<'_>, &mut MapMut<'_>)) {
        let Views {
            reads: [x],
            writes: [mut to],
            ..
        } = self.io.views::<1, 1>();
        work(x, &mut to);
    }

    pub(crate) fn binary(&mut self, work: impl FnOnce(Map<'_>, Map<'_>, &mut MapMut<'_>)) {
        let Views {
            reads: [a, b],
            writes: [mut to],
            ..
        } = self.io.views::<2, 1>();
        work(a, b, &mut to);
    }

    /// Shows the maps that the step wrote. Parts that are copied into a concatenation were shown as what they are.
    fn written(&mut self, see: &mut dyn FnMut(&Step, MapShape, &[f32])) {
        let (plan, isa, step) = (self.io.plan, self.io.isa, self.io.step);
        if matches!(step.work, Work::Copy(_)) {
            return;
        }
        if let Work::Conv(Conv {
            emits: Some(output),
            ..
        }) = step.work
        {
            let shape = map_shape(plan.results[output]);
            see(step, shape, self.pass.result(output));
        }
        for &value in &step.writes {
            let shape = plan.shape(value);
            let mut planar = vec![0.0; shape.batch_len()];
            match plan.element(value) {
                Element::F32 => {
                    let [written] = self.io.arena.views([numbers(plan.place(value))], []).reads;
                    kernels::to_planar(map(plan, isa, value, written), &mut planar);
                }
                Element::Low(_) => {
                    let whole = self.low_as_f32(value);
                    kernels::to_planar(kernels::Map::whole(isa, shape, &whole), &mut planar);
                }
                // Places of maxima, no values.
                Element::U32 => continue,
            }
            see(step, shape, &planar);
        }
    }

    /// A value of low precision, blocked.
    fn low_as_f32(&mut self, value: Value) -> kernels::Buffer {
        let (place, layout) = self.io.plan.low(value);
        let [written] = self.io.arena.views([numbers(place)], []).reads;
        let x = LowMap::new(self.io.engine, layout, as_bytes(written));
        let mut whole = kernels::Buffer::zeros(layout.shape().blocked_len(self.io.isa));
        let mut to = MapMut::whole(self.io.isa, layout.shape(), &mut whole);
        kernels::low::to_blocked(x, &mut to);
        whole
    }

    /// The first NaN or infinity that the step wrote.
    fn first_non_finite(&mut self) -> Option<f32> {
        let (plan, isa, step) = (self.io.plan, self.io.isa, self.io.step);
        let wrong = |value: &&f32| !value.is_finite();
        for &value in &step.writes {
            let found = match plan.element(value) {
                Element::F32 => {
                    let [written] = self.io.arena.views([numbers(plan.place(value))], []).reads;
                    // In a concatenation other maps lie between one picture's and the next's.
                    let image = plan.shape(value).image_len(isa);
                    let mut pictures = written.chunks(plan.image_stride(value));
                    let found = pictures.find_map(|values| values[..image].iter().find(wrong));
                    found.copied()
                }
                Element::Low(_) => self.low_as_f32(value).iter().find(wrong).copied(),
                Element::U32 => None,
            };
            if found.is_some() {
                return found;
            }
        }
        if let Some(output) = step.work.result() {
            return self
                .pass
                .result(output)
                .iter()
                .find(|v| !v.is_finite())
                .copied();
        }
        let parameters = step.work.parameters(self.layers.get());
        parameters.into_iter().find_map(|parameter| {
            let gradient = self.pass.gradient(parameter)?;
            gradient.iter().find(|value| !value.is_finite()).copied()
        })
    }
}

impl Io<'_> {
    /// All that the step reads and writes, and its scratch memory.
    pub(crate) fn views<const R: usize, const W: usize>(&mut self) -> Views<'_, R, W> {
        let (plan, isa, step) = (self.plan, self.isa, self.step);
        let reads: [Value; R] = std::array::from_fn(|i| step.reads[i]);
        let writes: [Value; W] = std::array::from_fn(|i| step.writes[i]);
        let (views, scratch) = self.arena.views_and_scratch(
            reads.map(|value| numbers(plan.place(value))),
            writes.map(|value| numbers(plan.place(value))),
            numbers(plan.scratch(self.index)),
        );
        let mut from = views.reads.into_iter();
        let mut to = views.writes.into_iter();
        Views {
            reads: reads.map(|value| map(plan, isa, value, from.next().unwrap_or_default())),
            writes: writes.map(|value| map_mut(plan, isa, value, to.next().unwrap_or_default())),
            scratch,
        }
    }

    /// The first that it reads, the indices that come second, and what it writes.
    pub(crate) fn with_indices(&mut self, work: impl FnOnce(Map<'_>, &[u32], &mut MapMut<'_>)) {
        let (plan, isa) = (self.plan, self.isa);
        let ([x, indices], to) = ([0, 1].map(|i| self.step.reads[i]), self.step.writes[0]);
        let reads = [x, indices].map(|value| numbers(plan.place(value)));
        let views = self.arena.views(reads, [numbers(plan.place(to))]);
        let ([from, indices], [y]) = (views.reads, views.writes);
        work(
            map(plan, isa, x, from),
            kernels::as_indices(indices),
            &mut map_mut(plan, isa, to, y),
        );
    }

    /// What it reads, what it writes first, and the indices that it writes second.
    pub(crate) fn writing_indices(
        &mut self,
        work: impl FnOnce(Map<'_>, &mut MapMut<'_>, &mut [u32]),
    ) {
        let (plan, isa) = (self.plan, self.isa);
        let (x, [to, indices]) = (self.step.reads[0], [0, 1].map(|i| self.step.writes[i]));
        let writes = [to, indices].map(|value| numbers(plan.place(value)));
        let views = self.arena.views([numbers(plan.place(x))], writes);
        let ([from], [y, indices]) = (views.reads, views.writes);
        work(
            map(plan, isa, x, from),
            &mut map_mut(plan, isa, to, y),
            kernels::as_indices_mut(indices),
        );
    }

    /// What it reads, the whole buffer that it writes to, and from which channel on.
    pub(crate) fn writing_whole(&mut self, work: impl FnOnce(Map<'_>, &mut MapMut<'_>, usize)) {
        let (plan, isa) = (self.plan, self.isa);
        let (x, to) = (self.step.reads[0], self.step.writes[0]);
        let (place, shape) = plan.whole(to);
        let views = self.arena.views([numbers(plan.place(x))], [numbers(place)]);
        let ([from], [whole]) = (views.reads, views.writes);
        let mut whole = MapMut::whole(isa, shape, whole);
        work(map(plan, isa, x, from), &mut whole, to.first);
    }
}

/// What a step reads, or writes, in the element that it is in.
#[derive(Clone, Copy)]
pub(crate) enum View<F, L> {
    F32(F),
    Low(L),
}

impl Io<'_> {
    /// What it reads, the whole buffer of low precision that it writes to, and from which channel on.
    pub(crate) fn writing_low_whole(
        &mut self,
        work: impl FnOnce(LowMap<'_>, &mut LowMapMut<'_>, usize),
    ) {
        let (plan, engine) = (self.plan, self.engine);
        let (x, to) = (self.step.reads[0], self.step.writes[0]);
        let ([of_x, of_whole], [from, whole]) = {
            let [(a, of_x), (b, of_whole)] = [plan.low(x), plan.low(plan.whole_value(to))];
            ([of_x, of_whole], [a, b])
        };
        let views = self.arena.views([numbers(from)], [numbers(whole)]);
        let ([from], [whole]) = (views.reads, views.writes);
        let mut whole = LowMapMut::new(engine, of_whole, as_bytes_mut(whole));
        work(
            LowMap::new(engine, of_x, as_bytes(from)),
            &mut whole,
            to.first,
        );
    }

    /// All that a step reads that writes no map, of low precision.
    pub(crate) fn low_reads<const R: usize>(&mut self) -> [LowMap<'_>; R] {
        let (plan, engine) = (self.plan, self.engine);
        let low: [_; R] = std::array::from_fn(|i| plan.low(self.step.reads[i]));
        let places = low.each_ref().map(|(place, _)| numbers(place.clone()));
        let mut from = self.arena.views(places, []).reads.into_iter();
        low.map(|(_, layout)| {
            LowMap::new(engine, layout, as_bytes(from.next().unwrap_or_default()))
        })
    }

    /// All that the step reads, and what it writes, each in its element.
    pub(crate) fn mixed<const R: usize>(
        &mut self,
    ) -> (
        [View<Map<'_>, LowMap<'_>>; R],
        View<MapMut<'_>, LowMapMut<'_>>,
    ) {
        let (plan, isa, engine) = (self.plan, self.isa, self.engine);
        let reads: [Value; R] = std::array::from_fn(|i| self.step.reads[i]);
        let to = self.step.writes[0];
        let place = |value: Value| match plan.element(value) {
            Element::Low(_) => plan.low(value).0,
            Element::F32 | Element::U32 => plan.place(value),
        };
        let views = self.arena.views(
            reads.map(|value| numbers(place(value))),
            [numbers(place(to))],
        );
        let mut from = views.reads.into_iter();
        let [written] = views.writes;
        let read = |value: Value| {
            let data = from.next().unwrap_or_default();
            match plan.element(value) {
                Element::Low(_) => {
                    View::Low(LowMap::new(engine, plan.low(value).1, as_bytes(data)))
                }
                Element::F32 | Element::U32 => View::F32(map(plan, isa, value, data)),
            }
        };
        let write = match plan.element(to) {
            Element::Low(_) => View::Low(LowMapMut::new(
                engine,
                plan.low(to).1,
                as_bytes_mut(written),
            )),
            Element::F32 | Element::U32 => View::F32(map_mut(plan, isa, to, written)),
        };
        (reads.map(read), write)
    }
}

/// Bytes of the arena as numbers of 32 bits.
fn numbers(bytes: Range<usize>) -> Range<usize> {
    bytes.start / size_of::<f32>()..bytes.end / size_of::<f32>()
}

fn map<'m>(plan: &Plan, isa: Isa, value: Value, data: &'m [f32]) -> Map<'m> {
    Map::new(isa, plan.shape(value), data, plan.image_stride(value))
}

fn map_mut<'m>(plan: &Plan, isa: Isa, value: Value, data: &'m mut [f32]) -> MapMut<'m> {
    MapMut::new(isa, plan.shape(value), data, plan.image_stride(value))
}
