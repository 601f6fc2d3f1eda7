//! From nodes to values: a buffer for what each step makes, concatenations as places that their parts are written to,
//! slices as looks at the whole.

use segmenta_graph::Node;
use segmenta_kernels::low::{LowLayout, Quantisation};

use crate::draft::{Draft, DraftResult, DraftStep, element};
use crate::ops::{Block, Convert, Copy, Emit, MaxUnpool, Slice};
use crate::terms::precise_nodes;
use crate::value::{Buffers, Element, Storage, Value};
use crate::work::{Step, Work};

/// Steps over values.
#[derive(Debug)]
pub struct Placed {
    /// The buffers that values lie in.
    pub buffers: Buffers,
    /// In the order that they are run in. Those whose work [is a place](Work::is_place) do nothing; the backward
    /// pass wants to know of them.
    pub steps: Vec<Step>,
    /// The nodes that are wanted.
    pub results: Vec<Node>,
}

impl Draft<'_> {
    /// Gives every value its buffer.
    pub fn place(self) -> Placed {
        let count = self.graph.nodes().len();
        let mut placing = Placing {
            lanes: self.isa.lanes(),
            channels: self.graph.nodes().iter().map(|n| n.channels).collect(),
            precise: precise_nodes(self.graph),
            input: self.graph.iter().next().map(|(node, _)| node),
            quantisations: self.quantisations.clone(),
            values: vec![None; count],
            converted: Vec::new(),
            emitted: Vec::new(),
            indices: vec![None; count],
            buffers: Buffers::default(),
            steps: Vec::new(),
        };
        let (steps, results) = self.into_steps();
        for step in steps {
            placing.step(step);
        }
        for (output, result) in results.iter().enumerate() {
            if !placing.emitted.contains(&output) {
                placing.emit(output, *result);
            }
        }
        Placed {
            buffers: placing.buffers,
            steps: placing.steps,
            results: results.iter().map(|result| result.node).collect(),
        }
    }
}

struct Placing {
    lanes: usize,
    /// Of each node.
    channels: Vec<usize>,
    precise: Vec<bool>,
    input: Option<Node>,
    quantisations: Vec<Option<Quantisation>>,
    /// The value of each node that has one so far.
    values: Vec<Option<Value>>,
    /// Values in another element than the one that they were made in.
    converted: Vec<(Node, Element, Value)>,
    /// The results that steps write themselves.
    emitted: Vec<usize>,
    /// Where each max pool leaves its indices.
    indices: Vec<Option<Value>>,
    buffers: Buffers,
    steps: Vec<Step>,
}

impl Placing {
    fn step(&mut self, draft: DraftStep) {
        match draft.work {
            Work::Concat(_) => self.concat(draft),
            Work::Slice(Slice { first, .. }) => self.slice(draft, first),
            _ => self.compute(draft),
        }
    }

    fn compute(&mut self, draft: DraftStep) {
        let inputs = draft.inputs.iter().enumerate();
        let mut reads: Vec<Value> = inputs
            .map(|(i, &input)| self.operand(&draft, i, input))
            .collect();
        if let Work::MaxUnpool(MaxUnpool { pool }) = draft.work {
            reads.push(self.indices[pool.index()].expect("left by the pool before"));
        }
        if let Some(output) = draft.work.result() {
            self.emitted.push(output);
            return self.push(draft, reads, Vec::new());
        }
        let written = self.element(draft.output, draft.writes);
        let mut writes = vec![self.fresh(draft.output, written)];
        self.values[draft.output.index()] = Some(writes[0]);
        if let Work::MaxPool(pool) = &draft.work
            && pool.keeps_indices
        {
            let indices = self.fresh(draft.output, Element::U32);
            self.indices[draft.output.index()] = Some(indices);
            writes.push(indices);
        }
        self.push(draft, reads, writes);
    }

    fn element(&self, node: Node, storage: Storage) -> Element {
        element(&self.quantisations, node, storage)
    }

    /// A buffer of the shape of a node.
    fn fresh(&mut self, node: Node, element: Element) -> Value {
        let channels = self.channels[node.index()];
        self.buffers.allocate(channels, node, element)
    }

    /// A step that moves a node's value, or brings it into another form.
    fn edge(&mut self, node: Node, work: Work, reads: Vec<Value>, writes: Vec<Value>) {
        self.steps.push(Step {
            precise: self.precise[node.index()],
            node,
            output: node,
            inputs: Vec::new(),
            work,
            reads,
            writes,
        });
    }

    fn push(&mut self, draft: DraftStep, reads: Vec<Value>, writes: Vec<Value>) {
        self.steps.push(Step {
            precise: self.precise[draft.node.index()],
            node: draft.node,
            output: draft.output,
            inputs: draft.inputs,
            work: draft.work,
            reads,
            writes,
        });
    }

    /// What a step reads as its operand number `i`.
    fn operand(&mut self, draft: &DraftStep, i: usize, input: Node) -> Value {
        let wanted = |storage| self.element(input, storage);
        match (&draft.work, draft.reads) {
            (Work::Conv(_), Storage::Bf16 | Storage::Bytes) if i > 0 => {
                let (wanted, made) = (wanted(draft.reads), self.made(input));
                match self.buffers.element(made) {
                    Element::Low(_) => made,
                    Element::F32 | Element::U32 => self.value(input, wanted),
                }
            }
            // Factors, a channel each.
            (Work::Mul(_), Storage::Bf16 | Storage::Bytes) if i > 0 => {
                self.value(input, Element::F32)
            }
            (_, storage) => self.value(input, wanted(storage)),
        }
    }

