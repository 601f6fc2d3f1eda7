use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::layout::{blocked, to_planar};
use crate::reference::{self, SHARE, assert_close};
use crate::threads::Threads;

fn values(len: usize, seed: u32, scale: f32) -> Vec<f32> {
    let unit = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
    (0..len).map(|i| (unit(i) - 0.5) * scale).collect()
}

/// What a kernel gives for planar maps, with scratch memory full of what was there before.
fn run(
    isa: Isa,
    threads: usize,
    shapes: [MapShape; 3],
    maps: &[Vec<f32>; 3],
    scratch: usize,
    kernel: impl Fn([Map<'_>; 3], &mut MapMut<'_>, &mut [f32]) + Send + Sync,
) -> Vec<f32> {
    let [q, k, v] = [0, 1, 2].map(|i| blocked(isa, shapes[i], &maps[i]));
    let shape = MapShape {
        channels: shapes[2].channels,
        ..shapes[0]
    };
    let mut output = Buffer::zeros(shape.blocked_len(isa));
    output.fill(f32::NAN);
    let mut scratch = vec![f32::NAN; scratch];
    Threads::new(threads).unwrap().run(|| {
        let maps = [
            Map::whole(isa, shapes[0], &q),
            Map::whole(isa, shapes[1], &k),
            Map::whole(isa, shapes[2], &v),
        ];
        kernel(
            maps,
            &mut MapMut::whole(isa, shape, &mut output),
            &mut scratch,
        );
    });
    assert!(output.iter().all(|x| x.is_finite()), "{isa}");
    let mut got = vec![0.0; shape.batch * shape.planar_len()];
    to_planar(Map::whole(isa, shape, &output), &mut got);
    got
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn heads_of_any_shape(
        batch in 1_usize..3,
        heads in 1_usize..4,
        [depth, width] in [1_usize..40, 1_usize..40],
        queries in [1_usize..9, 1_usize..9],
        keys in [1_usize..9, 1_usize..9],
        scale in prop::sample::select(vec![1.0_f32, 20.0]),
    ) {
        let shapes = [
            MapShape::new(batch, heads * depth, queries[0], queries[1]),
            MapShape::new(batch, heads * depth, keys[0], keys[1]),
            MapShape::new(batch, heads * width, keys[0], keys[1]),
        ];
        let maps = [0, 1, 2].map(|i| {
            let shape = shapes[i];
            values(batch * shape.planar_len(), i as u32 * 77, scale)
        });
        let mut expected = Vec::new();
        for (image, head) in (0..batch).flat_map(|n| (0..heads).map(move |h| (n, h))) {
            let of = |i: usize, channels: usize| {
                let pixels = shapes[i].pixels();
                let start = image * shapes[i].planar_len() + head * channels * pixels;
                &maps[i][start..][..channels * pixels]
            };
            let each = 1.0 / (depth as f64).sqrt();
            expected.extend(reference::attention([of(0, depth), of(1, depth), of(2, width)], depth, each, false));
        }
        for isa in Isa::available() {
            let scratch = attention_scratch(isa, shapes, heads);
            let run = |threads| run(isa, threads, shapes, &maps, scratch, |maps, to, scratch| {
                attention(maps, heads, to, scratch);
            });
            let got = run(1);
            prop_assert!(got == run(3), "{isa}");
            assert_close(&isa.to_string(), &got, &expected, SHARE);
        }
    }

    #[test]
    fn positions_of_any_shape(
        batch in 1_usize..3,
        [depth, width] in [1_usize..40, 1_usize..40],
        size in [1_usize..9, 1_usize..9],
    ) {
        let compared = MapShape::new(batch, depth, size[0], size[1]);
        let shapes = [compared, compared, MapShape { channels: width, ..compared }];
        let maps = [0, 1, 2].map(|i| values(batch * shapes[i].planar_len(), i as u32 * 77, 3.0));
        let mut expected = Vec::new();
        for image in 0..batch {
            let [q, k, v] = [0, 1, 2].map(|i| {
                let len = shapes[i].planar_len();
                &maps[i][image * len..][..len]
            });
            // [channel][pixel], which lies in memory as [pixel][channel] and is read as it was.
            let mean = reference::attention([q, k, v], depth, 1.0, true);
            let pixels = compared.pixels();
            let by_pixel = (0..pixels).flat_map(|p| (0..width).map(move |c| c * pixels + p));
            expected.extend(by_pixel.map(|i| mean[i]));
        }
        for isa in Isa::available() {
            let scratch = position_attention_scratch(isa, shapes);
            let run = |threads| run(isa, threads, shapes, &maps, scratch, position_attention);
            let got = run(1);
            prop_assert!(got == run(3), "{isa}");
            assert_close(&isa.to_string(), &got, &expected, SHARE);
        }
    }
}

type Maps<'a> = [Map<'a>; 3];

