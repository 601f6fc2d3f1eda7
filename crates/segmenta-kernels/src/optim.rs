//! Steps of optimisers: one pass over a parameter, its gradient and its state.
//!
//! Contract: all slices have the length of the parameter. Each value is read once and written once; the gradient is
//! read only. A value's result depends on nothing but the values at its index, so results are the same bits for any
//! number of threads. Formulas and their order of operations are those of `torch.optim`. The gradient is taken as
//! [`Take`] says: scaled and clamped on the way, which costs no pass of its own.

use std::ops::Range;

use rayon::prelude::*;

use crate::activation::clamp;
use crate::isa::{Isa, Kernel};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// How a gradient is taken: `clamp(scale · g, −limit, limit)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Take {
    /// Factor, such as that of clipping by norm, or one over the batches accumulated.
    pub scale: f32,
    /// Largest absolute value; ∞ for any.
    pub limit: f32,
}

impl Default for Take {
    /// As it is.
    fn default() -> Self {
        Self {
            scale: 1.0,
            limit: f32::INFINITY,
        }
    }
}

/// `torch.optim.SGD` without momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f32,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f32,
}

/// `torch.optim.SGD` with momentum. State: `momentum_buffer`, zeros before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentumStep {
    /// Learning rate.
    pub lr: f32,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f32,
    /// What the buffer keeps.
    pub momentum: f32,
    /// What of the gradient enters the buffer: 1 − dampening, and 1 in the first step.
    pub enter: f32,
    /// Nesterov's momentum.
    pub nesterov: bool,
}

/// `torch.optim.Adam` and `AdamW`. State: `exp_avg`, `exp_avg_sq`, zeros before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean and of the mean square.
    pub betas: [f32; 2],
    /// Added to the root.
    pub eps: f32,
    /// Added to the gradient, times the parameter (Adam).
    pub weight_decay: f32,
    /// What the parameter is multiplied by first: 1 − lr · weight decay (AdamW), else 1.
    pub shrink: f32,
    /// `1 − β₁ᵗ` and `√(1 − β₂ᵗ)` in step `t`, from 1 on.
    pub corrections: [f32; 2],
}

/// `torch.optim.RMSprop`. State: `square_avg`; with `momentum` also `momentum_buffer`; if centred also `grad_avg`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsPropStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean square.
    pub alpha: f32,
    /// Added to the root.
    pub eps: f32,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f32,
    /// What the buffer keeps.
    pub momentum: f32,
}

/// What is done to one vector: the parameter comes first among the values, its state after it.
trait Rule<const N: usize>: Copy + Sync {
    /// New values; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn apply<S: Simd>(self, gradient: S::V, values: [S::V; N]) -> [S::V; N];
}

/// `a + weight · (b − a)`, as `torch.lerp`.
#[inline(always)]
unsafe fn lerp<S: Simd>(a: S::V, b: S::V, weight: f32) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe { S::mul_add(S::splat(weight), S::sub(b, a), a) }
}

impl Rule<1> for SgdStep {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, gradient: S::V, [x]: [S::V; 1]) -> [S::V; 1] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let g = S::mul_add(S::splat(self.weight_decay), x, gradient);
            [S::mul_add(S::splat(-self.lr), g, x)]
        }
    }
}

impl Rule<2> for MomentumStep {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, gradient: S::V, [x, buffer]: [S::V; 2]) -> [S::V; 2] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let momentum = S::splat(self.momentum);
            let g = S::mul_add(S::splat(self.weight_decay), x, gradient);
            let buffer = S::mul_add(momentum, buffer, S::mul(S::splat(self.enter), g));
            let step = if self.nesterov {
                S::mul_add(momentum, buffer, g)
            } else {
                buffer
            };
            [S::mul_add(S::splat(-self.lr), step, x), buffer]
        }
    }
}

impl Rule<3> for AdamStep {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, gradient: S::V, [x, mean, square]: [S::V; 3]) -> [S::V; 3] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let [beta, beta_square] = self.betas;
            let x = S::mul(S::splat(self.shrink), x);
            let g = S::mul_add(S::splat(self.weight_decay), x, gradient);
            let mean = lerp::<S>(mean, g, 1.0 - beta);
            let new = S::mul(S::splat(1.0 - beta_square), S::mul(g, g));
            let square = S::mul_add(S::splat(beta_square), square, new);
            let root = S::div(S::sqrt(square), S::splat(self.corrections[1]));
            let step = S::div(mean, S::add(root, S::splat(self.eps)));
            let rate = S::splat(-self.lr / self.corrections[0]);
            [S::mul_add(rate, step, x), mean, square]
        }
    }
}