    /// The value of a node in an element: converted once where it was made in another. The network's input comes into
    /// each that is asked for from what was given.
    fn value(&mut self, node: Node, element: Element) -> Value {
        let mut known = self.converted.iter();
        if let Some((.., value)) = known.find(|(of, to, _)| *of == node && *to == element) {
            return *value;
        }
        let from = if Some(node) == self.input && element != Element::F32 {
            None
        } else {
            let made = self.made(node);
            if self.buffers.element(made) == element {
                return made;
            }
            Some(made)
        };
        let value = self.fresh(node, element);
        self.converted.push((node, element, value));
        let work = from.map_or(Block.into(), |_| Convert.into());
        self.edge(node, work, from.into_iter().collect(), vec![value]);
        value
    }

    /// The value of a node as it was made; the network's input is brought into blocks when first asked for.
    fn made(&mut self, node: Node) -> Value {
        if self.values[node.index()].is_none() {
            assert_eq!(Some(node), self.input, "a value that no step makes");
            let value = self.fresh(node, Element::F32);
            self.values[node.index()] = Some(value);
            self.edge(node, Block.into(), Vec::new(), vec![value]);
        }
        self.values[node.index()].expect("made before it is read")
    }

    /// Parts that were just computed are made to write into the whole; others are copied.
    fn concat(&mut self, draft: DraftStep) {
        let element = self.element(draft.output, draft.writes);
        let whole = self.fresh(draft.output, element);
        // A buffer that several parts lie in cannot become the place of one: the others would be copied within
        // the whole, from what is written.
        let inputs = draft.inputs.iter();
        let buffers: Vec<usize> = inputs.map(|&i| self.value(i, element).buffer).collect();
        let is_shared = |buffer| buffers.iter().filter(|&&other| other == buffer).count() > 1;
        let mut first = 0;
        for (&part, &buffer) in draft.inputs.iter().zip(&buffers) {
            let value = self.value(part, element);
            let place = whole.part(first, value.channels);
            let left = whole.channels - first;
            first += value.channels;
            if !is_shared(buffer) && self.can_move(value, place, left) {
                self.move_buffer(value.buffer, place);
            } else {
                self.edge(draft.output, Copy.into(), vec![value], vec![place]);
            }
        }
        self.values[draft.output.index()] = Some(whole);
        self.push(draft, Vec::new(), Vec::new());
    }

    /// Whether what makes `value` may write to `place`, from which on `left` channels are left of the whole: it has
    /// a buffer of its own, whole blocks (a block filled up would spill into the next part), and nobody computes it
    /// from the whole or some of the whole from it.
    fn can_move(&self, value: Value, place: Value, left: usize) -> bool {
        let crosses = |step: &Step| {
            let among = |values: &[Value], of: Value| values.iter().any(|v| v.buffer == of.buffer);
            among(&step.writes, value) && among(&step.reads, place)
                || among(&step.writes, place) && among(&step.reads, value)
        };
        let element = self.buffers.element(place);
        let block = self.block(element, value.channels, self.buffers.channels(place));
        self.buffers.is_whole(value)
            && value.buffer != place.buffer
            && block.is_some_and(|block| place.is_whole_blocks(left, block))
            && !self.steps.iter().any(crosses)
    }

    /// Channels that lie together, of a map of `own` that is a part of one of `whole`; `None` where it cannot be.
    fn block(&self, element: Element, own: usize, whole: usize) -> Option<usize> {
        match element {
            Element::F32 | Element::U32 => Some(self.lanes),
            // A map with fewer channels may have smaller pixels, and convolutions read only those.
            Element::Low(element) => {
                let of = |channels| LowLayout::channels_of_a_pixel(channels, element);
                (of(own) == of(whole)).then(|| of(own))
            }
        }
    }

    fn move_buffer(&mut self, from: usize, to: Value) {
        let moved = |value: &mut Value| {
            if value.buffer == from {
                *value = value.moved_to(to);
            }
        };
        for step in &mut self.steps {
            step.reads.iter_mut().for_each(moved);
            step.writes.iter_mut().for_each(moved);
        }
        self.values.iter_mut().flatten().for_each(moved);
        self.converted
            .iter_mut()
            .for_each(|(.., value)| moved(value));
    }

    /// Some channels: a look at the whole where they begin a block and fill it, or are its last; else a copy.
    fn slice(&mut self, mut draft: DraftStep, first: usize) {
        let element = self.element(draft.inputs[0], draft.reads);
        let whole = self.value(draft.inputs[0], element);
        let part = whole.part(first, self.channels[draft.output.index()]);
        let block = self.block(element, part.channels, self.buffers.channels(whole));
        if block.is_some_and(|block| part.is_whole_blocks(whole.channels - first, block)) {
            let in_place = true;
            draft.work = Slice { first, in_place }.into();
            self.values[draft.output.index()] = Some(part);
            self.push(draft, Vec::new(), Vec::new());
        } else {
            self.compute(draft);
        }
    }

    /// Writes result number `output`.
    fn emit(&mut self, output: usize, result: DraftResult) {
        let value = self.value(result.source, Element::F32);
        let draft = DraftStep {
            node: result.node,
            output: result.node,
            inputs: vec![result.source],
            work: Emit {
                output,
                how: result.emission,
            }
            .into(),
            reads: Storage::F32,
            writes: Storage::F32,
        };
        self.push(draft, vec![value], Vec::new());
    }
}
