//! A program for one input size: the shape and the place of every buffer.

use std::ops::Range;

use segmenta_graph::{Graph, GraphError, Shape};
use segmenta_kernels::low::{Engine, LowLayout};
use segmenta_kernels::{ConvPlan, Isa, MapShape, WeightMemory};

use crate::layers::{Layers, Packed};
use crate::layout::{Demand, lay_out};
use crate::program::Program;
use crate::terms::map_shape;
use crate::value::{Buffer, Element, Value};
use crate::work::{Sizes, Step, Work};

/// Shapes and places for one input size.
#[derive(Debug)]
pub struct Plan {
    /// The input's shape.
    pub input: MapShape,
    /// Shapes of the results.
    pub results: Vec<Shape>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    buffers: Vec<Buffer>,
    /// Shape of each buffer.
    shapes: Vec<MapShape>,
    /// Where the values of some buffers are instead.
    aliases: Aliases,
    /// Bytes of the arena that each buffer has.
    places: Vec<Range<usize>>,
    /// How each step's convolution goes, for those that have one.
    convolutions: Vec<Option<ConvPlan>>,
    /// Bytes of scratch memory of each step; none for most.
    scratch: Vec<Range<usize>>,
    isa: Isa,
    engine: Engine,
}

/// What all plans together may hold of weights in a second form, in bytes. Beyond that, weights are
/// transformed anew in each run: a tenth to a quarter slower for the layers that do.
const TRANSFORMED: usize = 1 << 30;

impl Plan {
    /// Lays a program out: each buffer lives from its first use to its last, the backward pass included.
    ///
    /// # Errors
    /// An input that does not fit the network.
    pub fn new(
        graph: &Graph,
        program: &Program,
        layers: &Layers,
        threads: usize,
        memory: WeightMemory,
        input: Shape,
    ) -> Result<Self, GraphError> {
        let nodes = graph.shapes(input)?;
        let input = map_shape(input);
        let isa = program.isa;
        let buffers = program.buffers.clone();
        let of_buffer = |buffer: &Buffer| MapShape {
            channels: buffer.channels,
            ..map_shape(nodes[buffer.size_of.index()])
        };
        let shapes: Vec<MapShape> = buffers.iter().map(of_buffer).collect();
        let aliases = Aliases::new(program, &shapes);

        // Asked before each convolution: the ones before it may have filled what is free.
        let memory = || match memory {
            WeightMemory::Ample if layers.transformed_bytes() > TRANSFORMED => WeightMemory::Brief,
            other => other,
        };
        let shape_of = |value: &Value| MapShape {
            channels: value.channels,
            ..shapes[value.buffer]
        };
        let plan = |step: &Step| {
            let Work::Conv(conv) = &step.work else {
                return None;
            };
            let Packed::F32(packed) = &layers.convs[conv.layer].packed else {
                return None;
            };
            if conv.on_picture {
                return Some(packed.plan(input, threads, memory()));
            }
            // Filters of another form round more than the plain sum does.
            let memory = if step.precise {
                WeightMemory::Low
            } else {
                memory()
            };
            Some(packed.plan(shape_of(&step.reads[0]), threads, memory))
        };
        let convolutions: Vec<_> = program.steps().map(plan).collect();

        let mut demands = demands(program, &buffers, &shapes, &aliases);
        for (index, (step, conv)) in program.steps().zip(&convolutions).enumerate() {
            let shapes = |values: &[Value]| values.iter().map(shape_of).collect::<Vec<_>>();
            let (reads, writes) = (shapes(&step.reads), shapes(&step.writes));
            let sizes = Sizes {
                isa,
                layers,
                reads: &reads,
                writes: &writes,
                conv: conv.as_ref(),
            };
            demands.push(Demand {
                bytes: step.work.scratch(&sizes) * size_of::<f32>(),
                live: index..=index,
            });
        }
        let (mut places, arena_bytes) = lay_out(&demands);
        let scratch = places.split_off(buffers.len());
        Ok(Self {
            input,
            results: program.results.iter().map(|r| nodes[r.index()]).collect(),
            arena_bytes,
            buffers,
            shapes,
            aliases,
            places,
            convolutions,
            scratch,
            isa,
            engine: program.engine,
        })
    }