impl RmsPropStep {
    /// The new mean square, and the gradient over its root; `mean` is subtracted if centred.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn normalise<S: Simd>(self, g: S::V, square: S::V, mean: Option<S::V>) -> [S::V; 2] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let new = S::mul(S::splat(1.0 - self.alpha), S::mul(g, g));
            let square = S::mul_add(S::splat(self.alpha), square, new);
            let variance = match mean {
                Some(mean) => S::sub(square, S::mul(mean, mean)),
                None => square,
            };
            let root = S::add(S::sqrt(variance), S::splat(self.eps));
            [square, S::div(g, root)]
        }
    }

    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn decayed<S: Simd>(self, gradient: S::V, x: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { S::mul_add(S::splat(self.weight_decay), x, gradient) }
    }

    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn moved<S: Simd>(self, x: S::V, step: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { S::mul_add(S::splat(-self.lr), step, x) }
    }
}

/// Plain, with momentum, centred, both: which state there is.
#[derive(Clone, Copy)]
struct Plain(RmsPropStep);
#[derive(Clone, Copy)]
struct WithMomentum(RmsPropStep);
#[derive(Clone, Copy)]
struct Centred(RmsPropStep);
#[derive(Clone, Copy)]
struct CentredWithMomentum(RmsPropStep);

impl Rule<2> for Plain {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, gradient: S::V, [x, square]: [S::V; 2]) -> [S::V; 2] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let g = self.0.decayed::<S>(gradient, x);
            let [square, step] = self.0.normalise::<S>(g, square, None);
            [self.0.moved::<S>(x, step), square]
        }
    }
}

impl Rule<3> for WithMomentum {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, gradient: S::V, [x, square, buffer]: [S::V; 3]) -> [S::V; 3] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let g = self.0.decayed::<S>(gradient, x);
            let [square, step] = self.0.normalise::<S>(g, square, None);
            let buffer = S::mul_add(S::splat(self.0.momentum), buffer, step);
            [self.0.moved::<S>(x, buffer), square, buffer]
        }
    }
}

impl Rule<3> for Centred {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, gradient: S::V, [x, square, mean]: [S::V; 3]) -> [S::V; 3] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let g = self.0.decayed::<S>(gradient, x);
            let mean = lerp::<S>(mean, g, 1.0 - self.0.alpha);
            let [square, step] = self.0.normalise::<S>(g, square, Some(mean));
            [self.0.moved::<S>(x, step), square, mean]
        }
    }
}

impl Rule<4> for CentredWithMomentum {
    #[inline(always)]
    unsafe fn apply<S: Simd>(
        self,
        gradient: S::V,
        [x, square, buffer, mean]: [S::V; 4],
    ) -> [S::V; 4] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let g = self.0.decayed::<S>(gradient, x);
            let mean = lerp::<S>(mean, g, 1.0 - self.0.alpha);
            let [square, step] = self.0.normalise::<S>(g, square, Some(mean));
            let buffer = S::mul_add(S::splat(self.0.momentum), buffer, step);
            [self.0.moved::<S>(x, buffer), square, buffer, mean]
        }
    }
}

/// The mean that moves towards what comes.
#[derive(Clone, Copy)]
struct MovingAverage {
    weight: f32,
}

impl Rule<1> for MovingAverage {
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, new: S::V, [average]: [S::V; 1]) -> [S::V; 1] {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { [lerp::<S>(average, new, self.weight)] }
    }
}

/// One thread's part.
struct Pass<'a, R, const N: usize> {
    rule: R,
    take: Take,
    gradient: &'a [f32],
    values: [Shared<'a>; N],
    range: Range<usize>,
}

impl<R: Rule<N>, const N: usize> Kernel for Pass<'_, R, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `step` checked that all slices have one length; the range is this task's, and its rest goes
        // through arrays that have room for the widest vector.
        unsafe {
            let Self {
                rule, take, range, ..
            } = self;
            let (scale, limit) = (S::splat(take.scale), S::splat(take.limit));
            let low = S::splat(-take.limit);
            let taken = |g: S::V| clamp::<S>(S::mul(g, scale), low, limit);
            let gradient = self.gradient.as_ptr();
            let whole = range.len() / S::LANES * S::LANES;
            for at in (range.start..range.start + whole).step_by(S::LANES) {
                let g = taken(S::load(gradient.add(at)));
                let new = rule.apply::<S>(g, self.values.map(|values| S::load(values.at(at))));
                for (values, new) in self.values.iter().zip(new) {
                    S::store(values.at(at), new);
                }
            }
            // The rest through vectors of their own, so that it is rounded like everything before it.
            let (start, rest) = (range.start + whole, range.len() - whole);
            if rest > 0 {
                let held = |from: *const f32| {
                    let mut held = [0.0_f32; 16];
                    from.copy_to_nonoverlapping(held.as_mut_ptr(), rest);
                    S::load(held.as_ptr())
                };
                let g = taken(held(gradient.add(start)));
                let new = rule.apply::<S>(g, self.values.map(|values| held(values.at(start))));
                for (values, new) in self.values.iter().zip(new) {
                    let mut held = [0.0_f32; 16];
                    S::store(held.as_mut_ptr(), new);
                    values
                        .at(start)
                        .copy_from_nonoverlapping(held.as_ptr(), rest);
                }
            }
        }
    }
}

