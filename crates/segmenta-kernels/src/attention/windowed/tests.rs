use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::layout::{blocked, to_planar};
use crate::reference::{self, Measured, SHARE, assert_close};
use crate::threads::Threads;

fn values(len: usize, seed: u32, scale: f32) -> Vec<f32> {
    let unit = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
    (0..len).map(|i| (unit(i) - 0.5) * scale).collect()
}

/// A case: windows of `[rows, columns]` pixels, `grid` of them each way.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    heads: usize,
    depth: usize,
    width: usize,
    window: [usize; 2],
    grid: [usize; 2],
    shift: usize,
    /// Whether each window begins with a class token.
    token: bool,
}

impl Case {
    fn pixels(&self) -> usize {
        self.window[0] * self.window[1] + usize::from(self.token)
    }

    fn map(&self, channels: usize) -> MapShape {
        let pixels = self.pixels();
        MapShape::new(
            self.batch,
            self.heads * channels,
            self.grid[0],
            self.grid[1] * pixels,
        )
    }

    fn table(&self) -> MapShape {
        let [rows, columns] = self.window.map(|side| 2 * side - 1);
        MapShape::new(self.batch, self.heads, rows, columns)
    }

    fn tokens(&self) -> MapShape {
        MapShape::new(self.batch, self.heads, 1, 3)
    }

    /// Where the bias of a query and a key stands in a table, or behind it a token's, and what the roll takes off.
    fn bias(&self, window: [usize; 2], query: usize, key: usize) -> (usize, f32) {
        let [rows, columns] = self.window;
        if self.token {
            let entries = self.table().pixels();
            match (query, key) {
                (0, 0) => return (entries + 2, 0.0),
                (0, _) => return (entries, 0.0),
                (_, 0) => return (entries + 1, 0.0),
                _ => {}
            }
        }
        let lead = usize::from(self.token);
        let (query, key) = (query - lead, key - lead);
        let place = |pixel: usize| [pixel / columns, pixel % columns];
        let ([y, x], [key_y, key_x]) = (place(query), place(key));
        let entry = (y + rows - 1 - key_y) * (2 * columns - 1) + x + columns - 1 - key_x;
        // What was rolled to the end comes from the beginning.
        let rolled = |place: [usize; 2]| {
            [0, 1].map(|axis| {
                let end = self.grid[axis] * self.window[axis];
                self.shift > 0 && window[axis] * self.window[axis] + place[axis] >= end - self.shift
            })
        };
        let apart = rolled([y, x]) != rolled([key_y, key_x]);
        (entry, if apart { -100.0 } else { 0.0 })
    }

    /// Each picture, head and window in turn.
    fn each(&self, mut each: impl FnMut(usize, usize, [usize; 2])) {
        for (image, head) in (0..self.batch).flat_map(|n| (0..self.heads).map(move |h| (n, h))) {
            for at in 0..self.grid[0] * self.grid[1] {
                each(image, head, [at / self.grid[1], at % self.grid[1]]);
            }
        }
    }

    /// Where a planar map has each value of a window of a head, `[channel][pixel]`.
    fn places(&self, channels: usize, image: usize, head: usize, window: [usize; 2]) -> Vec<usize> {
        let (shape, pixels) = (self.map(channels), self.pixels());
        let first = (window[0] * self.grid[1] + window[1]) * pixels;
        let plane = |c: usize| (image * shape.channels + head * channels + c) * shape.pixels();
        (0..channels)
            .flat_map(|c| (0..pixels).map(move |p| plane(c) + first + p))
            .collect()
    }
}