    /// The kind of a step, or its convolution's algorithm, for profiles. Steps count from the first of the forward
    /// pass on.
    pub fn label(&self, index: usize, work: &Work, layers: &Layers) -> &'static str {
        match (self.convolutions[index].as_ref(), work) {
            (Some(plan), _) => plan.algorithm(),
            (None, Work::Conv(conv)) => match &layers.convs[conv.layer].packed {
                Packed::Low(conv) => self.engine.instruction(conv.elements().input),
                Packed::F32(_) => unreachable!("planned"),
            },
            (None, Work::Transposed(conv)) => layers.transposed[conv.layer].packed.algorithm(),
            (None, _) => work.label(),
        }
    }

    /// Bytes of weights that a step reads, in the form that its algorithm takes.
    pub fn weight_bytes(&self, index: usize, work: &Work, layers: &Layers) -> usize {
        let plan = self.convolutions[index].as_ref();
        match (plan.map_or(0, ConvPlan::weight_bytes), work) {
            (0, Work::Conv(conv)) => {
                let packed = &layers.convs[conv.layer].packed;
                packed.weight_bytes() - packed.transformed_bytes()
            }
            (0, _) => work.weight_bytes(layers),
            (transformed, _) => transformed,
        }
    }

    /// How the convolution of a step goes.
    pub(crate) fn convolution(&self, index: usize) -> &ConvPlan {
        let plan = self.convolutions[index].as_ref();
        plan.expect("planned with its step")
    }

    /// Bytes of scratch memory of a step.
    pub(crate) fn scratch(&self, index: usize) -> Range<usize> {
        self.scratch[index].clone()
    }

    /// Whether a step has nothing to do: a map fitted to the size that it has.
    pub(crate) fn skips(&self, step: &Step) -> bool {
        matches!(step.work, Work::Fit(_)) && self.aliases.are_one(step)
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> MapShape {
        MapShape {
            channels: value.channels,
            ..self.shapes[value.buffer]
        }
    }

    /// What a value's numbers are.
    pub(crate) fn element(&self, value: Value) -> Element {
        self.buffers[value.buffer].element
    }

    /// Where a value of low precision lies in the arena, in bytes, and how.
    pub(crate) fn low(&self, value: Value) -> (Range<usize>, LowLayout) {
        let layout = self.buffers[value.buffer].low_layout(self.shapes[value.buffer]);
        let layout = layout.expect("of low precision");
        let part = layout.part(value.first, value.channels);
        let (before, layout) = part.expect("placed where a part may be");
        let start = self.places[value.buffer].start + before;
        (start..start + layout.bytes(), layout)
    }

    /// Bytes of a value.
    pub fn bytes(&self, value: Value) -> usize {
        let buffer = Buffer {
            channels: value.channels,
            ..self.buffers[value.buffer]
        };
        buffer.bytes(self.shape(value), self.isa)
    }

    /// Numbers from one picture to the next in a value's buffer.
    pub(crate) fn image_stride(&self, value: Value) -> usize {
        let value = self.aliases.resolve(value);
        self.shapes[value.buffer].image_len(self.isa)
    }

    /// Where a value lies in the arena, in bytes.
    pub(crate) fn place(&self, value: Value) -> Range<usize> {
        let value = self.aliases.resolve(value);
        let place = &self.places[value.buffer];
        let (buffer, shape) = (self.buffers[value.buffer], self.shapes[value.buffer]);
        if value.channels == buffer.channels {
            return place.clone();
        }
        let plane = shape.pixels() * self.isa.lanes();
        let before = value.first / self.isa.lanes() * plane;
        let images = (shape.batch - 1) * self.image_stride(value);
        let len = images + self.shape(value).image_len(self.isa);
        let [before, len] = [before, len].map(|numbers| numbers * size_of::<f32>());
        let start = place.start + before;
        start..start + len
    }

    /// The whole buffer that a value lies in.
    pub(crate) fn whole_value(&self, value: Value) -> Value {
        Value {
            first: 0,
            channels: self.buffers[value.buffer].channels,
            ..value
        }
    }

    /// The whole buffer that a value lies in, in bytes of the arena, and its shape.
    pub(crate) fn whole(&self, value: Value) -> (Range<usize>, MapShape) {
        (self.places[value.buffer].clone(), self.shapes[value.buffer])
    }
}

