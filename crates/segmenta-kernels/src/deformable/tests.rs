use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::{blocked, to_planar};
use crate::threads::Threads;

fn values(len: usize, seed: u32, scale: f32) -> Vec<f32> {
    let unit = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
    (0..len).map(|i| (unit(i) - 0.5) * scale).collect()
}

/// As the documentation says, in f64: `[channels][queries]` of one picture.
fn reference(how: &Deformable, [v, offsets, logits]: [&[f64]; 3], channels: usize) -> Vec<f64> {
    let tokens = v.len() / channels;
    let (each, depth) = (how.each(), channels / how.heads);
    let starts: Vec<usize> = (0..=how.sizes.len())
        .map(|map| how.sizes[..map].iter().map(|s| s[0] * s[1]).sum())
        .collect();
    let mut y = vec![0.0; channels * tokens];
    for (head, query) in (0..how.heads).flat_map(|h| (0..tokens).map(move |q| (h, q))) {
        let own = (0..how.sizes.len())
            .find(|&map| query < starts[map + 1])
            .unwrap();
        let [rows, columns] = how.sizes[own];
        let place = query - starts[own];
        let share = [
            ((place % columns) as f64 + 0.5) / columns as f64,
            ((place / columns) as f64 + 0.5) / rows as f64,
        ];
        let logit = |i: usize| logits[(head * each + i) * tokens + query].exp();
        let sum: f64 = (0..each).map(logit).sum();
        for i in 0..each {
            let map = i / how.points;
            let [rows, columns] = how.sizes[map];
            let at = [0, 1].map(|axis| {
                let offset = offsets[(2 * (head * each + i) + axis) * tokens + query];
                share[axis] * [columns, rows][axis] as f64 + offset - 0.5
            });
            for (x, y_) in (0..columns).flat_map(|x| (0..rows).map(move |y| (x, y))) {
                let near = |at: f64, to: usize| (1.0 - (at - to as f64).abs()).max(0.0);
                let weight = near(at[0], x) * near(at[1], y_) * logit(i) / sum;
                for channel in head * depth..(head + 1) * depth {
                    let from = v[channel * tokens + starts[map] + y_ * columns + x];
                    y[channel * tokens + query] += weight * from;
                }
            }
        }
    }
    y
}

struct Case {
    how: Deformable,
    batch: usize,
    channels: usize,
    maps: [Vec<f32>; 3],
    dy: Vec<f32>,
}

impl Case {
    fn new(
        heads: usize,
        points: usize,
        depth: usize,
        batch: usize,
        sizes: Vec<[usize; 2]>,
    ) -> Self {
        let how = Deformable {
            heads,
            points,
            sizes,
        };
        let tokens: usize = how.sizes.iter().map(|s| s[0] * s[1]).sum();
        let (channels, all) = (heads * depth, heads * how.each());
        let maps = [(channels, 2.0), (2 * all, 5.0), (all, 4.0)];
        let mut seed = 0;
        let maps = maps.map(|(channels, scale)| {
            seed += 77;
            values(batch * channels * tokens, seed, scale)
        });
        let dy = values(batch * channels * tokens, 5, 1.0);
        Self {
            how,
            batch,
            channels,
            maps,
            dy,
        }
    }

    fn shapes(&self) -> [MapShape; 3] {
        let of = |len: usize, channels: usize| {
            MapShape::new(self.batch, channels, 1, len / channels / self.batch)
        };
        let all = self.how.heads * self.how.each();
        [
            of(self.maps[0].len(), self.channels),
            of(self.maps[1].len(), 2 * all),
            of(self.maps[2].len(), all),
        ]
    }

