//! A program for one input size: the shape and the place of every buffer.

use std::ops::Range;

use segmenta_graph::{Graph, GraphError, Shape};
use segmenta_kernels::{
    ConvPlan, Convolution, Isa, MapShape, WeightMemory, attention_scratch,
    position_attention_scratch,
};

use crate::layout::{Demand, lay_out};
use crate::lower::map_shape;
use crate::program::{Layout, Program, Step, Value, Work};

/// Shapes and places for one input size.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) input: MapShape,
    /// Shape of each buffer.
    shapes: Vec<MapShape>,
    layouts: Vec<Layout>,
    /// Where the values of some buffers are instead.
    aliases: Aliases,
    places: Vec<Range<usize>>,
    /// How each step's convolution goes, for those that have one.
    pub(crate) convolutions: Vec<Option<ConvPlan>>,
    /// Scratch memory of each step; empty for most.
    pub(crate) scratch: Vec<Range<usize>>,
    pub(crate) arena_len: usize,
    pub(crate) results: Vec<Shape>,
    isa: Isa,
}

/// What all plans together may hold of weights in a second form, in bytes. Beyond that, weights are
/// transformed anew in each run: a tenth to a quarter slower for the layers that do.
const TRANSFORMED: usize = 1 << 30;

impl Plan {
    pub(crate) fn new(
        graph: &Graph,
        program: &Program,
        isa: Isa,
        threads: usize,
        memory: WeightMemory,
        input: Shape,
    ) -> Result<Self, GraphError> {
        let nodes = graph.shapes(input)?;
        let input = map_shape(input);
        let shapes: Vec<MapShape> = program
            .buffers
            .iter()
            .map(|buffer| MapShape {
                channels: buffer.channels,
                ..map_shape(nodes[buffer.size_of.index()])
            })
            .collect();
        let layouts: Vec<Layout> = program.buffers.iter().map(|b| b.layout).collect();

        let aliases = Aliases::new(program, &shapes);
        let mut demands = demands(program, &shapes, &layouts, &aliases, isa);
        let buffers = demands.len();
        // Asked before each convolution: the ones before it may have filled what is free.
        let memory = || {
            let convolutions = program
                .steps
                .iter()
                .filter_map(|step| step.work.convolution());
            let held: usize = convolutions.map(Convolution::transformed_bytes).sum();
            match memory {
                WeightMemory::Ample if held > TRANSFORMED => WeightMemory::Brief,
                other => other,
            }
        };
        let plan = |step: &Step| {
            let conv = step.work.convolution()?;
            if matches!(step.work, Work::ConvOnPicture(_)) {
                return Some(conv.plan(input, threads, memory()));
            }
            let from = step.inputs[0];
            let shape = MapShape {
                channels: from.channels,
                ..shapes[from.buffer.0]
            };
            // Filters of another form round more than the plain sum does.
            let memory = if step.precise {
                WeightMemory::Low
            } else {
                memory()
            };
            Some(conv.plan(shape, threads, memory))
        };
        let convolutions: Vec<_> = program.steps.iter().map(plan).collect();
        let shape_of = |value: &Value| MapShape {
            channels: value.channels,
            ..shapes[value.buffer.0]
        };
        for (index, (step, conv)) in program.steps.iter().zip(&convolutions).enumerate() {
            let inputs = || [0, 1, 2].map(|i| shape_of(&step.inputs[i]));
            let of_conv = conv.as_ref().map_or(0, ConvPlan::scratch_len);
            demands.push(Demand {
                len: of_conv + own_scratch(&step.work, isa, inputs),
                live: index..=index,
            });
        }
        let (mut places, arena_len) = lay_out(&demands);
        let scratch = places.split_off(buffers);
        Ok(Self {
            input,
            shapes,
            layouts,
            aliases,
            places,
            convolutions,
            scratch,
            arena_len,
            results: program.results.iter().map(|r| nodes[r.index()]).collect(),
            isa,
        })
    }

    /// The kind of a step, or its convolution's algorithm, for profiles.
    pub(crate) fn label(&self, step: usize, work: &Work) -> &'static str {
        let conv = self.convolutions[step].as_ref();
        conv.map_or(work.label(), ConvPlan::algorithm)
    }

    /// Bytes of weights that a step reads.
    pub(crate) fn weight_bytes(&self, step: usize, work: &Work) -> usize {
        let plan = self.convolutions[step].as_ref();
        match plan.map_or(0, ConvPlan::weight_bytes) {
            0 => work.weight_bytes() - work.convolution().map_or(0, Convolution::transformed_bytes),
            transformed => transformed,
        }
    }

    /// Whether a step has nothing to do.
    pub(crate) fn skips(&self, step: &Step) -> bool {
        matches!(step.work, Work::Fit) && self.aliases.are_one(step)
    }

    /// The shape of a value.
    pub(crate) fn shape(&self, value: Value) -> MapShape {
        MapShape {
            channels: value.channels,
            ..self.shapes[value.buffer.0]
        }
    }

    /// Values from one picture to the next in a value's buffer.
    pub(crate) fn image_stride(&self, value: Value) -> usize {
        let value = self.aliases.resolve(value);
        self.shapes[value.buffer.0].image_len(self.isa)
    }

    /// Where a value lies in the arena.
    pub(crate) fn place(&self, value: Value) -> Range<usize> {
        let value = self.aliases.resolve(value);
        let place = &self.places[value.buffer.0];
        let buffer = self.shapes[value.buffer.0];
        if self.layouts[value.buffer.0] == Layout::Planar || value.channels == buffer.channels {
            return place.clone();
        }
        let plane = buffer.pixels() * self.isa.lanes();
        let start = place.start + value.first / self.isa.lanes() * plane;
        let images = (buffer.batch - 1) * self.image_stride(value);
        start..start + images + self.shape(value).image_len(self.isa)
    }

    /// The whole buffer that a value lies in, and its shape.
    pub(crate) fn whole(&self, value: Value) -> (Range<usize>, MapShape) {
        (
            self.places[value.buffer.0].clone(),
            self.shapes[value.buffer.0],
        )
    }
}

