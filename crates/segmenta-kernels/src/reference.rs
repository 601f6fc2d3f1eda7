//! The same operations on planar maps, written to be obviously right: sums in f64, one loop an
//! index. What the fast paths are tested against.

use crate::conv::{ConvSpec, Kernel2d};
use crate::map::MapShape;
use crate::pool::PoolSpec;

/// Convolution of a planar batch, plus bias.
///
/// # Panics
/// If the window does not fit the padded input.
pub fn convolution(
    spec: &ConvSpec,
    kernel: Kernel2d<'_>,
    input: &[f32],
    shape: MapShape,
) -> (Vec<f32>, MapShape) {
    let out = spec.output(shape).expect("a window that fits");
    let (ins, outs) = (
        spec.in_channels / spec.groups,
        spec.out_channels / spec.groups,
    );
    let at = |n: usize, c: usize, y: isize, x: isize| {
        let inside =
            (0..shape.height as isize).contains(&y) && (0..shape.width as isize).contains(&x);
        if !inside {
            return 0.0;
        }
        let index =
            ((n * shape.channels + c) * shape.height + y as usize) * shape.width + x as usize;
        f64::from(input[index])
    };
    let [kh, kw] = spec.kernel;
    let mut values = Vec::with_capacity(out.batch * out.planar_len());
    for (n, o) in (0..out.batch).flat_map(|n| (0..out.channels).map(move |o| (n, o))) {
        for (oy, ox) in (0..out.height).flat_map(|y| (0..out.width).map(move |x| (y, x))) {
            let mut sum = kernel.bias.get(o).map_or(0.0, |&b| f64::from(b));
            for c in 0..ins {
                for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
                    let y = (oy * spec.stride[0] + ky * spec.dilation[0]) as isize
                        - spec.padding[0] as isize;
                    let x = (ox * spec.stride[1] + kx * spec.dilation[1]) as isize
                        - spec.padding[1] as isize;
                    let weight = kernel.weights[((o * ins + c) * kh + ky) * kw + kx];
                    sum += f64::from(weight) * at(n, o / outs * ins + c, y, x);
                }
            }
            values.push(sum as f32);
        }
    }
    (values, out)
}

/// Maximum over a moving window of a planar batch.
///
/// # Panics
/// If the window does not fit the padded input.
pub fn max_pool(spec: PoolSpec, input: &[f32], shape: MapShape) -> (Vec<f32>, MapShape) {
    let out = spec.output(shape).expect("a window that fits");
    let mut values = Vec::with_capacity(out.batch * out.planar_len());
    for plane in input.chunks_exact(shape.pixels()) {
        for (oy, ox) in (0..out.height).flat_map(|y| (0..out.width).map(move |x| (y, x))) {
            let mut largest = f32::NEG_INFINITY;
            for (ky, kx) in (0..spec.kernel).flat_map(|y| (0..spec.kernel).map(move |x| (y, x))) {
                let y = (oy * spec.stride + ky).wrapping_sub(spec.padding);
                let x = (ox * spec.stride + kx).wrapping_sub(spec.padding);
                if y < shape.height && x < shape.width {
                    largest = largest.max(plane[y * shape.width + x]);
                }
            }
            values.push(largest);
        }
    }
    (values, out)
}

/// Bilinear resize of planes of `from` (height, width) to `to`.
pub fn resize_bilinear(
    input: &[f32],
    from: [usize; 2],
    to: [usize; 2],
    align_corners: bool,
) -> Vec<f32> {
    let position = |i: usize, axis: usize| {
        let (from, to) = (from[axis] as f64, to[axis] as f64);
        let position = if align_corners {
            i as f64
                * if to > 1.0 {
                    (from - 1.0) / (to - 1.0)
                } else {
                    0.0
                }
        } else {
            ((i as f64 + 0.5) * from / to - 0.5).max(0.0)
        };
        let low = (position as usize).min(from as usize - 1);
        (low, (low + 1).min(from as usize - 1), position - low as f64)
    };
    let mut values = Vec::new();
    for plane in input.chunks_exact(from[0] * from[1]) {
        let at = |y: usize, x: usize| f64::from(plane[y * from[1] + x]);
        for y in 0..to[0] {
            let (y0, y1, fy) = position(y, 0);
            for x in 0..to[1] {
                let (x0, x1, fx) = position(x, 1);
                let top = at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx;
                let bottom = at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx;
                values.push((top * (1.0 - fy) + bottom * fy) as f32);
            }
        }
    }
    values
}
