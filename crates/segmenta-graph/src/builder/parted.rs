//! Maps parted into windows whose pixels look at each other, or into squares.

use super::Builder;
use crate::graph::Node;
use crate::init::Init;
use crate::op::Op;
use crate::scope::Scope;

impl Builder {
    /// Layer scale (Touvron et al. 2021, arXiv:2103.17239): each channel of `x` times the parameter NAME, which is
    /// `value` in all channels before training.
    pub fn layer_scale(&mut self, x: Node, name: &Scope, value: f32) -> Node {
        let factors = self.table(name, &[self.channels(x)], [1, 1]);
        if let Some(entry) = self.graph.parameters.last_mut() {
            entry.init = Init::Constant(value);
        }
        self.mul(x, factors, name)
    }

    /// `x` in windows of `side`×`side` pixels, rolled by `shift` before; see [`Op::Windows`].
    pub fn windows(&mut self, x: Node, side: usize, shift: usize, name: &Scope) -> Node {
        let op = Op::Windows { side, shift };
        let (channels, height, width) = self.extent(x);
        if !self.is_window(name, &op, side, shift) {
            return x;
        }
        let sides = &mut self.graph.sides;
        let [rows, columns] = [height, width].map(|of| sides.window_ceil(of, side, side, 0));
        let row = sides.stretch(columns, side * side, 0);
        self.push(name, op, &[x], Vec::new(), (channels, rows, row))
    }

    /// Windows as a map again, of the size of `like`, which they were made of; see [`Op::FromWindows`].
    pub fn from_windows(
        &mut self,
        x: Node,
        like: Node,
        side: usize,
        shift: usize,
        name: &Scope,
    ) -> Node {
        let op = Op::FromWindows { side, shift, like };
        let (channels, rows, row) = self.extent(x);
        let (_, height, width) = self.extent(like);
        if !self.is_window(name, &op, side, shift) {
            return x;
        }
        let sides = &mut self.graph.sides;
        let [of_rows, columns] = [height, width].map(|of| sides.window_ceil(of, side, side, 0));
        if (of_rows, sides.stretch(columns, side * side, 0)) != (rows, row) {
            let shapes = (self.describe(x), self.describe(like));
            self.fail(name, &op, || {
                let (windows, map) = &shapes;
                format!("{windows} are no windows of {side}×{side} pixels of {map}")
            });
        }
        self.push(name, op, &[x], Vec::new(), (channels, height, width))
    }

    fn is_window(&mut self, name: &Scope, op: &Op, side: usize, shift: usize) -> bool {
        let is_one = side > 0 && shift < side;
        if !is_one {
            self.fail(name, op, || {
                format!("windows of {side}×{side} pixels, rolled by {shift}; a roll is shorter than a window")
            });
        }
        is_one
    }

    /// Attention within windows, as [`Builder::windows`] lays them out for the same `shift`, with biases by distance
    /// from `table`, and where they begin with a class token its own from `token`; see [`Op::WindowAttention`].
    pub fn window_attention(
        &mut self,
        [queries, keys, values]: [Node; 3],
        table: Node,
        token: Option<Node>,
        [heads, shift]: [usize; 2],
        name: &Scope,
    ) -> Node {
        let op = Op::WindowAttention { heads, shift };
        let [q, k, v] = [queries, keys, values].map(|n| self.extent(n));
        let divides = |n: usize| heads > 0 && n.is_multiple_of(heads);
        let sizes = (q.1, q.2) == (k.1, k.2) && (k.1, k.2) == (v.1, v.2);
        let odd = self.extent(table);
        let odd = [odd.1, odd.2].map(|side| self.graph.sides.fixed_pixels(side));
        // Of a side that follows the picture's nobody knows yet.
        let distances = odd.iter().flatten().all(|n| n % 2 == 1);
        let of_heads = [Some(table), token].into_iter().flatten();
        let biases = of_heads.clone().all(|n| self.channels(n) == heads);
        if !sizes || q.0 != k.0 || !divides(q.0) || !divides(v.0) || !biases || !distances {
            let maps = [queries, keys, values, table].map(|n| self.describe(n));
            self.fail(name, &op, || {
                let [q, k, v, table] = &maps;
                format!(
                    "queries {q}, keys {k}, values {v} and biases {table} do not fit {heads} heads: all have one size, \
                     channels divide into the heads, and there are biases for as many, of an odd number of distances each way"
                )
            });
        }
        let inputs: Vec<Node> = [queries, keys, values]
            .into_iter()
            .chain(of_heads)
            .collect();
        self.push(name, op, &inputs, Vec::new(), (v.0, q.1, q.2))
    }

    /// Squares of `side`×`side` pixels of `x` as single pixels; see [`Op::SpaceToDepth`].
    pub fn space_to_depth(&mut self, x: Node, side: usize, name: &Scope) -> Node {
        let op = Op::SpaceToDepth { side };
        let (channels, height, width) = self.extent(x);
        if side == 0 {
            self.fail(name, &op, || "squares of no pixels; give a side".into());
            return x;
        }
        let sides = &mut self.graph.sides;
        let [rows, columns] = [height, width].map(|of| sides.window_ceil(of, side, side, 0));
        let extent = (channels * side * side, rows, columns);
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Pixels of `x` as squares of `side`×`side` pixels, of the size of `like`; see [`Op::DepthToSpace`].
    pub fn depth_to_space(&mut self, x: Node, side: usize, like: Node, name: &Scope) -> Node {
        let op = Op::DepthToSpace { side, like };
        let channels = self.channels(x);
        let (_, height, width) = self.extent(like);
        if side == 0 || !channels.is_multiple_of(side * side) {
            self.fail(name, &op, || {
                format!(
                    "{channels} channels are no squares of {side}×{side} pixels; give another side"
                )
            });
            return x;
        }
        let extent = (channels / (side * side), height, width);
        self.push(name, op, &[x], Vec::new(), extent)
    }
}
