//! Maps as rows of pixels, and what is made of rows.

use super::Builder;
use crate::graph::Node;
use crate::init::Init;
use crate::op::Op;
use crate::parameter::Role;
use crate::scope::Scope;
use crate::side::Side;

impl Builder {
    /// The parameter NAME of the shape `[.., pixels, channels]` as a map of `size` rows and columns. See [`Op::Table`].
    pub fn table(&mut self, name: &Scope, shape: &[usize], size: [usize; 2]) -> Node {
        let role = if shape.len() > 1 {
            Role::Embedding
        } else {
            Role::Scale
        };
        let channels = shape.last().copied().unwrap_or(0);
        let count: usize = shape.iter().product();
        if channels == 0 || count != channels * size[0] * size[1] || count == 0 {
            self.fail(name, &Op::Table, || {
                let [rows, columns] = size;
                format!("{shape:?} is no map of {rows} rows and {columns} columns; give pixels, then channels")
            });
        }
        let parameter = self.parameter(name, shape.to_vec(), role, &[]);
        let [height, width] = size.map(|side| self.graph.sides.fixed(side));
        let extent = (channels, height, width);
        self.push(name, Op::Table, &[], vec![parameter], extent)
    }

    /// An entry of the state dict that no result needs, with the value that it has everywhere in a fresh network.
    pub fn buffer(&mut self, name: &Scope, shape: &[usize], value: f32) {
        let id = self.parameter(name, shape.to_vec(), Role::Buffer, &[]);
        self.graph.parameters[id.index()].init = Init::Constant(value);
    }

    /// The pixels of `first`, then those of `second`, in one row.
    pub fn join(&mut self, first: Node, second: Node, name: &Scope) -> Node {
        let (channels, other) = (self.channels(first), self.channels(second));
        if channels != other {
            let shapes = [first, second].map(|n| self.describe(n));
            self.fail(name, &Op::Join, || {
                let [first, second] = &shapes;
                format!("{first} and {second} differ in channels")
            });
        }
        let width = [first, second].map(|node| self.pixels_of(node));
        let one = self.graph.sides.fixed(1);
        let width = self.graph.sides.sum(width[0], width[1]);
        self.push(
            name,
            Op::Join,
            &[first, second],
            Vec::new(),
            (channels, one, width),
        )
    }

    /// `count` pixels of the row `x`, from `first` on, as a row.
    pub fn part(&mut self, x: Node, first: usize, count: usize, name: &Scope) -> Node {
        let channels = self.channels(x);
        let op = Op::Part { first, like: None };
        let (_, height, width) = self.extent(x);
        let [height, width] = [height, width].map(|side| self.graph.sides.fixed_pixels(side));
        let too_many = height
            .zip(width)
            .is_some_and(|(height, width)| first + count > height * width);
        if count == 0 || too_many {
            let shape = self.describe(x);
            self.fail(name, &op, || {
                format!("{shape} has no {count} pixels from {first} on")
            });
        }
        let one = self.graph.sides.fixed(1);
        let width = self.graph.sides.fixed(count);
        self.push(name, op, &[x], Vec::new(), (channels, one, width))
    }

    /// Pixels of the row `x` as a map as large as `like`: those that begin `first` pixels behind as many as the nodes
    /// `behind` have together.
    pub fn part_like(
        &mut self,
        x: Node,
        first: usize,
        behind: &[Node],
        like: Node,
        name: &Scope,
    ) -> Node {
        let channels = self.channels(x);
        let (_, height, width) = self.extent(like);
        let op = Op::Part {
            first,
            like: Some(like),
        };
        let mut inputs = vec![x];
        inputs.extend(behind);
        self.push(name, op, &inputs, Vec::new(), (channels, height, width))
    }

    /// `rows · columns` pixels of the row `x`, from `first` on, as a map of that size.
    pub fn part_of(&mut self, x: Node, first: usize, size: [usize; 2], name: &Scope) -> Node {
        let row = self.part(x, first, size[0] * size[1], name);
        let [height, width] = size.map(|side| self.graph.sides.fixed(side));
        let data = &mut self.graph.nodes[row.index()];
        (data.height, data.width) = (height, width);
        row
    }

    /// The row `x`, of a fixed number of pixels, with pixels and channels exchanged.
    pub fn transpose(&mut self, x: Node, name: &Scope) -> Node {
        let (channels, _, width) = self.extent(x);
        let one = self.graph.sides.fixed(1);
        let pixels = self.row_of(x, name, &Op::Transpose);
        let width = if pixels > 0 {
            self.graph.sides.fixed(channels)
        } else {
            width
        };
        self.push(name, Op::Transpose, &[x], Vec::new(), (pixels, one, width))
    }

    /// Each pixel's channels of `x` times the matrix that `row` is: a channel comes out for each of its pixels. See
    /// [`Op::Product`].
    pub fn product(&mut self, x: Node, row: Node, name: &Scope) -> Node {
        let (channels, height, width) = self.extent(x);
        let pixels = self.row_of(row, name, &Op::Product);
        if self.channels(row) != channels {
            let shapes = [x, row].map(|n| self.describe(n));
            self.fail(name, &Op::Product, || {
                let [x, row] = &shapes;
                format!("{x} and the pixels of {row} differ in channels")
            });
        }
        let extent = (pixels, height, width);
        self.push(name, Op::Product, &[x, row], Vec::new(), extent)
    }

    /// The pixels of a row whose number is fixed.
    fn row_of(&mut self, x: Node, name: &Scope, op: &Op) -> usize {
        let (_, height, width) = self.extent(x);
        let [height, width] = [height, width].map(|side| self.graph.sides.fixed_pixels(side));
        match (height, width) {
            (Some(1), Some(pixels)) => pixels,
            _ => {
                let shape = self.describe(x);
                self.fail(name, op, || {
                    format!("{shape} is no row of a fixed number of pixels")
                });
                0
            }
        }
    }

    /// How many pixels a map has.
    fn pixels_of(&mut self, node: Node) -> Side {
        let (_, height, width) = self.extent(node);
        self.graph.sides.area(height, width, 0)
    }
}
