//! Attention, tokens and positions.

use std::f32::consts::TAU;

use segmenta_graph::{Node, NodeData};

use crate::writer::{Dim, F32, Writer, float, int, text};

impl Writer<'_> {
    /// Attention of all pixels; a mask hides keys where it is below zero.
    pub(crate) fn attention(&mut self, inputs: &[String], data: &NodeData, heads: usize) -> String {
        let depth = self.graph.node(data.inputs[0]).channels / heads;
        let of_values = (data.channels / heads) as i64;
        let h = heads as i64;
        let [q, k] = [0, 1].map(|i| self.reshape(&inputs[i], &[0, h, depth as i64, -1]));
        let v = self.reshape(&inputs[2], &[0, h, of_values, -1]);
        let scale = self.f32((depth as f32).powf(-0.5));
        let q = self.op("Mul", &[&q, &scale], vec![]);
        let q = self.transpose(&q, [0, 1, 3, 2]);
        let mut fits = self.op("MatMul", &[&q, &k], vec![]);
        if let Some(mask) = inputs.get(3) {
            let hidden = self.hidden(mask, data);
            let never = self.f32(f32::NEG_INFINITY);
            fits = self.op("Where", &[&hidden, &never, &fits], vec![]);
        }
        let weights = self.op("Softmax", &[&fits], vec![int("axis", -1)]);
        let weights = self.transpose(&weights, [0, 1, 3, 2]);
        let means = self.op("MatMul", &[&v, &weights], vec![]);
        let size = self.size(data.inputs[0]);
        self.as_map(&means, data.channels, size)
    }

    /// Whether each query does not see each key.
    fn hidden(&mut self, mask: &str, data: &NodeData) -> String {
        let masked = self.graph.node(data.inputs[3]).channels;
        let mask = self.reshape(mask, &[0, 1, masked as i64, -1]);
        let zero = self.f32(0.0);
        let hidden = self.op("Less", &[&mask, &zero], vec![]);
        let hidden = self.cast(&hidden, F32);
        // A query that would see nothing sees everything.
        let keys = self.pixels(data.inputs[1]);
        let all = self.side(&keys);
        let axes = self.i64s(&[3]);
        let count = self.op("ReduceSum", &[&hidden, &axes], vec![]);
        let sees = self.op("Less", &[&count, &all], vec![]);
        let sees = self.cast(&sees, F32);
        let hidden = self.op("Mul", &[&hidden, &sees], vec![]);
        let queries = self.pixels(data.inputs[0]);
        let of_mask = self.pixels(data.inputs[3]);
        let before = self.sub(&keys, &of_mask);
        let below = self.sub(&queries, &Dim::from(masked));
        let hidden = self.pad(&hidden, [Dim::Fixed(0), before, below, Dim::Fixed(0)]);
        let half = self.f32(0.5);
        self.op("Greater", &[&hidden, &half], vec![])
    }

    /// MA-Net's: one softmax for all pairs, the result read in another order.
    pub(crate) fn position_attention(&mut self, inputs: &[String], data: &NodeData) -> String {
        let depth = self.graph.node(data.inputs[0]).channels as i64;
        let [q, k] = [0, 1].map(|i| self.reshape(&inputs[i], &[0, depth, -1]));
        let v = self.reshape(&inputs[2], &[0, data.channels as i64, -1]);
        let [q, v] = [q, v].map(|x| self.transpose(&x, [0, 2, 1]));
        let fits = self.op("MatMul", &[&q, &k], vec![]);
        let row = self.reshape(&fits, &[0, -1]);
        let weights = self.op("Softmax", &[&row], vec![int("axis", -1)]);
        let pixels = self.pixels(data.inputs[0]);
        let dims = self.vector(&[Dim::Fixed(0), pixels.clone(), pixels]);
        let weights = self.op("Reshape", &[&weights, &dims], vec![]);
        let means = self.op("MatMul", &[&weights, &v], vec![]);
        let size = self.size(data.inputs[0]);
        self.as_map(&means, data.channels, size)
    }

    /// Deformable attention: each map is sampled at each point, and the samples are weighed.
    pub(crate) fn deformable(
        &mut self,
        inputs: &[String],
        data: &NodeData,
        heads: usize,
        points: usize,
    ) -> String {
        let maps = &data.inputs[3..];
        let each = maps.len() * points;
        let (h, e) = (heads as i64, each as i64);
        let depth = (data.channels / heads) as i64;
        let batch = self.batch.clone();
        let all = self.mul(&batch, &Dim::from(heads));
        let logits = self.reshape(&inputs[2], &[0, h, e, -1]);
        let weights = self.op("Softmax", &[&logits], vec![int("axis", 2)]);
        let tokens = self.pixels(data.inputs[0]);
        let dims = self.vector(&[all.clone(), each.into(), tokens.clone()]);
        let weights = self.op("Reshape", &[&weights, &dims], vec![]);
        let dims = self.vector(&[all.clone(), (2 * each).into(), tokens.clone()]);
        let offsets = self.op("Reshape", &[&inputs[1], &dims], vec![]);
        let dims = self.vector(&[all.clone(), Dim::Fixed(depth), tokens.clone()]);
        let values = self.op("Reshape", &[&inputs[0], &dims], vec![]);
        let places = self.places_of(maps);
        let linear = if self.opset < 20 {
            "bilinear"
        } else {
            "linear"
        };
        let (mut before, mut sum) = (Dim::Fixed(0), None::<String>);
        for (map, &node) in maps.iter().enumerate() {
            let [height, width] = self.size(node);
            let pixels = self.pixels(node);
            let end = self.add(&before, &pixels);
            let run = self.slice(&values, 2, &before, &end);
            before = end;
            let dims = [
                all.clone(),
                Dim::Fixed(depth),
                height.clone(),
                width.clone(),
            ];
            let dims = self.vector(&dims);
            let run = self.op("Reshape", &[&run, &dims], vec![]);
            let sides = [self.side(&width), self.side(&height)];
            let sides = self.concat(&[&sides[0], &sides[1]], 0);
            let sides = self.reshape(&sides, &[1, 1, 2, 1]);
            let range = [map * points, (map + 1) * points];
            let [from, to] = range.map(|i| Dim::from(2 * i));
            let offsets = self.slice(&offsets, 1, &from, &to);
            let dims = [all.clone(), points.into(), Dim::Fixed(2), tokens.clone()];
            let dims = self.vector(&dims);
            let offsets = self.op("Reshape", &[&offsets, &dims], vec![]);
            let offsets = self.op("Div", &[&offsets, &sides], vec![]);
            let at = self.op("Add", &[&offsets, &places], vec![]);
            // The sampling's coordinates go from −1 to 1.
            let (two, one) = (self.f32(2.0), self.f32(1.0));
            let at = self.op("Mul", &[&at, &two], vec![]);
            let at = self.op("Sub", &[&at, &one], vec![]);
            let grid = self.transpose(&at, [0, 1, 3, 2]);
            let sampled = self.op(
                "GridSample",
                &[&run, &grid],
                vec![
                    text("mode", linear),
                    text("padding_mode", "zeros"),
                    int("align_corners", 0),
                ],
            );
            let [from, to] = range.map(Dim::from);
            let weight = self.slice(&weights, 1, &from, &to);
            let axes = self.i64s(&[1]);
            let weight = self.op("Unsqueeze", &[&weight, &axes], vec![]);
            let weighed = self.op("Mul", &[&sampled, &weight], vec![]);
            let axes = self.i64s(&[2]);
            let means = self.op("ReduceSum", &[&weighed, &axes], vec![int("keepdims", 0)]);
            sum = Some(match sum {
                None => means,
                Some(sum) => self.op("Add", &[&sum, &means], vec![]),
            });
        }
        let sum = sum.unwrap_or(values);
        let [height, width] = self.size(data.inputs[0]);
        let dims = self.vector(&[batch, data.channels.into(), height, width]);
        self.op("Reshape", &[&sum, &dims], vec![])
    }

    /// Where the pixels of maps are, as shares of their map, across and down: `[1][1][2][pixels]`.
    fn places_of(&mut self, maps: &[Node]) -> String {
        let parts: Vec<String> = maps
            .iter()
            .map(|&map| {
                let size = self.size(map);
                let [down, across] = self.over_map(&size, Self::centres);
                self.concat(&[&across, &down], 2)
            })
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.concat(&parts, 3)
    }

    /// The centres of a side's pixels, from 0 to 1.
    fn centres(&mut self, side: &Dim) -> String {
        let at = self.count_up(side);
        let half = self.f32(0.5);
        let at = self.op("Add", &[&at, &half], vec![]);
        let side = self.side(side);
        self.op("Div", &[&at, &side], vec![])
    }

    /// What `of` says of rows and of columns, `[k][side]` or `[side]`, for every pixel: `[1][1][k][pixels]` each.
    fn over_map(&mut self, size: &[Dim; 2], of: impl Fn(&mut Self, &Dim) -> String) -> [String; 2] {
        [0, 1].map(|axis| {
            let values = of(self, &size[axis]);
            let own = size[axis].clone();
            let shape = if axis == 0 {
                [Dim::Fixed(1), Dim::Fixed(-1), own, Dim::Fixed(1)]
            } else {
                [Dim::Fixed(1), Dim::Fixed(-1), Dim::Fixed(1), own]
            };
            let shape = self.vector(&shape);
            let values = self.op("Reshape", &[&values, &shape], vec![]);
            let [height, width] = size.clone();
            let one = Dim::Fixed(1);
            let whole = self.vector(&[one.clone(), one, height.clone(), width.clone()]);
            let values = self.op("Expand", &[&values, &whole], vec![]);
            let pixels = self.mul(&height, &width);
            let shape = self.vector(&[Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(-1), pixels]);
            self.op("Reshape", &[&values, &shape], vec![])
        })
    }

    /// The last pixels of `x`, those of a map, turned by their places.
    pub(crate) fn rotary(&mut self, x: &str, data: &NodeData, heads: usize, theta: f32) -> String {
        let depth = data.channels / heads;
        let quarter = depth / 4;
        let speeds: Vec<f32> = (0..quarter)
            .map(|j| f64::from(theta).powf(-((4 * j) as f64) / depth as f64) as f32 * TAU)
            .collect();
        let size = self.size(data.inputs[1]);
        let angles = self.over_map(&size, |writer, side| {
            let at = writer.centres(side);
            let (two, one) = (writer.f32(2.0), writer.f32(1.0));
            let at = writer.op("Mul", &[&at, &two], vec![]);
            let at = writer.op("Sub", &[&at, &one], vec![]);
            let speeds = writer.f32s(&[quarter, 1], &speeds);
            writer.op("Mul", &[&at, &speeds], vec![])
        });
        let angles = self.concat(&[&angles[0], &angles[1]], 2);
        let cosines = self.op("Cos", &[&angles], vec![]);
        let sines = self.op("Sin", &[&angles], vec![]);
        let pixels = self.pixels(data.inputs[0]);
        let turned = self.pixels(data.inputs[1]);
        let before = self.sub(&pixels, &turned);
        let whole = self.reshape(x, &[0, heads as i64, depth as i64, -1]);
        let end = Dim::Fixed(i64::MAX);
        let rest = self.slice(&whole, 3, &before, &end);
        let half = Dim::from(depth / 2);
        let a = self.slice(&rest, 2, &Dim::Fixed(0), &half);
        let b = self.slice(&rest, 2, &half, &end);
        let mut times = |x: &str, y: &str| self.op("Mul", &[x, y], vec![]);
        let [ac, bs, bc, r#as] = [
            times(&a, &cosines),
            times(&b, &sines),
            times(&b, &cosines),
            times(&a, &sines),
        ];
        let first = self.op("Sub", &[&ac, &bs], vec![]);
        let second = self.op("Add", &[&bc, &r#as], vec![]);
        let rest = self.concat(&[&first, &second], 2);
        let y = if before == Dim::Fixed(0) {
            rest
        } else {
            let kept = self.slice(&whole, 3, &Dim::Fixed(0), &before);
            self.concat(&[&kept, &rest], 3)
        };
        let size = self.size(data.inputs[0]);
        self.as_map(&y, data.channels, size)
    }

    /// DETR's waves of a map.
    pub(crate) fn sine(&mut self, data: &NodeData, size: &[Dim; 2]) -> String {
        let half = data.channels / 2;
        let slow: Vec<f32> = (0..half)
            .map(|i| (f64::from(TAU) / 10_000_f64.powf((i / 2 * 2) as f64 / half as f64)) as f32)
            .collect();
        let cosine: Vec<f32> = (0..half)
            .map(|i| if i % 2 == 1 { TAU / 4.0 } else { 0.0 })
            .collect();
        let waves = self.over_map(size, |writer, side| {
            let at = writer.count_up(side);
            let one = writer.f32(1.0);
            let at = writer.op("Add", &[&at, &one], vec![]);
            let side = writer.side(side);
            let share = writer.op("Div", &[&at, &side], vec![]);
            let slow = writer.f32s(&[half, 1], &slow);
            let phase = writer.op("Mul", &[&share, &slow], vec![]);
            let quarter = writer.f32s(&[half, 1], &cosine);
            let phase = writer.op("Add", &[&phase, &quarter], vec![]);
            writer.op("Sin", &[&phase], vec![])
        });
        let waves = self.concat(&[&waves[0], &waves[1]], 2);
        self.of_each_picture(&waves, data.channels, size.clone())
    }

    /// The same map for each picture.
    pub(crate) fn of_each_picture(&mut self, x: &str, channels: usize, size: [Dim; 2]) -> String {
        let [height, width] = size;
        let one = Dim::Fixed(1);
        let c = Dim::from(channels);
        let dims = self.vector(&[one, c.clone(), height.clone(), width.clone()]);
        let x = self.op("Reshape", &[x, &dims], vec![]);
        let batch = self.batch.clone();
        let dims = self.vector(&[batch, c, height, width]);
        self.op("Expand", &[&x, &dims], vec![])
    }

    /// The pixels in one row after the class token, each with the embedding of its position.
    pub(crate) fn tokens(
        &mut self,
        x: &str,
        data: &NodeData,
        [token, positions]: [&str; 2],
        grid: [usize; 2],
    ) -> String {
        let c = data.channels as i64;
        let size = self.size(data.inputs[0]);
        let cells = Dim::from(1 + grid[0] * grid[1]);
        let token = self.reshape(token, &[1, c, 1, 1]);
        let positions = self.transpose(positions, [0, 2, 1]);
        let first = self.slice(&positions, 2, &Dim::Fixed(0), &Dim::Fixed(1));
        let first = self.reshape(&first, &[1, c, 1, 1]);
        let class = self.op("Add", &[&token, &first], vec![]);
        let class = self.of_each_picture(&class, data.channels, [1, 1].map(Dim::from));
        let others = self.slice(&positions, 2, &Dim::Fixed(1), &cells);
        let others = self.reshape(&others, &[1, c, grid[0] as i64, grid[1] as i64]);
        let others = if size == grid.map(Dim::from) {
            others
        } else {
            self.resize_antialiased(&others, grid, &size)
        };
        let x = self.op("Add", &[x, &others], vec![]);
        let row = self.reshape(&x, &[0, c, 1, -1]);
        self.concat(&[&class, &row], 3)
    }

    /// Norm of each pixel's channels.
    pub(crate) fn layer_norm(&mut self, x: &str, eps: f32, own: &[String]) -> String {
        let x = self.transpose(x, [0, 2, 3, 1]);
        let norm = vec![int("axis", -1), float("epsilon", eps)];
        let x = self.op("LayerNormalization", &[&x, &own[0], &own[1]], norm);
        self.transpose(&x, [0, 3, 1, 2])
    }
}
