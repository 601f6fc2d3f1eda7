//! Mean and variance in one pass, normalised and activated in a second.

use std::ops::Range;

use super::{BatchNorm, Cuts, padded};
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::isa::Kernel;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::Shared;
use crate::simd::Simd;

/// Pixels that are read, and read again about their mean, from the first cache.
const STRIP: usize = 256;
/// Sums that need not wait for each other.
const TOGETHER: usize = 4;

/// What a batch norm measured: kept for its gradient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Biased variance of each channel.
    pub variance: Vec<f32>,
    /// `1 / √(variance + ε)` of each channel.
    pub inverse_std: Vec<f32>,
    /// Values of each channel that were counted.
    pub count: usize,
}

impl Statistics {
    /// Those of evaluation, or of a frozen batch norm: not measured but given.
    pub fn fixed(mean: &[f32], variance: &[f32], epsilon: f32) -> Self {
        let inverse = |&v: &f32| (1.0 / (f64::from(v) + f64::from(epsilon)).sqrt()) as f32;
        Self {
            mean: mean.to_vec(),
            variance: variance.to_vec(),
            inverse_std: variance.iter().map(inverse).collect(),
            count: 0,
        }
    }

    /// Moves running statistics towards these, as PyTorch does: by `momentum` of the difference, the
    /// variance unbiased.
    ///
    /// # Panics
    /// If there are not as many values as channels, or these were not measured.
    pub fn update(&self, mean: &mut [f32], variance: &mut [f32], momentum: f32) {
        assert_eq!(mean.len(), self.mean.len(), "one value a channel");
        assert_eq!(variance.len(), self.mean.len(), "one value a channel");
        assert!(self.count > 1, "statistics of one value");
        let unbias = self.count as f64 / (self.count - 1) as f64;
        let step = |running: &mut f32, value: f64| {
            let momentum = f64::from(momentum);
            *running = (f64::from(*running) * (1.0 - momentum) + value * momentum) as f32;
        };
        for (channel, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
            step(mean, f64::from(self.mean[channel]));
            step(variance, f64::from(self.variance[channel]) * unbias);
        }
    }
}

/// Count, mean and sum of squares about it of some values of each lane.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: [f64; 16],
    squares: [f64; 16],
}

impl Moments {
    const NONE: Self = Self {
        count: 0.0,
        mean: [0.0; 16],
        squares: [0.0; 16],
    };

    fn add(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        let count = self.count + other.count;
        for lane in 0..16 {
            let apart = other.mean[lane] - self.mean[lane];
            self.mean[lane] += apart * other.count / count;
            self.squares[lane] +=
                other.squares[lane] + apart * apart * self.count * other.count / count;
        }
        self.count = count;
    }
}

impl BatchNorm<'_> {
    /// Normalises `x` by its own statistics, which it returns.
    ///
    /// # Panics
    /// If shapes differ, there are not as many scales and shifts as channels, or a channel has only one
    /// value, whose variance says nothing.
    pub fn train(&self, x: Map<'_>, y: &mut MapMut<'_>) -> Statistics {
        let (isa, shape) = (one_isa([x.isa(), y.isa()]), x.shape());
        assert_same(shape, y.shape());
        let count = shape.batch * shape.pixels();
        assert!(count > 1, "a batch norm in training of one value a channel");
        let (scale, shift) = (
            padded(isa, self.scale, shape.channels),
            padded(isa, self.shift, shape.channels),
        );
        let (lanes, cuts) = (isa.lanes(), Cuts::new(isa, shape));
        let (image_stride, plane) = (y.image_stride(), y.plane());
        let output = y.shared();

        let parts = cuts.parts();
        let mut moments = vec![Moments::NONE; cuts.blocks * parts];
        let moments = Each(moments.as_mut_ptr());
        // A vector each a block: mean, variance, inverse deviation.
        let mut measured = [(); 3].map(|()| Buffer::zeros(cuts.blocks * lanes));
        let [mean, variance, inverse] = &mut measured;
        let [mean, variance, inverse] = [mean, variance, inverse].map(|b| Shared::new(b));
        cuts.run(
            |block, index| {
                let (image, pixels) = cuts.part(index);
                let of_part = isa.run(Measure {
                    from: x.block(image, block),
                    pixels,
                });
                // SAFETY: one task has this block and part.
                unsafe { *moments.at(block * parts + index) = of_part }
            },
            |block| {
                let mut all = Moments::NONE;
                for index in 0..parts {
                    // SAFETY: the parts of this block are done.
                    all.add(unsafe { &*moments.at(block * parts + index) });
                }
                for lane in 0..lanes {
                    let biased = all.squares[lane] / all.count;
                    let deviation = (biased + f64::from(self.epsilon)).sqrt();
                    let at = block * lanes + lane;
                    // SAFETY: one task has this block.
                    unsafe {
                        *mean.at(at) = all.mean[lane] as f32;
                        *variance.at(at) = biased as f32;
                        *inverse.at(at) = (1.0 / deviation) as f32;
                    }
                }
            },
            |block, index| {
                let (image, pixels) = cuts.part(index);
                let at = block * lanes;
                // SAFETY: the block's statistics are done; pixels of a block are written by the one task
                // that has the part.
                let (mean, inverse, to) = unsafe {
                    let to = output.at(image * image_stride + block * plane);
                    (mean.at(at), inverse.at(at), to)
                };
                isa.run(Normalise {
                    from: x.block(image, block),
                    to,
                    pixels,
                    mean,
                    inverse,
                    scale: scale[at..].as_ptr(),
                    shift: shift[at..].as_ptr(),
                    activation: self.activation,
                });
            },
        );
        let [mean, variance, inverse_std] =
            measured.map(|values| values[..shape.channels].to_vec());
        Statistics {
            mean,
            variance,
            inverse_std,
            count,
        }
    }
}