/// Buffers whose values are written to another buffer at once: a map fitted to a size that it has
/// already, as with every input that halves evenly, is not copied.
#[derive(Debug)]
struct Aliases(Vec<Option<Value>>);

impl Aliases {
    fn new(program: &Program, shapes: &[MapShape]) -> Self {
        let mut aliases = Self(vec![None; shapes.len()]);
        for step in &program.steps {
            let (Work::Fit, [from], Some(to)) = (&step.work, &step.inputs[..], step.output) else {
                continue;
            };
            let to = aliases.resolve(to);
            let size = |value: Value| {
                let shape = shapes[value.buffer.0];
                [shape.height, shape.width]
            };
            let own = shapes[from.buffer.0].channels == from.channels;
            // One step must write all of it, and read nothing of where it goes instead.
            let apart = |writer: &Step| match writer.output {
                Some(output) if aliases.resolve(output).buffer == from.buffer => {
                    let mut inputs = writer.inputs.iter();
                    output == *from && inputs.all(|&i| aliases.resolve(i).buffer != to.buffer)
                }
                _ => true,
            };
            // Nor may another step compute a part of that whole from it: it would write what it reads.
            let into_whole = |reader: &Step| {
                let other = !std::ptr::eq(reader, step);
                let reads_it = reader.inputs.iter().any(|i| i.buffer == from.buffer);
                let output = reader.output.map(|output| aliases.resolve(output).buffer);
                other && reads_it && output == Some(to.buffer)
            };
            let free = aliases.0[from.buffer.0].is_none();
            let steps = || program.steps.iter();
            let fits = own && free && size(*from) == size(to);
            if fits && steps().all(apart) && !steps().any(into_whole) {
                aliases.0[from.buffer.0] = Some(to);
            }
        }
        aliases
    }

    /// Where a value is.
    fn resolve(&self, mut value: Value) -> Value {
        while let Some(to) = self.0[value.buffer.0] {
            value = Value {
                buffer: to.buffer,
                first: to.first + value.first,
                channels: value.channels,
            };
        }
        value
    }

    /// Whether what a step reads is where it would write it.
    fn are_one(&self, step: &Step) -> bool {
        let output = step.output.map(|output| self.resolve(output));
        step.inputs.first().map(|&input| self.resolve(input)) == output
    }
}

/// Values of scratch memory of a step that is no convolution; `inputs` gives the shapes of its three operands.
fn own_scratch(work: &Work, isa: Isa, inputs: impl Fn() -> [MapShape; 3]) -> usize {
    match work {
        Work::Attention { heads } => attention_scratch(isa, inputs(), *heads),
        Work::PositionAttention => position_attention_scratch(isa, inputs()),
        // A convolution's plan knows its own; the others have none. Listed, so that the compiler asks where a new kind
        // belongs.
        Work::Conv(_)
        | Work::ScaledConv(_)
        | Work::ConvOnPicture(_)
        | Work::Transposed(_)
        | Work::Block
        | Work::MaxPool(_)
        | Work::MaxUnpool
        | Work::AvgPool { .. }
        | Work::AdaptiveAvgPool
        | Work::GlobalAvgPool
        | Work::GlobalMaxPool
        | Work::GroupNorm { .. }
        | Work::LayerNorm { .. }
        | Work::Softmax { .. }
        | Work::Tokens(_)
        | Work::Patches
        | Work::Slice { .. }
        | Work::Add(_)
        | Work::Mul(_)
        | Work::Apply(_)
        | Work::Affine { .. }
        | Work::Copy
        | Work::Resize(_)
        | Work::Fit
        | Work::Unblock
        | Work::Emit { .. }
        | Work::EmitFitted { .. }
        | Work::EmitResized { .. } => 0,
    }
}

/// How much each buffer needs and how long it lives.
fn demands(
    program: &Program,
    shapes: &[MapShape],
    layouts: &[Layout],
    aliases: &Aliases,
    isa: Isa,
) -> Vec<Demand> {
    let len = |i: usize| match layouts[i] {
        Layout::Blocked => shapes[i].blocked_len(isa),
        Layout::Planar => shapes[i].batch * shapes[i].planar_len(),
    };
    (0..shapes.len())
        .map(|i| {
            let is_it = |value: &Value| aliases.resolve(*value).buffer.0 == i;
            let uses_it = |step: &Step| step.values().any(is_it);
            let uses = program.steps.iter().enumerate();
            let uses = uses.filter(|(_, step)| uses_it(step));
            let mut uses = uses.map(|(index, _)| index);
            let first = uses.next().unwrap_or(0);
            let last = uses.next_back().unwrap_or(first);
            // A buffer that another took the place of is used by no step.
            let used = program.steps.get(first).is_some_and(uses_it);
            Demand {
                len: if used { len(i) } else { 0 },
                live: first..=last,
            }
        })
        .collect()
}