/// The three gradients that a kernel gives for planar maps.
fn gradients(
    isa: Isa,
    threads: usize,
    shapes: [MapShape; 3],
    maps: &[Vec<f32>; 3],
    dy: &[f32],
    scratch: usize,
    kernel: impl Fn(Maps<'_>, Map<'_>, [&mut MapMut<'_>; 3], &mut [f32]) + Send + Sync,
) -> [Vec<f32>; 3] {
    let sources = [0, 1, 2].map(|i| blocked(isa, shapes[i], &maps[i]));
    let output = MapShape {
        channels: shapes[2].channels,
        ..shapes[0]
    };
    let dy = blocked(isa, output, dy);
    let mut found = shapes.map(|shape| {
        let mut buffer = Buffer::zeros(shape.blocked_len(isa));
        buffer.fill(f32::NAN);
        buffer
    });
    let mut scratch = vec![f32::NAN; scratch];
    Threads::new(threads).unwrap().run(|| {
        let maps = [0, 1, 2].map(|i| Map::whole(isa, shapes[i], &sources[i]));
        let [q, k, v] = &mut found;
        let [mut q, mut k, mut v] =
            [(0, q), (1, k), (2, v)].map(|(i, buffer)| MapMut::whole(isa, shapes[i], buffer));
        let dy = Map::whole(isa, output, &dy);
        kernel(maps, dy, [&mut q, &mut k, &mut v], &mut scratch);
    });
    let mut found = found.iter().zip(shapes).map(|(buffer, shape)| {
        assert!(buffer.iter().all(|x| x.is_finite()), "{isa}");
        let mut planar = vec![0.0; shape.batch * shape.planar_len()];
        to_planar(Map::whole(isa, shape, buffer), &mut planar);
        planar
    });
    [0, 1, 2].map(|_| found.next().unwrap())
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn gradients_of_heads(
        batch in 1_usize..3,
        heads in 1_usize..4,
        [depth, width] in [1_usize..40, 1_usize..40],
        // More than a part of the queries.
        queries in [1_usize..15, 1_usize..15],
        keys in [1_usize..9, 1_usize..9],
        scale in prop::sample::select(vec![1.0_f32, 8.0]),
    ) {
        let shapes = [
            MapShape::new(batch, heads * depth, queries[0], queries[1]),
            MapShape::new(batch, heads * depth, keys[0], keys[1]),
            MapShape::new(batch, heads * width, keys[0], keys[1]),
        ];
        let maps = [0, 1, 2].map(|i| {
            values(batch * shapes[i].planar_len(), i as u32 * 77, scale)
        });
        let dy = values(batch * heads * width * shapes[0].pixels(), 5, 1.0);
        let mut expected = [vec![], vec![], vec![]];
        for part in 0..batch * heads {
            let of = |map: &Vec<f32>| {
                let len = map.len() / (batch * heads);
                map[part * len..][..len].to_vec()
            };
            let [q, k, v] = maps.each_ref().map(of);
            let each = 1.0 / (depth as f64).sqrt();
            let found = reference::backward::attention([&q, &k, &v], depth, each, false, &of(&dy));
            for (all, found) in expected.iter_mut().zip(found) {
                all.extend(found);
            }
        }
        for isa in Isa::available() {
            let scratch = attention_gradient_scratch(isa, shapes, heads);
            let run = |threads| gradients(isa, threads, shapes, &maps, &dy, scratch, |maps, dy, to, scratch| {
                attention_gradient(maps, dy, heads, to, scratch);
            });
            let got = run(1);
            prop_assert!(got == run(3), "{isa}");
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_close(&format!("{isa}, map {i}"), got, expected, SHARE);
            }
        }
    }

    #[test]
    fn gradients_of_positions(
        batch in 1_usize..3,
        [depth, width] in [1_usize..40, 1_usize..40],
        size in [1_usize..12, 1_usize..12],
    ) {
        let compared = MapShape::new(batch, depth, size[0], size[1]);
        let shapes = [compared, compared, MapShape { channels: width, ..compared }];
        let maps = [0, 1, 2].map(|i| values(batch * shapes[i].planar_len(), i as u32 * 77, 3.0));
        // Weights are shares of all pairs: so large that gradients are of the size of 1.
        let pairs = compared.pixels().pow(2) as f32;
        let dy = values(batch * shapes[2].planar_len(), 5, pairs);
        let mut expected = [vec![], vec![], vec![]];
        for image in 0..batch {
            let of = |map: &[f32]| {
                let len = map.len() / batch;
                map[image * len..][..len].to_vec()
            };
            let [q, k, v] = maps.each_ref().map(|map| of(map));
            // What came out lies as [pixel][channel].
            let (dy, pixels) = (of(&dy), compared.pixels());
            let by_channel = (0..width).flat_map(|c| (0..pixels).map(move |p| p * width + c));
            let dy: Vec<f32> = by_channel.map(|i| dy[i]).collect();
            let found = reference::backward::attention([&q, &k, &v], depth, 1.0, true, &dy);
            for (all, found) in expected.iter_mut().zip(found) {
                all.extend(found);
            }
        }
        for isa in Isa::available() {
            let scratch = position_attention_gradient_scratch(isa, shapes);
            let run = |threads| {
                gradients(isa, threads, shapes, &maps, &dy, scratch, position_attention_gradient)
            };
            let got = run(1);
            prop_assert!(got == run(3), "{isa}");
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_close(&format!("{isa}, map {i}"), got, expected, SHARE);
            }
        }
    }
}

