//! Maps as rows of pixels, and what is made of rows.

use super::Builder;
use crate::graph::Node;
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

    /// How many pixels a map has.
    fn pixels_of(&mut self, node: Node) -> Side {
        let (_, height, width) = self.extent(node);
        self.graph.sides.area(height, width, 0)
    }
}
