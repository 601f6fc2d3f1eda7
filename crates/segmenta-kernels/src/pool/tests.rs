//! Every pooling, on every instruction set of this machine, against the reference.

use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::{blocked, to_planar};
use crate::map::{Map, MapMut};
use crate::reference::{self, assert_close};
use crate::threads::Threads;

/// Deterministic values in −1..1; few of them, so that there are ties.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 58) as f32 / 32.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// What a kernel writes, planar, with as many threads.
fn run(
    isa: Isa,
    threads: usize,
    input: &[f32],
    from: MapShape,
    to: MapShape,
    kernel: impl FnOnce(Map<'_>, &mut MapMut<'_>) + Send,
) -> Vec<f32> {
    let input = blocked(isa, from, input);
    let mut output = Buffer::zeros(to.blocked_len(isa));
    // What was there before must not matter.
    output.fill(f32::NAN);
    Threads::new(threads).unwrap().run(|| {
        let mut output = MapMut::whole(isa, to, &mut output);
        kernel(Map::whole(isa, from, &input), &mut output);
    });
    let mut planar = vec![0.0; to.batch * to.planar_len()];
    to_planar(Map::whole(isa, to, &output), &mut planar);
    planar
}

/// Indices in blocked layout as planar ones.
fn planar_indices(isa: Isa, shape: MapShape, indices: &[u32]) -> Vec<u32> {
    let mut planar = vec![0.0; shape.batch * shape.planar_len()];
    let bits: Vec<f32> = indices.iter().map(|&i| f32::from_bits(i)).collect();
    to_planar(Map::whole(isa, shape, &bits), &mut planar);
    planar.into_iter().map(f32::to_bits).collect()
}

/// Equal, a NaN to a NaN.
fn same(a: &[f32], b: &[f32]) -> bool {
    let pairs = a.iter().zip(b);
    a.len() == b.len() && { pairs }.all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

/// Of the mean of the absolute values, what the contract of means allows.
fn share(shape: MapShape) -> f64 {
    let sides = shape.height as f64 / 4.0 + shape.width as f64 / 2.0;
    f64::from(f32::EPSILON) / 2.0 * (sides + 8.0)
}

prop_compose! {
    fn windows(dilated: bool)(
        kernel in [1_usize..6, 1_usize..6],
        stride in [1_usize..5, 1_usize..5],
        halves in [0_usize..3, 0_usize..3],
        dilation in if dilated { [1_usize..4, 1_usize..4] } else { [1..2, 1..2] },
        ceil_mode: bool,
    ) -> PoolWindow {
        let padding = [halves[0].min(kernel[0] / 2), halves[1].min(kernel[1] / 2)];
        PoolWindow { kernel, stride, padding, dilation, ceil_mode }
    }
}

prop_compose! {
    fn shapes()(
        batch in 1_usize..3,
        channels in 1_usize..36,
        height in 1_usize..24,
        width in 1_usize..24,
    ) -> MapShape {
        MapShape::new(batch, channels, height, width)
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(96))]

    #[test]
    fn maxima_and_where_they_are(
        window in windows(true), shape in shapes(), threads in 1_usize..4, nans in 0_usize..4,
    ) {
        let Some(out) = window.output(shape) else { return Ok(()) };
        let mut input = values(shape.batch * shape.planar_len(), 5);
        let len = input.len();
        for i in 0..nans {
            input[i * 7919 % len] = f32::NAN;
        }
        let (expected, where_) = reference::max_pool_with_indices(window, &input, shape);
        for isa in Isa::available() {
            let got = run(isa, threads, &input, shape, out, |x, to| max_pool(x, window, to));
            prop_assert!(same(&got, &expected), "{isa}: {got:?}, expected {expected:?}");
            let mut indices = vec![u32::MAX; out.blocked_len(isa)];
            let got = run(isa, threads, &input, shape, out, |x, to| {
                max_pool_with_indices(x, window, to, &mut indices);
            });
            prop_assert!(same(&got, &expected), "{isa}, with indices");
            prop_assert_eq!(&planar_indices(isa, out, &indices), &where_, "{}", isa);
        }
    }

    #[test]
    fn means_of_windows(
        window in windows(false), shape in shapes(), threads in 1_usize..4, padding_counts: bool,
    ) {
        let Some(out) = window.output(shape) else { return Ok(()) };
        let input = values(shape.batch * shape.planar_len(), 6);
        let expected = reference::avg_pool(window, padding_counts, &input, shape);
        for isa in Isa::available() {
            let got = run(isa, threads, &input, shape, out, |x, to| {
                avg_pool(x, window, padding_counts, to);
            });
            assert_close(&isa.to_string(), &got, &expected, share(shape));
        }
    }

    #[test]
    fn means_of_a_grid(
        shape in shapes(), size in [1_usize..30, 1_usize..30], threads in 1_usize..4,
    ) {
        let input = values(shape.batch * shape.planar_len(), 7);
        let out = MapShape { height: size[0], width: size[1], ..shape };
        let expected = reference::adaptive_avg_pool(&input, [shape.height, shape.width], size);
        for isa in Isa::available() {
            let got = run(isa, threads, &input, shape, out, adaptive_avg_pool);
            assert_close(&isa.to_string(), &got, &expected, share(shape));
        }
    }

    #[test]
    fn unpooled(window in windows(false), shape in shapes(), threads in 1_usize..4) {
        let Some(out) = window.output(shape) else { return Ok(()) };
        let input = values(shape.batch * shape.planar_len(), 8);
        let (pooled, where_) = reference::max_pool_with_indices(window, &input, shape);
        let size = [shape.height, shape.width];
        let expected = reference::max_unpool(&pooled, &where_, [out.height, out.width], size);
        for isa in Isa::available() {
            let mut indices = vec![0; out.blocked_len(isa)];
            let pooled = run(isa, threads, &input, shape, out, |x, to| {
                max_pool_with_indices(x, window, to, &mut indices);
            });
            let got = run(isa, threads, &pooled, out, shape, |x, to| max_unpool(x, &indices, to));
            prop_assert!(same(&got, &expected), "{isa}: {got:?}, expected {expected:?}");
        }
    }
}

