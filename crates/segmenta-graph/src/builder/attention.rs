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
        let maps = [queries, keys, values];
        self.in_heads(name, &op, maps, heads);
        let extent = self.attended(name, &op, maps);
        self.push(name, op, &maps, Vec::new(), extent)
    }

    /// As [`Builder::attention`], where queries do not see all keys: `mask` has a channel for each of the first
    /// queries, a pixel for each of the last keys. See [`Op::MaskedAttention`].
    pub fn masked_attention(
        &mut self,
        maps: [Node; 3],
        mask: Node,
        heads: usize,
        name: &Scope,
    ) -> Node {
        let op = Op::MaskedAttention { heads };
        self.in_heads(name, &op, maps, heads);
        let extent = self.attended(name, &op, maps);
        let [queries, keys, values] = maps;
        let pixels = |g: &Self, node| {
            let (_, height, width) = g.extent(node);
            let [height, width] = [height, width].map(|side| g.graph.sides.fixed_pixels(side));
            Some(height? * width?)
        };
        let masked = self.channels(mask);
        let too_many = pixels(self, queries).is_some_and(|queries| masked > queries);
        let of_none = match [keys, mask].map(|node| pixels(self, node)) {
            [Some(keys), Some(masked)] => masked > keys,
            _ => false,
        };
        if too_many || of_none {
            let shapes = [queries, keys, mask].map(|n| self.describe(n));
            self.fail(name, &op, || {
                let [queries, keys, mask] = &shapes;
                format!(
                    "the mask {mask} does not fit queries {queries} and keys {keys}; give it a channel a query and a \
                     pixel a key, at most"
                )
            });
        }
        let inputs = [queries, keys, values, mask];
        self.push(name, op, &inputs, Vec::new(), extent)
    }

    fn in_heads(&mut self, name: &Scope, op: &Op, maps: [Node; 3], heads: usize) {
        let divides = |n: usize| heads > 0 && n.is_multiple_of(heads);
        let [q, _, v] = maps.map(|n| self.channels(n));
        if !divides(q) || !divides(v) {
            self.fail(name, op, || {
                format!(
                    "{q} channels and {v} do not divide into {heads} heads; give another number"
                )
            });
        }
    }

    /// Each pixel of the row `values`, which holds the pixels of `maps`, takes values of all of them at `points` places a
    /// head, by `offsets` and `logits`. See [`Op::DeformableAttention`].
    pub fn deformable_attention(
        &mut self,
        [values, offsets, logits]: [Node; 3],
        maps: &[Node],
        heads: usize,
        points: usize,
        name: &Scope,
    ) -> Node {
        let op = Op::DeformableAttention { heads, points };
        self.in_heads(name, &op, [values; 3], heads);
        let each = heads * maps.len() * points;
        let found = [offsets, logits].map(|node| self.channels(node));
        let same = self.same_size(values, offsets) && self.same_size(values, logits);
        if each == 0 || found != [2 * each, each] || !same {
            let shapes = [values, offsets, logits].map(|node| self.describe(node));
            self.fail(name, &op, || {
                let [values, offsets, logits] = &shapes;
                format!(
                    "values {values}, offsets {offsets} and weights {logits} do not fit; give each pixel {} offsets \
                     and {each} weights",
                    2 * each
                )
            });
        }
        let extent = self.extent(values);
        let mut inputs = vec![values, offsets, logits];
        inputs.extend(maps);
        self.push(name, op, &inputs, Vec::new(), extent)
    }

    /// The last pixels of `x`, those of the map `like`, turned by their places. See [`Op::Rotary`].
    pub fn rotary(&mut self, x: Node, like: Node, heads: usize, theta: f32, name: &Scope) -> Node {
        let op = Op::Rotary { heads, theta };
        let extent = self.extent(x);
        if heads == 0 || !extent.0.is_multiple_of(4 * heads) {
            self.fail(name, &op, || {
                format!(
                    "{} channels do not divide into {heads} heads of four at a time; give another number",
                    extent.0
                )
            });
        }
        self.push(name, op, &[x, like], Vec::new(), extent)
    }

    /// DETR's sine positions of the pixels of a map as large as `like`. See [`Op::SinePositions`].
    pub fn sine_positions(&mut self, like: Node, channels: usize, name: &Scope) -> Node {
        let op = Op::SinePositions { like };
        if channels == 0 || !channels.is_multiple_of(4) {
            self.fail(name, &op, || {
                format!("{channels} channels are no sines and cosines of rows and columns; give a multiple of 4")
            });
        }
        let (_, height, width) = self.extent(like);
        self.push(name, op, &[], Vec::new(), (channels, height, width))
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
