//! Pixels that look at each other.

use super::Builder;
use crate::graph::Node;
use crate::op::Op;
use crate::parameter::Role;
use crate::scope::Scope;

impl Builder {
    /// Each pixel of `queries` takes the mean of the pixels of `values`, weighted by how well the pixels
    /// of `keys` fit it; `heads` times, on as many runs of channels. See [`Op::Attention`].
    pub fn attention(
        &mut self,
        [queries, keys, values]: [Node; 3],
        heads: usize,
        name: &Scope,
    ) -> Node {
        let op = Op::Attention { heads };
        let divides = |n: usize| heads > 0 && n.is_multiple_of(heads);
        let [q, v] = [queries, values].map(|n| self.channels(n));
        if !divides(q) || !divides(v) {
            self.fail(name, &op, || {
                format!("channels ({q}, {v}) do not divide into {heads} heads; give another number")
            });
        }
        let extent = self.attended(name, &op, [queries, keys, values]);
        self.push(name, op, &[queries, keys, values], Vec::new(), extent)
    }

    /// MA-Net's attention between all pixels; see [`Op::PositionAttention`].
    pub fn position_attention(&mut self, maps: [Node; 3], name: &Scope) -> Node {
        let op = Op::PositionAttention;
        let [queries, keys, _] = maps;
        if !self.same_shape(queries, keys) {
            let shapes = (self.describe(queries), self.describe(keys));
            self.fail(name, &op, || {
                format!("{} and {} differ", shapes.0, shapes.1)
            });
        }
        let extent = self.attended(name, &op, maps);
        self.push(name, op, &maps, Vec::new(), extent)
    }

    /// As many pixels as there are queries, with the channels of the values.
    fn attended(
        &mut self,
        name: &Scope,
        op: &Op,
        [queries, keys, values]: [Node; 3],
    ) -> super::Extent {
        let ((q, height, width), k, v) =
            (self.extent(queries), self.extent(keys), self.extent(values));
        if q != k.0 || (k.1, k.2) != (v.1, v.2) {
            let shapes = [queries, keys, values].map(|n| self.describe(n));
            self.fail(name, op, || {
                let [q, k, v] = &shapes;
                format!("queries {q}, keys {k} and values {v} do not fit: a key needs the channels of a query, and a value")
            });
        }
        (v.0, height, width)
    }

    /// The pixels of `x` in one row after a class token, with embeddings of positions for a map of `grid`
    /// rows and columns; state-dict entries `cls_token` and `pos_embed` under NAME. See [`Op::Tokens`].
    pub fn tokens(&mut self, x: Node, name: &Scope, grid: [usize; 2]) -> Node {
        let (channels, height, width) = self.extent(x);
        let entries = [("cls_token", 1), ("pos_embed", 1 + grid[0] * grid[1])];
        let parameters = entries
            .map(|(leaf, count)| {
                let shape = vec![1, count, channels];
                self.parameter(&(name / leaf), shape, Role::Embedding, &[])
            })
            .to_vec();
        let row = self.graph.sides.area(height, width, 1);
        let one = self.graph.sides.fixed(1);
        let op = Op::Tokens { grid };
        self.push(name, op, &[x], parameters, (channels, one, row))
    }

    /// The tokens of `x` but the first as a map as large as `like`, which they were made from.
    pub fn patches(&mut self, x: Node, like: Node, name: &Scope) -> Node {
        let (channels, _, row) = self.extent(x);
        let (_, height, width) = self.extent(like);
        let op = Op::Patches { like };
        if self.graph.sides.area(height, width, 1) != row {
            let shapes = (self.describe(x), self.describe(like));
            self.fail(name, &op, || {
                format!("{} does not hold the pixels of {}", shapes.0, shapes.1)
            });
        }
        self.push(name, op, &[x], Vec::new(), (channels, height, width))
    }

    /// Softmax at each pixel between `parts` runs of channels; see [`Op::Softmax`].
    pub fn softmax(&mut self, x: Node, parts: usize, log: bool, name: &Scope) -> Node {
        let extent = self.extent(x);
        let op = Op::Softmax { parts, log };
        if parts == 0 || !extent.0.is_multiple_of(parts) {
            self.fail(name, &op, || {
                format!("channels ({}) do not divide into {parts} parts", extent.0)
            });
        }
        self.push(name, op, &[x], Vec::new(), extent)
    }
}