fn case() -> impl Strategy<Value = Case> {
    let sides = ([1_usize..5, 1_usize..5], [1_usize..4, 1_usize..4]);
    let heads = (1_usize..3, 1_usize..4, 1_usize..20, 1_usize..20);
    let rolled = (0_usize..3, any::<bool>());
    (heads, sides, rolled).prop_map(
        |((batch, heads, depth, width), (window, grid), (shift, token))| {
            let shift = if token { 0 } else { shift };
            Case {
                batch,
                heads,
                depth,
                width,
                window,
                grid,
                shift: shift.min(window[0].min(window[1]) - 1),
                token,
            }
        },
    )
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn windows_attend_by_themselves(case in case()) {
        let shapes = [case.map(case.depth), case.map(case.depth), case.map(case.width)];
        let maps = [0, 1, 2].map(|i| values(shapes[i].batch_len(), i as u32 * 77, 3.0));
        let pixels = case.pixels();
        let own_token = values(case.tokens().planar_len(), 4, 4.0);
        let tokens = own_token.repeat(case.batch);
        let one = values(case.table().planar_len(), 9, 4.0);
        let table = one.repeat(case.batch);
        let dy = values(shapes[2].batch_len(), 5, 1.0);
        let mut expected = vec![Measured::default(); shapes[2].batch_len()];
        let mut of_maps = shapes.map(|shape| vec![Measured::default(); shape.batch_len()]);
        let mut of_table = vec![Measured::default(); table.len()];
        let mut of_tokens = vec![Measured::default(); tokens.len()];
        let scale = 1.0 / (case.depth as f64).sqrt();
        case.each(|image, head, window| {
            let places = [case.depth, case.depth, case.width].map(|c| case.places(c, image, head, window));
            let own = [0, 1, 2].map(|i| places[i].iter().map(|&at| maps[i][at]).collect::<Vec<_>>());
            let own = own.each_ref().map(|map| &map[..]);
            let entries = case.table().pixels();
            let pairs = || (0..pixels).flat_map(|q| (0..pixels).map(move |k| (q, k)));
            let biases: Vec<f32> = pairs()
                .map(|(q, k)| {
                    let (entry, apart) = case.bias(window, q, k);
                    let bias = match entry.checked_sub(entries) {
                        Some(bias) => own_token[head * 3 + bias],
                        None => one[head * entries + entry],
                    };
                    bias + apart
                })
                .collect();
            let y = reference::biased_attention(own, case.depth, scale, &biases);
            places[2].iter().zip(y).for_each(|(&at, y)| expected[at] = y);
            let own_dy: Vec<f32> = places[2].iter().map(|&at| dy[at]).collect();
            let (gradients, slopes) =
                reference::backward::biased_attention(own, case.depth, scale, &biases, &own_dy);
            for ((to, places), from) in of_maps.iter_mut().zip(&places).zip(gradients) {
                places.iter().zip(from).for_each(|(&at, value)| to[at] = value);
            }
            for ((q, k), slope) in pairs().zip(slopes) {
                let entry = case.bias(window, q, k).0;
                match entry.checked_sub(entries) {
                    Some(bias) => of_tokens[head * 3 + bias] += slope,
                    None => of_table[head * entries + entry] += slope,
                }
            }
        });
        for isa in Isa::available() {
            let sources = [0, 1, 2].map(|i| blocked(isa, shapes[i], &maps[i]));
            let source_table = blocked(isa, case.table(), &table);
            let source_tokens = blocked(isa, case.tokens(), &tokens);
            let source_dy = blocked(isa, shapes[2], &dy);
            let run = |threads| {
                let outputs = [shapes[2], shapes[0], shapes[1], shapes[2], case.table(), case.tokens()];
                let mut buffers = outputs.map(|shape| {
                    let mut buffer = Buffer::zeros(shape.blocked_len(isa));
                    buffer.fill(f32::NAN);
                    buffer
                });
                Threads::new(threads).unwrap().run(|| {
                    let maps = [0, 1, 2].map(|i| Map::whole(isa, shapes[i], &sources[i]));
                    let table = Map::whole(isa, case.table(), &source_table);
                    let tokens = Map::whole(isa, case.tokens(), &source_tokens);
                    let biases = (table, case.token.then_some(tokens));
                    let [y, q, k, v, t, own] = &mut buffers;
                    let output = &mut MapMut::whole(isa, shapes[2], y);
                    window_attention(maps, biases, [case.heads, case.shift], output);
                    let [mut q, mut k, mut v, mut t, mut own] =
                        [(1, q), (2, k), (3, v), (4, t), (5, own)].map(|(i, b)| MapMut::whole(isa, outputs[i], b));
                    let scratch = window_attention_gradient_scratch(shapes[0], case.table());
                    window_attention_gradient(
                        maps,
                        biases,
                        Map::whole(isa, shapes[2], &source_dy),
                        [case.heads, case.shift],
                        [&mut q, &mut k, &mut v],
                        (&mut t, case.token.then_some(&mut own)),
                        &mut vec![f32::NAN; scratch],
                    );
                });
                let planar = |(index, (buffer, shape)): (usize, (&Buffer, MapShape))| {
                    // Without a token its gradient is nobody's.
                    if !case.token && index == 5 {
                        return Vec::new();
                    }
                    assert!(buffer.iter().all(|x| x.is_finite()), "{isa}");
                    let mut planar = vec![0.0; shape.batch_len()];
                    to_planar(Map::whole(isa, shape, buffer), &mut planar);
                    planar
                };
                let all = buffers.iter().zip(outputs).enumerate();
                all.map(planar).collect::<Vec<_>>()
            };
            let got = run(1);
            prop_assert!(got == run(3), "{isa}");
            let [q, k, v] = &of_maps;
            for (name, got, expected) in [
                ("y", &got[0], &expected),
                ("queries", &got[1], q),
                ("keys", &got[2], k),
                ("values", &got[3], v),
                ("table", &got[4], &of_table),
                ("token", &got[5], &of_tokens),
            ] {
                if name == "token" && !case.token {
                    continue;
                }
                assert_close(&format!("{isa}, {name}"), got, expected, SHARE);
            }
        }
    }
}