/// Values that are worth a task of their own.
const LEAST: usize = 1 << 14;

fn step<R: Rule<N>, const N: usize>(
    isa: Isa,
    rule: R,
    take: Take,
    gradient: &[f32],
    values: [&mut [f32]; N],
) {
    for values in &values {
        assert_eq!(
            values.len(),
            gradient.len(),
            "one gradient and one state a value"
        );
    }
    let values = values.map(Shared::new);
    let cuts = parts(gradient.len(), LEAST);
    in_parallel(cuts, |cut| {
        // Parts are disjoint ranges of slices that have one length: what `Pass` reads and writes.
        isa.run(Pass {
            rule,
            take,
            gradient,
            values,
            range: part(gradient.len(), cuts, cut),
        });
    });
}

/// A step of SGD without momentum.
///
/// # Panics
/// If the slices differ in length.
pub fn sgd_step(isa: Isa, rule: SgdStep, take: Take, gradient: &[f32], parameter: &mut [f32]) {
    step(isa, rule, take, gradient, [parameter]);
}

/// A step of SGD with momentum.
///
/// # Panics
/// If the slices differ in length.
pub fn momentum_step(
    isa: Isa,
    rule: MomentumStep,
    take: Take,
    gradient: &[f32],
    parameter: &mut [f32],
    buffer: &mut [f32],
) {
    step(isa, rule, take, gradient, [parameter, buffer]);
}

/// A step of Adam or AdamW. State: mean and mean square.
///
/// # Panics
/// If the slices differ in length.
pub fn adam_step(
    isa: Isa,
    rule: AdamStep,
    take: Take,
    gradient: &[f32],
    parameter: &mut [f32],
    [mean, square]: [&mut [f32]; 2],
) {
    step(isa, rule, take, gradient, [parameter, mean, square]);
}

/// A step of RMSprop. State: mean square, then the momentum buffer and the mean, where there are any.
///
/// # Panics
/// If the slices differ in length.
pub fn rmsprop_step(
    isa: Isa,
    rule: RmsPropStep,
    take: Take,
    gradient: &[f32],
    parameter: &mut [f32],
    square: &mut [f32],
    buffer: Option<&mut [f32]>,
    mean: Option<&mut [f32]>,
) {
    match (buffer, mean) {
        (None, None) => step(isa, Plain(rule), take, gradient, [parameter, square]),
        (Some(buffer), None) => {
            step(
                isa,
                WithMomentum(rule),
                take,
                gradient,
                [parameter, square, buffer],
            );
        }
        (None, Some(mean)) => step(
            isa,
            Centred(rule),
            take,
            gradient,
            [parameter, square, mean],
        ),
        (Some(buffer), Some(mean)) => {
            let values = [parameter, square, buffer, mean];
            step(isa, CentredWithMomentum(rule), take, gradient, values);
        }
    }
}

/// `average += weight · (values − average)`: a moving average of parameters.
///
/// # Panics
/// If the slices differ in length.
pub fn moving_average(isa: Isa, weight: f32, values: &[f32], average: &mut [f32]) {
    step(
        isa,
        MovingAverage { weight },
        Take::default(),
        values,
        [average],
    );
}

/// The sum of squares: f32 within blocks of fixed length, f64 over the blocks in order, so that the bits do not
/// depend on threads.
pub fn sum_of_squares(isa: Isa, values: &[f32]) -> f64 {
    const BLOCK: usize = 4096;
    let sum = |block: &[f32]| isa.run(Squares(block));
    if values.len() < LEAST {
        return values.chunks(BLOCK).map(sum).sum();
    }
    let blocks: Vec<f64> = values
        .par_chunks(BLOCK)
        .with_min_len(LEAST / BLOCK)
        .map(sum)
        .collect();
    blocks.into_iter().sum()
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        // SAFETY: strips are whole vectors of the slice.
        unsafe {
            const WIDE: usize = 4;
            let mut sums = [S::zero(); WIDE];
            let strips = self.0.chunks_exact(WIDE * S::LANES);
            let rest: f64 = strips
                .remainder()
                .iter()
                .map(|&x| f64::from(x) * f64::from(x))
                .sum();
            for strip in strips {
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = S::load(strip.as_ptr().add(i * S::LANES));
                    *sum = S::mul_add(x, x, *sum);
                }
            }
            let mut lanes = [0.0_f32; 16];
            let mut total = rest;
            for sum in sums {
                S::store(lanes.as_mut_ptr(), sum);
                total += lanes[..S::LANES].iter().map(|&x| f64::from(x)).sum::<f64>();
            }
            total
        }
    }
}

#[cfg(test)]
mod tests;
