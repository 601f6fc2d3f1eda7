//! Pixels that look at each other.

use super::Builder;
use crate::graph::Node;
use crate::op::Op;
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
                format!("{q} channels and {v} do not divide into {heads} heads; give another number")
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

    /// Softmax at each pixel between `parts` runs of channels; see [`Op::Softmax`].
    pub fn softmax(&mut self, x: Node, parts: usize, log: bool, name: &Scope) -> Node {
        let extent = self.extent(x);
        let op = Op::Softmax { parts, log };
        if parts == 0 || !extent.0.is_multiple_of(parts) {
            self.fail(name, &op, || {
                format!("{} channels do not divide into {parts} parts", extent.0)
            });
        }
        self.push(name, op, &[x], Vec::new(), extent)
    }
}
