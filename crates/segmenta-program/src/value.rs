//! What steps read and write.

use segmenta_graph::Node;
use segmenta_kernels::low::{self, LowLayout};
use segmenta_kernels::{Isa, MapShape};

/// What a buffer's numbers are, and with it how they lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Element {
    /// Single precision, in blocks of as many channels as the instruction set has lanes:
    /// `[batch][channels / L][height][width][L]`.
    F32,
    /// Indices of pixels, which lie as f32 does.
    U32,
    /// Low precision, in planes of pixels of 64 bytes ([`LowLayout`]).
    Low(low::Element),
}

/// In what a step reads and writes. What 8-bit numbers stand for is each value's own
/// ([`Draft::quantisations`](crate::Draft::quantisations)); together they are an [`Element`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Single precision.
    F32,
    /// The upper half of single precision.
    Bf16,
    /// 8 bits.
    Bytes,
}

/// Memory that a plan gives a place: as many channels, of the height and width of a node.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Channels.
    pub channels: usize,
    /// The node whose height and width it has.
    pub size_of: Node,
    /// What its numbers are.
    pub element: Element,
    /// Rows and columns around the map that windows may read; of low precision alone.
    pub halo: [usize; 2],
}

impl Buffer {
    /// How it lies, if it is of low precision; `shape` is its own.
    pub(crate) fn low_layout(&self, shape: MapShape) -> Option<LowLayout> {
        match self.element {
            Element::Low(element) => Some(LowLayout::new(shape, element, self.halo)),
            Element::F32 | Element::U32 => None,
        }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self, shape: MapShape, isa: Isa) -> usize {
        let low = self.low_layout(shape).map(|layout| layout.bytes());
        low.unwrap_or_else(|| shape.blocked_len(isa) * size_of::<f32>())
    }
}

/// Channels of a buffer, from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Which buffer.
    pub buffer: usize,
    /// The first channel.
    pub first: usize,
    /// How many.
    pub channels: usize,
}

impl Value {
    /// Some of its channels.
    #[must_use]
    pub fn part(self, first: usize, channels: usize) -> Self {
        Self {
            first: self.first + first,
            channels,
            ..self
        }
    }

    /// What it is when its buffer's channels lie in `to` instead.
    #[must_use]
    pub fn moved_to(self, to: Self) -> Self {
        Self {
            buffer: to.buffer,
            first: to.first + self.first,
            ..self
        }
    }

    /// Whether it has its blocks of `lanes` channels for itself, as one of whose map `channels` are left from it on.
    pub fn is_whole_blocks(self, channels: usize, lanes: usize) -> bool {
        let ends_block = self.channels.is_multiple_of(lanes) || self.channels == channels;
        self.first.is_multiple_of(lanes) && ends_block
    }

    /// Whether they have channels in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.buffer == other.buffer
            && self.first < other.first + other.channels
            && other.first < self.first + self.channels
    }
}

/// The buffers of a program being written.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Vec<Buffer>);

impl Buffers {
    /// A new buffer, as a value.
    pub fn allocate(&mut self, channels: usize, size_of: Node, element: Element) -> Value {
        self.0.push(Buffer {
            channels,
            size_of,
            element,
            halo: [0, 0],
        });
        Value {
            buffer: self.0.len() - 1,
            first: 0,
            channels,
        }
    }

    /// A new buffer like the one of a value.
    pub fn allocate_like(&mut self, value: Value) -> Value {
        let Buffer {
            channels,
            size_of,
            element,
            ..
        } = self.0[value.buffer];
        self.allocate(channels, size_of, element)
    }

    /// All of them.
    pub fn as_slice(&self) -> &[Buffer] {
        &self.0
    }

    /// What a value's numbers are.
    pub fn element(&self, value: Value) -> Element {
        self.0[value.buffer].element
    }

    /// Channels of the buffer that a value is in.
    pub fn channels(&self, value: Value) -> usize {
        self.0[value.buffer].channels
    }

    /// Whether a value is the whole of its buffer.
    pub fn is_whole(&self, value: Value) -> bool {
        self.0[value.buffer].channels == value.channels
    }
}