/// Values that each are written by one task and read after it.
#[derive(Clone, Copy)]
struct Each(*mut Moments);

// SAFETY: whoever calls `at` sees to it that no two threads have one value.
unsafe impl Send for Each {}
// SAFETY: as above.
unsafe impl Sync for Each {}

impl Each {
    /// # Safety
    /// `index` is inside, and no other thread has it.
    unsafe fn at(self, index: usize) -> *mut Moments {
        // SAFETY: inside, as the caller vouches.
        unsafe { self.0.add(index) }
    }
}

/// Measures some pixels of one block of one picture.
struct Measure {
    from: *const f32,
    pixels: Range<usize>,
}

impl Kernel for Measure {
    type Output = Moments;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Moments {
        // SAFETY: the pixels of the part lie in the block that `from` points to.
        unsafe {
            let mut all = Moments::NONE;
            for start in self.pixels.clone().step_by(STRIP) {
                let count = STRIP.min(self.pixels.end - start);
                let from = self.from.add(start * S::LANES);
                let total = sum::<S>(from, count, S::zero(), false);
                let mean = S::mul(total, S::splat(1.0 / count as f32));
                // Of the differences, whose sum the rounding of the mean leaves small but not 0.
                let rest = sum::<S>(from, count, mean, false);
                let squares = sum::<S>(from, count, mean, true);
                let mut strip = Moments::NONE;
                strip.count = count as f64;
                let (mut means, mut rests, mut all_squares) = ([0.0; 16], [0.0; 16], [0.0; 16]);
                S::store(means.as_mut_ptr(), mean);
                S::store(rests.as_mut_ptr(), rest);
                S::store(all_squares.as_mut_ptr(), squares);
                for lane in 0..S::LANES {
                    let off = f64::from(rests[lane]) / strip.count;
                    strip.mean[lane] = f64::from(means[lane]) + off;
                    strip.squares[lane] =
                        (f64::from(all_squares[lane]) - off * off * strip.count).max(0.0);
                }
                all.add(&strip);
            }
            all
        }
    }
}

/// The sum of the differences of `count` vectors from `centre`, or of their squares.
///
/// # Safety
/// As for [`Simd`]; `count` vectors can be read from `from` on.
#[inline(always)]
unsafe fn sum<S: Simd>(from: *const f32, count: usize, centre: S::V, squared: bool) -> S::V {
    // SAFETY: every index is below `count`.
    unsafe {
        let mut sums = [S::zero(); TOGETHER];
        for i in 0..count / TOGETHER {
            for (t, sum) in sums.iter_mut().enumerate() {
                let x = S::load(from.add((i * TOGETHER + t) * S::LANES));
                let x = S::sub(x, centre);
                *sum = if squared {
                    S::mul_add(x, x, *sum)
                } else {
                    S::add(*sum, x)
                };
            }
        }
        for i in count / TOGETHER * TOGETHER..count {
            let x = S::sub(S::load(from.add(i * S::LANES)), centre);
            sums[0] = if squared {
                S::mul_add(x, x, sums[0])
            } else {
                S::add(sums[0], x)
            };
        }
        S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]))
    }
}

/// Normalises some pixels of one block of one picture.
struct Normalise {
    from: *const f32,
    to: *mut f32,
    pixels: Range<usize>,
    mean: *const f32,
    inverse: *const f32,
    scale: *const f32,
    shift: *const f32,
    activation: Activation,
}

impl Kernel for Normalise {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the pixels of the part lie in the blocks that `from` and `to` point to; the numbers are a
        // vector each.
        unsafe {
            // Small enough to stay in the first cache between the operation and the activation.
            const TOGETHER: usize = 64;
            let mean = S::load(self.mean);
            let slope = S::mul(S::load(self.scale), S::load(self.inverse));
            let shift = S::load(self.shift);
            for start in self.pixels.clone().step_by(TOGETHER) {
                let end = (start + TOGETHER).min(self.pixels.end);
                for pixel in start..end {
                    let x = S::load(self.from.add(pixel * S::LANES));
                    let y = S::mul_add(S::sub(x, mean), slope, shift);
                    S::store(self.to.add(pixel * S::LANES), y);
                }
                if self.activation != Activation::None {
                    let at = self.to.add(start * S::LANES);
                    self.activation.in_place::<S>(at, end - start);
                }
            }
        }
    }
}