/// Buffers whose values are written to another buffer at once: a map fitted to a size that it has
/// already, as with every input that halves evenly, is not copied.
#[derive(Debug)]
struct Aliases(Vec<Option<Value>>);

impl Aliases {
    fn new(program: &Program, shapes: &[MapShape]) -> Self {
        let mut aliases = Self(vec![None; shapes.len()]);
        for step in &program.forward {
            let (Work::Fit(_), [from], [to]) = (&step.work, &step.reads[..], &step.writes[..])
            else {
                continue;
            };
            let to = aliases.resolve(*to);
            let size = |value: Value| {
                let shape = shapes[value.buffer];
                [shape.height, shape.width]
            };
            let own = shapes[from.buffer].channels == from.channels;
            let resolved = |values: &[Value], buffer: usize| {
                let mut values = values.iter();
                values.any(|&value| aliases.resolve(value).buffer == buffer)
            };
            // One step must write all of it, and read nothing of where it goes instead.
            let apart = |writer: &Step| {
                !resolved(&writer.writes, from.buffer)
                    || writer.writes[..] == [*from] && !resolved(&writer.reads, to.buffer)
            };
            let all_apart = program.steps().all(apart);
            // Nor may another step compute a part of that whole from it: it would write what it reads.
            let writing_whole = |reader: &Step| {
                let other = !std::ptr::eq(reader, step);
                let reads_it = reader.reads.iter().any(|read| read.buffer == from.buffer);
                let mut writes = reader.writes.iter();
                other && reads_it && writes.any(|&w| aliases.resolve(w).buffer == to.buffer)
            };
            let free = aliases.0[from.buffer].is_none();
            let fits = own && free && size(*from) == size(to);
            if fits && all_apart && !program.steps().any(writing_whole) {
                aliases.0[from.buffer] = Some(to);
            }
        }
        aliases
    }

    /// Where a value is.
    fn resolve(&self, mut value: Value) -> Value {
        while let Some(to) = self.0[value.buffer] {
            value = value.moved_to(to);
        }
        value
    }

    /// Whether what a step reads is where it would write it.
    fn are_one(&self, step: &Step) -> bool {
        let resolved = |values: &[Value]| values.first().map(|&value| self.resolve(value));
        resolved(&step.reads) == resolved(&step.writes)
    }
}

/// How much each buffer needs and how long it lives; nothing for one that no step uses, since another took its place.
fn demands(
    program: &Program,
    buffers: &[Buffer],
    shapes: &[MapShape],
    aliases: &Aliases,
) -> Vec<Demand> {
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
    for (index, step) in program.steps().enumerate() {
        for &value in step.values() {
            let live = &mut lives[aliases.resolve(value).buffer];
            *live = Some((live.map_or(index, |(first, _)| first), index));
        }
    }
    let buffers = buffers.iter().zip(shapes).zip(lives);
    let demand = |((buffer, shape), live): ((&Buffer, &MapShape), Option<(usize, usize)>)| {
        let bytes = || buffer.bytes(*shape, program.isa);
        match live {
            Some((first, last)) => Demand {
                bytes: bytes(),
                live: first..=last,
            },
            None => Demand {
                bytes: 0,
                live: 0..=0,
            },
        }
    };
    buffers.map(demand).collect()
}