/// A mean over many pixels keeps the error that the contract states.
#[test]
fn mean_of_a_large_map() {
    let shape = MapShape::new(1, 3, 300, 500);
    let input: Vec<f32> = values(3 * 300 * 500, 9).iter().map(|x| x + 1.1).collect();
    let out = MapShape::new(1, 3, 1, 1);
    let bound = f32::EPSILON / 2.0 * (300.0 / 4.0 + 500.0 / 2.0 + 8.0);
    for isa in Isa::available() {
        let got = run(isa, 2, &input, shape, out, global_avg_pool);
        for (plane, got) in input.chunks(300 * 500).zip(got) {
            let expected = plane.iter().map(|&x| f64::from(x)).sum::<f64>() / 150_000.0;
            let error = (f64::from(got) - expected).abs();
            assert!(
                error <= f64::from(bound) * expected,
                "{isa}: {got}, {expected}"
            );
        }
    }
}

#[test]
fn means_do_not_depend_on_the_number_of_threads() {
    let shape = MapShape::new(1, 5, 67, 31);
    let input = values(shape.planar_len(), 10);
    let out = MapShape::new(1, 5, 40, 7);
    for isa in Isa::available() {
        let one = run(isa, 1, &input, shape, out, adaptive_avg_pool);
        for threads in [2, 5] {
            let many = run(isa, threads, &input, shape, out, adaptive_avg_pool);
            assert!(one == many, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn nan_reaches_means() {
    let shape = MapShape::new(1, 2, 2, 2);
    let input = [1.0, f32::NAN, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0];
    for isa in Isa::available() {
        let out = MapShape::new(1, 2, 1, 1);
        let got = run(isa, 1, &input, shape, out, global_avg_pool);
        assert!(got[0].is_nan() && got[1] == 2.5, "{isa}: {got:?}");
    }
}

/// Any order of indices is right, not only the one of a pooling: the last pixel's value is kept.
#[test]
fn unpooling_takes_indices_in_any_order() {
    let (from, to) = (MapShape::new(1, 1, 3, 1), MapShape::new(1, 1, 40, 1));
    for isa in Isa::available() {
        let mut indices = vec![0; from.blocked_len(isa)];
        for (pixel, index) in [39, 2, 39].into_iter().enumerate() {
            indices[pixel * isa.lanes()..][..isa.lanes()].fill(index);
        }
        let got = run(isa, 4, &[1.0, 2.0, 3.0], from, to, |x, to| {
            max_unpool(x, &indices, to);
        });
        let mut expected = vec![0.0; 40];
        (expected[39], expected[2]) = (3.0, 2.0);
        assert_eq!(got, expected, "{isa}");
    }
}

#[test]
#[should_panic(expected = "index 4 in a plane of 4 pixels")]
fn an_index_outside_the_output_is_refused() {
    let shape = MapShape::new(1, 1, 2, 2);
    let isa = Isa::fastest();
    let indices = vec![4; shape.blocked_len(isa)];
    run(isa, 1, &[1.0; 4], shape, shape, |x, to| {
        max_unpool(x, &indices, to);
    });
}

#[test]
fn sizes_are_pytorchs() {
    let side = |size: usize, kernel: usize, stride: usize, padding: usize, ceil_mode: bool| {
        let window = PoolWindow {
            stride: [stride; 2],
            padding: [padding; 2],
            ceil_mode,
            ..PoolWindow::square(kernel)
        };
        window
            .output(MapShape::new(1, 1, size, size))
            .map(|out| out.width)
    };
    assert_eq!(side(7, 2, 2, 0, false), Some(3));
    assert_eq!(side(7, 2, 2, 0, true), Some(4));
    assert_eq!(side(2, 3, 2, 0, true), Some(1));
    assert_eq!(side(2, 3, 2, 0, false), None);
    // The fourth window would start in the padding after the map.
    assert_eq!(side(5, 2, 2, 1, true), Some(3));
    assert_eq!(side(5, 2, 2, 2, false), None);
}

proptest! {
    #![proptest_config(segmenta_properties::cases(64))]

    /// Windows that overlap add; what is put to a pixel is read from there.
    #[test]
    fn gradients_go_where_the_maxima_were(
        window in windows(false), shape in shapes(), threads in 2_usize..4,
    ) {
        let Some(out) = window.output(shape) else {
            return Ok(());
        };
        let x = values(shape.batch * shape.planar_len(), 3);
        let dy = values(out.batch * out.planar_len(), 4);
        let (_, found) = reference::max_pool_with_indices(window, &x, shape);
        let mut expected = vec![0.0; x.len()];
        for (i, (&dy, &index)) in dy.iter().zip(&found).enumerate() {
            expected[i / out.pixels() * shape.pixels() + index as usize] += dy;
        }
        let back = |i: usize| x[i / out.pixels() * shape.pixels() + found[i] as usize];
        let gathered: Vec<f32> = (0..dy.len()).map(back).collect();
        for isa in Isa::available() {
            let mut indices = vec![0; out.blocked_len(isa)];
            let whole = blocked(isa, shape, &x);
            let mut pooled = Buffer::zeros(out.blocked_len(isa));
            max_pool_with_indices(
                Map::whole(isa, shape, &whole),
                window,
                &mut MapMut::whole(isa, out, &mut pooled),
                &mut indices,
            );
            for threads in [1, threads] {
                let got = run(isa, threads, &dy, out, shape, |dy, dx| {
                    max_pool_gradient(dy, &indices, dx);
                });
                prop_assert_eq!(&got, &expected, "{}", isa);
                let got = run(isa, threads, &x, shape, out, |dy, dx| {
                    max_unpool_gradient(dy, &indices, dx);
                });
                prop_assert_eq!(&got, &gathered, "{}", isa);
            }
        }
    }
}
