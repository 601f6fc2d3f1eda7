//! A linear operation's gradient is its transpose: `Σ dy · f(x) = Σ f'(dy) · x` for any `x` and `dy`, with
//! `f` the reference. And by value, pixel after pixel, through inputs of a single one.

use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::layout::{blocked, to_planar};
use crate::reference::{self, Measured, SHARE, assert_close};
use crate::threads::Threads;

fn values(len: usize, seed: u32) -> Vec<f32> {
    let unit = |i: usize| {
        let mixed = (i as u32 + 1).wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
        (mixed ^ mixed >> 15).wrapping_mul(0x2C1B_3C6D) as f32 / u32::MAX as f32
    };
    (0..len).map(|i| 2.0 * unit(i) - 1.0).collect()
}

/// Runs a gradient kernel on blocked maps, and gives its result as planes.
fn run(
    isa: Isa,
    threads: usize,
    dy: &[f32],
    to: MapShape,
    from: MapShape,
    kernel: impl Fn(Map<'_>, &mut MapMut<'_>) + Sync,
) -> Vec<f32> {
    let dy = blocked(isa, to, dy);
    let mut dx = Buffer::zeros(from.blocked_len(isa));
    dx.fill(f32::NAN);
    Threads::new(threads).unwrap().run(|| {
        let dx = &mut MapMut::whole(isa, from, &mut dx);
        kernel(Map::whole(isa, to, &dy), dx);
    });
    let mut planar = vec![0.0; from.batch * from.planar_len()];
    to_planar(Map::whole(isa, from, &dx), &mut planar);
    planar
}

/// The gradient of `forward`, a function of one plane, by its response to each pixel.
fn transposed(
    pixels: usize,
    dy: &[f32],
    forward: &dyn Fn(&[f32]) -> Vec<Measured>,
) -> Vec<Measured> {
    let responses: Vec<Vec<Measured>> = (0..pixels)
        .map(|pixel| {
            let mut one = vec![0.0; pixels];
            one[pixel] = 1.0;
            forward(&one)
        })
        .collect();
    let of_plane = |dy: &[f32]| -> Vec<Measured> {
        let dot = |r: &Vec<Measured>| {
            r.iter()
                .zip(dy)
                .map(|(&r, &dy)| r * Measured::from(dy))
                .sum()
        };
        responses.iter().map(dot).collect()
    };
    dy.chunks_exact(responses[0].len())
        .flat_map(of_plane)
        .collect()
}

fn check(
    from: MapShape,
    to: MapShape,
    threads: usize,
    kernel: impl Fn(Map<'_>, &mut MapMut<'_>) + Sync,
    forward: impl Fn(&[f32]) -> Vec<Measured>,
) -> Result<(), TestCaseError> {
    let dy = values(to.batch * to.planar_len(), 1);
    let expected = transposed(from.pixels(), &dy, &forward);
    for isa in Isa::available() {
        let one = run(isa, 1, &dy, to, from, &kernel);
        assert_close(&isa.to_string(), &one, &expected, SHARE);
        let many = run(isa, threads, &dy, to, from, &kernel);
        prop_assert!(one == many, "{isa}: {threads} threads differ");
    }
    Ok(())
}

prop_compose! {
    fn sides()(side in [1_usize..14, 1_usize..14]) -> [usize; 2] { side }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn resizes(
        batch in 1_usize..3, channels in 1_usize..36, from in sides(), to in sides(),
        align_corners: bool, threads in 2_usize..4,
    ) {
        let shape = |[height, width]: [usize; 2]| MapShape::new(batch, channels, height, width);
        let forward = |x: &[f32]| reference::resize_bilinear(x, from, to, align_corners);
        let kernel = |dy: Map<'_>, dx: &mut MapMut<'_>| {
            resize_bilinear_gradient(dy, dx, align_corners);
        };
        check(shape(from), shape(to), threads, kernel, forward)?;
        let forward = |x: &[f32]| -> Vec<Measured> {
            reference::resize_nearest(x, from, to).into_iter().map(Measured::from).collect()
        };
        check(shape(from), shape(to), threads, resize_nearest_gradient, forward)?;

        let dy = values(batch * channels * to[0] * to[1], 1);
        let forward = |x: &[f32]| reference::resize_bilinear(x, from, to, align_corners);
        let expected = transposed(from[0] * from[1], &dy, &forward);
        for isa in Isa::available() {
            let mut dx = vec![f32::NAN; expected.len()];
            resize_bilinear_planar_gradient(isa, &dy, to, &mut dx, shape(from), align_corners);
            assert_close(&isa.to_string(), &dx, &expected, SHARE);
        }
    }

    #[test]
    fn mean_pools(
        batch in 1_usize..3, channels in 1_usize..36, size in sides(), grid in sides(),
        kernel in [1_usize..6, 1_usize..6], stride in [1_usize..5, 1_usize..5],
        halves in [0_usize..3, 0_usize..3], ceil_mode: bool, count_include_pad: bool,
        threads in 2_usize..4,
    ) {
        let shape = |[height, width]: [usize; 2]| MapShape::new(batch, channels, height, width);
        let forward = |x: &[f32]| reference::adaptive_avg_pool(x, size, grid);
        check(shape(size), shape(grid), threads, adaptive_avg_pool_gradient, forward)?;

        let padding = [halves[0].min(kernel[0] / 2), halves[1].min(kernel[1] / 2)];
        let window = PoolWindow { kernel, stride, padding, dilation: [1; 2], ceil_mode };
        if let Some(to) = window.output(shape(size)) {
            let plane = MapShape::new(1, 1, size[0], size[1]);
            let forward = |x: &[f32]| reference::avg_pool(window, count_include_pad, x, plane);
            let kernel = |dy: Map<'_>, dx: &mut MapMut<'_>| {
                avg_pool_gradient(dy, window, count_include_pad, dx);
            };
            check(shape(size), to, threads, kernel, forward)?;
        }
    }
}

/// `torch.nn.functional.interpolate(mode="bicubic")` of 0, 1, 4, 9, 16 by itself, in rows and in columns; and the gradient
/// as its transpose.
#[test]
fn bicubic_as_pytorch_has_it() {
    let squares: Vec<f32> = (0..5).map(|i| (i * i) as f32).collect();
    for isa in Isa::available() {
        for (new, expected) in [(3, &BICUBIC_3[..]), (8, &BICUBIC_8[..])] {
            for lies in [true, false] {
                let shape = |length| {
                    if lies {
                        MapShape::new(1, 1, 1, length)
                    } else {
                        MapShape::new(1, 1, length, 1)
                    }
                };
                let (from, to) = (shape(5), shape(new));
                let got = run(isa, 1, &squares, from, to, super::resize_bicubic);
                for (got, expected) in got.iter().zip(expected) {
                    assert!((got - expected).abs() < 1e-5, "{isa}: {got}, {expected}");
                }
                let dy = values(new, 3);
                let dx = run(isa, 1, &dy, to, from, super::resize_bicubic_gradient);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                let (there, back) = (dot(&got, &dy), dot(&squares, &dx));
                assert!((there - back).abs() < 1e-4, "{isa}: {there}, {back}");
            }
        }
    }
}

const BICUBIC_3: [f32; 3] = [0.148_148_15, 4.0, 14.074_074];
const BICUBIC_8: [f32; 8] = [
    -0.092_834_47,
    0.187_561_04,
    1.176_513_7,
    2.619_384_8,
    5.441_650_4,
    8.471_436,
    13.395_081,
    16.649_841,
];