/// One key that fits far better than all others leaves its value alone; a NaN is not swallowed.
#[test]
fn a_key_that_fits_wins_and_a_nan_reaches_what_comes_out() {
    let shape = MapShape::new(1, 1, 1, 40);
    let mut keys = vec![0.0; 40];
    keys[33] = 1e4;
    let values: Vec<f32> = (0..40).map(|i| i as f32).collect();
    for isa in Isa::available() {
        let mut maps = [vec![1.0; 40], keys.clone(), values.clone()];
        let shapes = [shape; 3];
        let scratch = attention_scratch(isa, shapes, 1);
        let got = run(isa, 1, shapes, &maps, scratch, |m, to, s| {
            attention(m, 1, to, s);
        });
        assert_eq!(got, vec![33.0; 40], "{isa}");
        maps[0][7] = f32::NAN;
        let blocked_maps = [0, 1, 2].map(|i| blocked(isa, shape, &maps[i]));
        let [q, k, v] = [0, 1, 2].map(|i| Map::whole(isa, shape, &blocked_maps[i]));
        let mut output = Buffer::zeros(shape.blocked_len(isa));
        let mut scratch = vec![0.0; scratch];
        attention(
            [q, k, v],
            1,
            &mut MapMut::whole(isa, shape, &mut output),
            &mut scratch,
        );
        assert!(output[7 * isa.lanes()].is_nan(), "{isa}");
    }
}

/// The keys that each of a picture's queries sees, by what the documentation says of a mask `[channels][pixels]`.
fn seen(mask: &[f32], shape: MapShape, queries: usize, keys: usize) -> Vec<Vec<usize>> {
    let before = keys - shape.pixels();
    let sees = |query: usize, key: usize| {
        query >= shape.channels
            || key < before
            || mask[query * shape.pixels() + key - before] >= 0.0
    };
    let of = |query| {
        let some: Vec<usize> = (0..keys).filter(|&key| sees(query, key)).collect();
        if some.is_empty() {
            (0..keys).collect()
        } else {
            some
        }
    };
    (0..queries).map(of).collect()
}

