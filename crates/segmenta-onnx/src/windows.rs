//! Maps in windows and squares, and attention within windows.

use segmenta_graph::NodeData;

use crate::ExportError;
use crate::writer::{Dim, F32, Writer, int};

impl Writer<'_> {
    /// Zeros below and right up to whole squares; the squares each way.
    fn whole(&mut self, x: &str, size: &[Dim; 2], side: usize) -> (String, [Dim; 2]) {
        let squares = size.each_ref().map(|pixels| self.div_ceil(pixels, side));
        let [below, right] = [0, 1].map(|axis| {
            let whole = self.mul(&squares[axis], &Dim::from(side));
            self.sub(&whole, &size[axis])
        });
        let x = self.pad(x, [Dim::Fixed(0), Dim::Fixed(0), below, right]);
        (x, squares)
    }

    /// The first `by` rows and columns behind the others; a negative number brings them back.
    fn rolled(&mut self, x: &str, by: i64) -> String {
        let mut x = x.to_owned();
        if by == 0 {
            return x;
        }
        for axis in [2, 3] {
            let (first, end) = (Dim::Fixed(0), Dim::Fixed(i64::MAX));
            let parts = [
                self.slice(&x, axis, &Dim::Fixed(by), &end),
                self.slice(&x, axis, &first, &Dim::Fixed(by)),
            ];
            x = self.concat(&[&parts[0], &parts[1]], axis);
        }
        x
    }

    pub(crate) fn windows(
        &mut self,
        x: &str,
        data: &NodeData,
        side: usize,
        shift: usize,
    ) -> String {
        let size = self.size(data.inputs[0]);
        let (x, [rows, columns]) = self.whole(x, &size, side);
        let x = self.rolled(&x, shift as i64);
        let (c, s) = (Dim::from(data.channels), Dim::from(side));
        let dims = [
            Dim::Fixed(0),
            c,
            rows.clone(),
            s.clone(),
            columns.clone(),
            s,
        ];
        let dims = self.vector(&dims);
        let x = self.op("Reshape", &[&x, &dims], vec![]);
        let x = self.transpose(&x, [0, 1, 2, 4, 3, 5]);
        let width = self.mul(&columns, &Dim::from(side * side));
        self.as_map(&x, data.channels, [rows, width])
    }

    pub(crate) fn joined_windows(
        &mut self,
        x: &str,
        data: &NodeData,
        [side, shift]: [usize; 2],
        to: &[Dim; 2],
    ) -> String {
        let [rows, columns] = to.each_ref().map(|pixels| self.div_ceil(pixels, side));
        let (c, s) = (Dim::from(data.channels), Dim::from(side));
        let dims = [
            Dim::Fixed(0),
            c,
            rows.clone(),
            columns.clone(),
            s.clone(),
            s.clone(),
        ];
        let dims = self.vector(&dims);
        let x = self.op("Reshape", &[x, &dims], vec![]);
        let x = self.transpose(&x, [0, 1, 2, 4, 3, 5]);
        let size = [rows, columns].map(|squares| self.mul(&squares, &s));
        let mut x = self.as_map(&x, data.channels, size);
        x = self.rolled(&x, -(shift as i64));
        for (axis, side) in (2..).zip(to) {
            x = self.slice(&x, axis, &Dim::Fixed(0), side);
        }
        x
    }

    pub(crate) fn space_to_depth(&mut self, x: &str, data: &NodeData, side: usize) -> String {
        let size = self.size(data.inputs[0]);
        let (x, [rows, columns]) = self.whole(x, &size, side);
        let (c, s) = (Dim::from(data.channels / side / side), Dim::from(side));
        let dims = [
            Dim::Fixed(0),
            c,
            rows.clone(),
            s.clone(),
            columns.clone(),
            s,
        ];
        let dims = self.vector(&dims);
        let x = self.op("Reshape", &[&x, &dims], vec![]);
        let x = self.transpose(&x, [0, 5, 3, 1, 2, 4]);
        self.as_map(&x, data.channels, [rows, columns])
    }

    pub(crate) fn depth_to_space(
        &mut self,
        x: &str,
        data: &NodeData,
        side: usize,
        to: &[Dim; 2],
    ) -> String {
        let [rows, columns] = self.size(data.inputs[0]);
        let s = Dim::from(side);
        let dims = [
            Dim::Fixed(0),
            s.clone(),
            s.clone(),
            Dim::from(data.channels),
            rows.clone(),
            columns.clone(),
        ];
        let dims = self.vector(&dims);
        let x = self.op("Reshape", &[x, &dims], vec![]);
        let x = self.transpose(&x, [0, 3, 4, 2, 5, 1]);
        let size = [rows, columns].map(|squares| self.mul(&squares, &s));
        let x = self.as_map(&x, data.channels, size.clone());
        self.fit(&x, &size, to)
    }

    /// Each window's pixels attend to each other, with a bias by their distance.
    pub(crate) fn window_attention(
        &mut self,
        inputs: &[String],
        data: &NodeData,
        heads: usize,
        shift: usize,
    ) -> Result<String, ExportError> {
        let table_size = self.size(data.inputs[3]);
        let [Dim::Fixed(table_rows), Dim::Fixed(table_columns)] = table_size else {
            return Err(ExportError::Node {
                node: data.name.clone(),
                op: data.op.kind(),
                why: "its window is as large as the picture",
                remedy: "give --size without --dynamic height,width",
            });
        };
        let window = [table_rows, table_columns].map(|side| (side as usize).div_ceil(2));
        let lead = usize::from(inputs.len() > 4);
        let pixels = window[0] * window[1] + lead;
        let of_graph = self.graph;
        let depth = of_graph.node(data.inputs[0]).channels / heads;
        let of_values = data.channels / heads;

        let (h, p) = (heads as i64, pixels as i64);
        let parted = |writer: &mut Self, x: &str, depth: usize| {
            writer.reshape(x, &[0, h, depth as i64, -1, p])
        };
        let q = parted(self, &inputs[0], depth);
        let k = parted(self, &inputs[1], depth);
        let v = parted(self, &inputs[2], of_values);
        let scale = self.f32((depth as f32).powf(-0.5));
        let q = self.op("Mul", &[&q, &scale], vec![]);
        let q = self.transpose(&q, [0, 1, 3, 4, 2]);
        let k = self.transpose(&k, [0, 1, 3, 2, 4]);
        let v = self.transpose(&v, [0, 1, 3, 4, 2]);
        let mut fits = self.op("MatMul", &[&q, &k], vec![]);

        let one = |writer: &mut Self, x: &str| {
            let first = writer.slice(x, 0, &Dim::Fixed(0), &Dim::Fixed(1));
            writer.reshape(&first, &[h, -1])
        };
        let mut table = one(self, &inputs[3]);
        if let Some(token) = inputs.get(4) {
            let token = one(self, token);
            table = self.concat(&[&table, &token], 1);
        }
        let places = self.i64s(&places(window, lead));
        let biases = self.op("Gather", &[&table, &places], vec![int("axis", 1)]);
        let biases = self.reshape(&biases, &[1, h, 1, p, p]);
        fits = self.op("Add", &[&fits, &biases], vec![]);
        if shift > 0 {
            let [rows, row] = self.size(data.inputs[0]);
            let columns = self.div(&row, &Dim::from(pixels));
            let apart = self.apart(window, &[rows, columns], shift);
            fits = self.op("Add", &[&fits, &apart], vec![]);
        }
        let weights = self.op("Softmax", &[&fits], vec![int("axis", -1)]);
        let means = self.op("MatMul", &[&weights, &v], vec![]);
        let means = self.transpose(&means, [0, 1, 4, 2, 3]);
        let size = self.size(data.inputs[0]);
        Ok(self.as_map(&means, data.channels, size))
    }

    /// −100 between pixels of one window that are beside each other only by the roll: `[windows][query][key]`.
    fn apart(&mut self, window: [usize; 2], grid: &[Dim; 2], shift: usize) -> String {
        let pixels = window[0] * window[1];
        let mut differ: Option<String> = None;
        for axis in [0, 1] {
            let moved: Vec<f32> = (0..pixels)
                .map(|pixel| [pixel / window[1], pixel % window[1]][axis] + shift >= window[axis])
                .map(f32::from)
                .collect();
            let pairs = (0..pixels * pixels).map(|i| (moved[i / pixels] - moved[i % pixels]).abs());
            let pairs: Vec<f32> = pairs.collect();
            let pairs = self.f32s(&[1, 1, pixels, pixels], &pairs);
            let at = self.count_up(&grid[axis]);
            let last = self.sub(&grid[axis], &Dim::Fixed(1));
            let last = self.side(&last);
            let is_last = self.op("Equal", &[&at, &last], vec![]);
            let is_last = self.cast(&is_last, F32);
            let along = if axis == 0 {
                [-1, 1, 1, 1]
            } else {
                [1, -1, 1, 1]
            };
            let is_last = self.reshape(&is_last, &along);
            let on_axis = self.op("Mul", &[&is_last, &pairs], vec![]);
            differ = Some(match differ {
                None => on_axis,
                Some(other) => self.op("Max", &[&other, &on_axis], vec![]),
            });
        }
        let differ = differ.expect("two axes");
        let less = self.f32(-100.0);
        let apart = self.op("Mul", &[&differ, &less], vec![]);
        self.reshape(&apart, &[-1, pixels as i64, pixels as i64])
    }
}

/// Which entry of a table, or behind it of a class token's biases, each query and key has.
fn places([rows, columns]: [usize; 2], lead: usize) -> Vec<i64> {
    let pixels = rows * columns + lead;
    let entries = (2 * rows - 1) * (2 * columns - 1);
    let place = |i: usize| {
        let (query, key) = (i / pixels, i % pixels);
        let entry = match (query.checked_sub(lead), key.checked_sub(lead)) {
            (None, None) => entries + 2,
            (None, Some(_)) => entries,
            (Some(_), None) => entries + 1,
            (Some(query), Some(key)) => {
                let y = query / columns + rows - 1 - key / columns;
                let x = query % columns + columns - 1 - key % columns;
                y * (2 * columns - 1) + x
            }
        };
        entry as i64
    };
    (0..pixels * pixels).map(place).collect()
}
