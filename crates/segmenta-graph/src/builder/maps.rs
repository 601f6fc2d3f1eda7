//! Maps brought together, resized, cut and filled up.

use super::Builder;
use crate::graph::Node;
use crate::op::{Filter, Op};
use crate::scope::Scope;

impl Builder {
    /// Sum of two maps of one shape.
    pub fn add(&mut self, a: Node, b: Node, name: &Scope) -> Node {
        if !self.same_shape(a, b) {
            let shapes = (self.describe(a), self.describe(b));
            self.fail(name, &Op::Add, || {
                format!("{} and {} cannot be added", shapes.0, shapes.1)
            });
        }
        let extent = self.extent(a);
        self.push(name, Op::Add, &[a, b], Vec::new(), extent)
    }

    /// `x` times `by`, which has the shape of `x`, one pixel a channel, or one channel.
    pub fn mul(&mut self, x: Node, by: Node, name: &Scope) -> Node {
        let one = self.graph.sides.fixed(1);
        let (channels, height, width) = self.extent(x);
        let fitting = [
            (channels, height, width),
            (channels, one, one),
            (1, height, width),
        ];
        if !fitting.contains(&self.extent(by)) {
            let shapes = (self.describe(x), self.describe(by));
            self.fail(name, &Op::Mul, || {
                format!("{} cannot be multiplied by {}", shapes.0, shapes.1)
            });
        }
        self.push(
            name,
            Op::Mul,
            &[x, by],
            Vec::new(),
            (channels, height, width),
        )
    }

    /// Maps of one size side by side along the channels.
    pub fn concat(&mut self, parts: &[Node], name: &Scope) -> Node {
        let (_, height, width) = self.extent(parts[0]);
        if let Some(&odd) = parts.iter().find(|&&p| {
            let (_, h, w) = self.extent(p);
            (h, w) != (height, width)
        }) {
            let shapes = (self.describe(parts[0]), self.describe(odd));
            self.fail(name, &Op::Concat, || {
                format!("{} and {} differ in size", shapes.0, shapes.1)
            });
        }
        let channels = parts.iter().map(|&p| self.channels(p)).sum();
        self.push(
            name,
            Op::Concat,
            parts,
            Vec::new(),
            (channels, height, width),
        )
    }

    /// `x` times a number.
    pub fn scale(&mut self, x: Node, by: f32, name: &Scope) -> Node {
        let extent = self.extent(x);
        self.push(name, Op::Scale { by }, &[x], Vec::new(), extent)
    }

    /// `channels` channels of `x`, from `first` on.
    pub fn slice(&mut self, x: Node, first: usize, channels: usize, name: &Scope) -> Node {
        let (all, height, width) = self.extent(x);
        let op = Op::Slice { first, channels };
        if channels == 0 || first + channels > all {
            let shape = self.describe(x);
            self.fail(name, &op, || {
                format!("{shape} does not hold the channels from {first} on, {channels} of them")
            });
        }
        self.push(name, op, &[x], Vec::new(), (channels, height, width))
    }

    /// Resize of `x` to the height and width of `like`.
    pub fn resize_like(&mut self, x: Node, like: Node, filter: Filter, name: &Scope) -> Node {
        let (_, height, width) = self.extent(like);
        let extent = (self.channels(x), height, width);
        let op = Op::ResizeLike { like, filter };
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Resize of `x` to `size` rows and columns.
    pub fn resize_to(&mut self, x: Node, size: [usize; 2], filter: Filter, name: &Scope) -> Node {
        let op = Op::ResizeTo { size, filter };
        if size.contains(&0) {
            self.fail(name, &op, || {
                format!("to {size:?} pixels; give at least one each way")
            });
        }
        let [height, width] = size.map(|side| self.graph.sides.fixed(side));
        let extent = (self.channels(x), height, width);
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Every side of `x` `factor` times as long.
    pub fn upsample(&mut self, x: Node, factor: usize, filter: Filter, name: &Scope) -> Node {
        let (channels, height, width) = self.extent(x);
        let sides = &mut self.graph.sides;
        let mut times = |of| sides.stretch(of, factor, 0);
        let extent = (channels, times(height), times(width));
        let op = Op::Upsample { factor, filter };
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// `x` cut off, or filled up with zeros, below and right, so that it is as large as `like`.
    pub fn fit_like(&mut self, x: Node, like: Node, name: &Scope) -> Node {
        let (_, height, width) = self.extent(like);
        let extent = (self.channels(x), height, width);
        self.push(name, Op::FitLike { like }, &[x], Vec::new(), extent)
    }

    /// `x` with a row of zeros above where its height is odd, and a column to the left where its width is.
    pub fn pad_to_even(&mut self, x: Node, name: &Scope) -> Node {
        let (channels, height, width) = self.extent(x);
        let sides = &mut self.graph.sides;
        let mut even = |of| {
            let half = sides.window_ceil(of, 2, 2, 0);
            sides.stretch(half, 2, 0)
        };
        let extent = (channels, even(height), even(width));
        self.push(name, Op::PadToEven, &[x], Vec::new(), extent)
    }
}