/// Some pixels of a map `[channels][pixels]`.
fn chosen(map: &[f32], pixels: usize, which: &[usize]) -> Vec<f32> {
    let rows = map.chunks_exact(pixels);
    rows.flat_map(|row| which.iter().map(|&pixel| row[pixel]))
        .collect()
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    /// A query that does not see a key computes what it would if the key were not there.
    #[test]
    fn masked_heads_of_any_shape(
        batch in 1_usize..3,
        heads in 1_usize..3,
        [depth, width] in [1_usize..20, 1_usize..20],
        queries in [1_usize..9, 1_usize..9],
        keys in [1_usize..7, 1_usize..7],
        [masked, hidden] in [1_usize..65, 1_usize..37],
        shift in prop::sample::select(vec![-0.4_f32, 0.0, 0.6]),
    ) {
        let shapes = [
            MapShape::new(batch, heads * depth, queries[0], queries[1]),
            MapShape::new(batch, heads * depth, keys[0], keys[1]),
            MapShape::new(batch, heads * width, keys[0], keys[1]),
        ];
        let [count, others] = [queries, keys].map(|side| side[0] * side[1]);
        let of_mask = MapShape::new(batch, masked.min(count), 1, hidden.min(others));
        let output = MapShape { channels: heads * width, ..shapes[0] };
        let maps = [0, 1, 2].map(|i| values(shapes[i].batch_len(), i as u32 * 77, 4.0));
        let mask = values(of_mask.batch_len(), 9, 1.0).into_iter().map(|v| v + shift).collect::<Vec<_>>();
        let dy = values(output.batch_len(), 5, 1.0);
        let mut expected: [Vec<_>; 4] = [vec![], vec![], vec![], vec![]];
        for (image, head) in (0..batch).flat_map(|n| (0..heads).map(move |h| (n, h))) {
            let of = |map: &[f32]| {
                let len = map.len() / batch / heads;
                map[(image * heads + head) * len..][..len].to_vec()
            };
            let [q, k, v, dy] = [&maps[0], &maps[1], &maps[2], &dy].map(|map| of(map));
            let mask = &mask[image * of_mask.planar_len()..][..of_mask.planar_len()];
            let each = 1.0 / (depth as f64).sqrt();
            let lens = [width * count, depth * count, depth * others, width * others];
            let mut own = lens.map(|len| vec![reference::Measured::default(); len]);
            for (query, seen) in seen(mask, of_mask, count, others).iter().enumerate() {
                let q = chosen(&q, count, &[query]);
                let [k, v] = [&k, &v].map(|map| chosen(map, others, seen));
                let dy = chosen(&dy, count, &[query]);
                let y = reference::attention([&q, &k, &v], depth, each, false);
                let [dq, dk, dv] = reference::backward::attention([&q, &k, &v], depth, each, false, &dy);
                for (to, y) in own[0].iter_mut().skip(query).step_by(count).zip(y) {
                    *to += y;
                }
                for (to, d) in own[1].iter_mut().skip(query).step_by(count).zip(dq) {
                    *to += d;
                }
                for (to, from) in own[2..].iter_mut().zip([dk, dv]) {
                    for (i, d) in from.into_iter().enumerate() {
                        to[i / seen.len() * others + seen[i % seen.len()]] += d;
                    }
                }
            }
            for (all, own) in expected.iter_mut().zip(own) {
                all.extend(own);
            }
        }
        for isa in Isa::available() {
            let blocked_mask = blocked(isa, of_mask, &mask);
            let mask = Map::whole(isa, of_mask, &blocked_mask);
            let scratch = masked_attention_scratch(isa, shapes, of_mask, heads);
            let forward = |threads| run(isa, threads, shapes, &maps, scratch, |maps, to, scratch| {
                masked_attention(maps, mask, heads, to, scratch);
            });
            let got = forward(1);
            prop_assert!(got == forward(3), "{isa}");
            assert_close(&isa.to_string(), &got, &expected[0], SHARE);
            let scratch = masked_attention_gradient_scratch(isa, shapes, of_mask, heads);
            let back = |threads| gradients(isa, threads, shapes, &maps, &dy, scratch, |maps, dy, to, scratch| {
                masked_attention_gradient(maps, mask, dy, heads, to, scratch);
            });
            let got = back(1);
            prop_assert!(got == back(3), "{isa}");
            for (i, (got, expected)) in got.iter().zip(&expected[1..]).enumerate() {
                assert_close(&format!("{isa}, map {i}"), got, expected, SHARE);
            }
        }
    }
}