    /// Result and gradients on an instruction set.
    fn run(&self, isa: Isa, threads: usize) -> [Vec<f32>; 4] {
        let shapes = self.shapes();
        let blocks = [0, 1, 2].map(|i| blocked(isa, shapes[i], &self.maps[i]));
        let maps = [0, 1, 2].map(|i| Map::whole(isa, shapes[i], &blocks[i]));
        let dy = blocked(isa, shapes[0], &self.dy);
        let dy = Map::whole(isa, shapes[0], &dy);
        let to = [shapes[0], shapes[0], shapes[1], shapes[2]];
        let mut buffers = to.map(|shape| {
            let mut buffer = Buffer::zeros(shape.blocked_len(isa));
            buffer.fill(f32::NAN);
            buffer
        });
        Threads::new(threads).unwrap().run(|| {
            let [y, a, b, c] = &mut buffers;
            deformable_attention(maps, &self.how, &mut MapMut::whole(isa, to[0], y));
            let [mut a, mut b, mut c] =
                [(1, a), (2, b), (3, c)].map(|(i, buffer)| MapMut::whole(isa, to[i], buffer));
            deformable_attention_gradient(maps, &self.how, dy, [&mut a, &mut b, &mut c]);
        });
        let mut planes = buffers.iter().zip(to).map(|(buffer, shape)| {
            assert!(buffer.iter().all(|x| x.is_finite()), "{isa}");
            let mut planar = vec![0.0; shape.batch_len()];
            to_planar(Map::whole(isa, shape, buffer), &mut planar);
            planar
        });
        [0, 1, 2, 3].map(|_| planes.next().unwrap())
    }

    /// The inputs of one picture in f64.
    fn picture(&self, image: usize) -> [Vec<f64>; 3] {
        self.maps.each_ref().map(|map| {
            let len = map.len() / self.batch;
            let of_picture = &map[image * len..][..len];
            of_picture.iter().map(|&v| f64::from(v)).collect()
        })
    }
}

fn close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    let scale = expected.iter().fold(1e-3_f64, |most, v| most.max(v.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(*got) - expected).abs() / scale;
        assert!(off <= tolerance, "{what}[{i}] is {got}, not {expected}");
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(24))]

    #[test]
    fn points_of_any_maps(
        heads in 1_usize..4,
        points in 1_usize..4,
        depth in prop::sample::select(vec![1_usize, 5, 8, 16, 32]),
        batch in 1_usize..3,
        sizes in prop::collection::vec([1_usize..5, 1_usize..5], 1..4),
    ) {
        let case = Case::new(heads, points, depth, batch, sizes);
        let expected: Vec<f64> = (0..batch)
            .flat_map(|image| {
                let [v, offsets, logits] = &case.picture(image);
                reference(&case.how, [v, offsets, logits], case.channels)
            })
            .collect();
        for isa in Isa::available() {
            let got = case.run(isa, 1);
            prop_assert!(got == case.run(isa, 3), "{isa}");
            close(&isa.to_string(), &got[0], &expected, 2e-5);
        }
    }
}

/// Every gradient is the slope of `Σ y · dy` by differences.
#[test]
fn gradients_are_slopes() {
    let case = Case::new(2, 2, 3, 1, vec![[3, 4], [2, 2]]);
    let inputs = case.picture(0);
    let sum = |inputs: &[Vec<f64>; 3]| -> f64 {
        let [v, offsets, logits] = inputs;
        let y = reference(&case.how, [v, offsets, logits], case.channels);
        y.iter()
            .zip(&case.dy)
            .map(|(y, &dy)| y * f64::from(dy))
            .sum()
    };
    for isa in Isa::available() {
        let [_, gradients @ ..] = case.run(isa, 2);
        for (which, gradient) in gradients.iter().enumerate() {
            for (at, &got) in gradient.iter().enumerate() {
                let moved = |by: f64| {
                    let mut inputs = inputs.clone();
                    inputs[which][at] += by;
                    sum(&inputs)
                };
                // Small enough to stay between the same pixels in nearly all cases.
                let step = 1e-6;
                let expected = (moved(step) - moved(-step)) / (2.0 * step);
                assert!(
                    (f64::from(got) - expected).abs() < 1e-4,
                    "{isa}: {which}[{at}] is {got}, not {expected}"
                );
            }
        }
    }
}
