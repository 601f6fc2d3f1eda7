//! Resizes, pools that are undone, means over a grid, fits: what changes a map's size.

use segmenta_graph::{Filter, Node, NodeData};

use crate::writer::{Dim, F32, Writer, float, int, text};

impl Writer<'_> {
    /// `x` at another size.
    pub(crate) fn resize(&mut self, x: &str, channels: usize, to: [Dim; 2], by: Filter) -> String {
        let attributes = match by {
            Filter::Nearest => vec![
                text("mode", "nearest"),
                text("coordinate_transformation_mode", "asymmetric"),
                text("nearest_mode", "floor"),
            ],
            Filter::Bilinear { align_corners } => vec![
                text("mode", "linear"),
                text("coordinate_transformation_mode", corners(align_corners)),
            ],
            Filter::Bicubic => vec![
                text("mode", "cubic"),
                text("coordinate_transformation_mode", corners(false)),
                float("cubic_coeff_a", -0.75),
            ],
        };
        let [height, width] = to;
        let batch = self.batch.clone();
        let sizes = self.vector(&[batch, channels.into(), height, width]);
        self.op("Resize", &[x, "", "", &sizes], attributes)
    }

    /// Cubic, as Pillow does it: over more pixels where the map shrinks. A product of matrices: opset 17 has no such
    /// resize, and not every runtime has that of later ones.
    pub(crate) fn resize_antialiased(
        &mut self,
        x: &str,
        from: [usize; 2],
        to: &[Dim; 2],
    ) -> String {
        let [rows, columns] = [0, 1].map(|axis| self.cubic_shares(from[axis], &to[axis]));
        let columns = self.transpose(&columns, [1, 0]);
        let x = self.op("MatMul", &[x, &columns], vec![]);
        self.op("MatMul", &[&rows, &x], vec![])
    }

    /// What share each of `from` pixels has in each of `to`, by Keys's kernel (1981) with a = −½: `[to][from]`.
    fn cubic_shares(&mut self, from: usize, to: &Dim) -> String {
        let centres: Vec<f32> = (0..from).map(|at| at as f32 + 0.5).collect();
        let centres = self.f32s(&[1, from], &centres);
        let at = self.count_up(to);
        let at = self.reshape(&at, &[-1, 1]);
        let number = |writer: &mut Self, kind: &str, x: &str, by: f32| {
            let by = writer.f32(by);
            writer.op(kind, &[x, &by], vec![])
        };
        let at = number(self, "Add", &at, 0.5);
        let at = number(self, "Mul", &at, from as f32);
        let side = self.side(to);
        let at = self.op("Div", &[&at, &side], vec![]);
        let apart = self.op("Sub", &[&centres, &at], vec![]);
        // Where the map shrinks the kernel is as much wider.
        let whole = self.f32s(&[1], &[from as f32]);
        let wider = self.op("Div", &[&whole, &side], vec![]);
        let wider = number(self, "Max", &wider, 1.0);
        let apart = self.op("Div", &[&apart, &wider], vec![]);
        let apart = self.op("Abs", &[&apart], vec![]);
        // The outer part ends at 2 with 0.
        let apart = number(self, "Min", &apart, 2.0);
        let polynomial = |writer: &mut Self, [a, b, c, d]: [f32; 4]| {
            let y = number(writer, "Mul", &apart, a);
            let y = number(writer, "Add", &y, b);
            let y = writer.op("Mul", &[&y, &apart], vec![]);
            let y = number(writer, "Add", &y, c);
            let y = writer.op("Mul", &[&y, &apart], vec![]);
            number(writer, "Add", &y, d)
        };
        let inner = polynomial(self, [1.5, -2.5, 0.0, 1.0]);
        let outer = polynomial(self, [-0.5, 2.5, -4.0, 2.0]);
        let is_inner = number(self, "Less", &apart, 1.0);
        let shares = self.op("Where", &[&is_inner, &inner, &outer], vec![]);
        let axes = self.i64s(&[1]);
        let sums = self.op("ReduceSum", &[&shares, &axes], vec![]);
        self.op("Div", &[&shares, &sums], vec![])
    }

    /// Values where a max pool found its maxima, zero elsewhere. The pool's indices count from the batch's beginning.
    pub(crate) fn unpool(&mut self, x: &str, pool: Node, data: &NodeData) -> String {
        let name = self.values[pool.index()].clone();
        let indices = format!("{name}/indices");
        let maker = self.nodes.iter_mut().find(|node| node.output[0] == name);
        if let Some(maker) = maker.filter(|node| node.output.len() == 1) {
            maker.output.push(indices.clone());
        }
        let size = self.size(self.graph.node(pool).inputs[0]);
        let batch = self.batch.clone();
        let mut all = self.mul(&batch, &Dim::from(data.channels));
        for side in &size {
            all = self.mul(&all, side);
        }
        let all = self.dim(&all);
        let zeros = self.op("ConstantOfShape", &[&all], vec![]);
        let [places, values] = [indices.as_str(), x].map(|x| self.reshape(x, &[-1]));
        let flat = self.op(
            "ScatterElements",
            &[&zeros, &places, &values],
            vec![int("axis", 0)],
        );
        let [height, width] = size;
        let shape = self.vector(&[batch, data.channels.into(), height, width]);
        self.op("Reshape", &[&flat, &shape], vec![])
    }

    /// Means over windows that cover the map: a product of matrices, one a side.
    pub(crate) fn adaptive_means(&mut self, x: &str, from: &[Dim; 2], to: [usize; 2]) -> String {
        let [rows, columns] = [0, 1].map(|axis| self.shares(&from[axis], to[axis]));
        let columns = self.transpose(&columns, [1, 0]);
        let x = self.op("MatMul", &[x, &columns], vec![]);
        self.op("MatMul", &[&rows, &x], vec![])
    }

    /// What share each of `from` pixels has in each of `to` means.
    fn shares(&mut self, from: &Dim, to: usize) -> String {
        if let Dim::Fixed(from) = *from {
            let (from, mut values) = (from as usize, Vec::new());
            for window in 0..to {
                let (first, end) = (window * from / to, ((window + 1) * from).div_ceil(to));
                let share = |at| {
                    if (first..end).contains(&at) {
                        1.0 / (end - first) as f32
                    } else {
                        0.0
                    }
                };
                values.extend((0..from).map(share));
            }
            return self.f32s(&[to, from], &values);
        }
        let windows: Vec<i64> = (0..to as i64).collect();
        let windows = self.i64s(&windows);
        let count = self.i64s(&[to as i64]);
        let side = self.dim(from);
        let product = self.op("Mul", &[&windows, &side], vec![]);
        let first = self.op("Div", &[&product, &count], vec![]);
        let one_more = self.op("Add", &[&product, &side], vec![]);
        let rounding = self.i64s(&[to as i64 - 1]);
        let one_more = self.op("Add", &[&one_more, &rounding], vec![]);
        let end = self.op("Div", &[&one_more, &count], vec![]);
        let [first, end] = [first, end].map(|x| {
            let x = self.reshape(&x, &[-1, 1]);
            self.cast(&x, F32)
        });
        let at = self.count_up(from);
        let from_first = self.op("GreaterOrEqual", &[&at, &first], vec![]);
        let before_end = self.op("Less", &[&at, &end], vec![]);
        let inside = self.op("And", &[&from_first, &before_end], vec![]);
        let inside = self.cast(&inside, F32);
        let count = self.op("Sub", &[&end, &first], vec![]);
        self.op("Div", &[&inside, &count], vec![])
    }

    /// Cut off, or filled up with zeros, below and right.
    pub(crate) fn fit(&mut self, x: &str, from: &[Dim; 2], to: &[Dim; 2]) -> String {
        let mut x = x.to_owned();
        let mut zeros = Vec::new();
        for (axis, (from, to)) in (2..).zip(from.iter().zip(to)) {
            x = self.slice(&x, axis, &Dim::Fixed(0), to);
            let missing = self.sub(to, from);
            zeros.push(self.max(&missing, &Dim::Fixed(0)));
        }
        let [below, right] = [zeros[0].clone(), zeros[1].clone()];
        self.pad(&x, [Dim::Fixed(0), Dim::Fixed(0), below, right])
    }
}

fn corners(aligned: bool) -> &'static str {
    if aligned {
        "align_corners"
    } else {
        "half_pixel"
    }
}
