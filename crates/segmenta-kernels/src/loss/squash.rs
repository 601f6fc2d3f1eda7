//! Probabilities of logits, for losses that read them more than once: softmax over classes, and the sigmoid of
//! each logit by itself.
//!
//! Contract: slices of one length, such as a stretch of each class's plane; every logit is read and every result
//! written once. Errors are those of [`mod@crate::exp`]: a few units in the last place. A NaN stays one, and makes
//! all classes of its pixel NaN.

use crate::exp::exp;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

use super::binary::ln_1p;

/// Softmax over classes: `logits` and `probabilities` have one slice a class, with the same pixels in each.
/// `log_sums` gets `log Σ e^x` of each pixel, so that `log_sum − x` is a class's cross entropy; empty to leave it.
///
/// # Panics
/// If the slices differ in number or length.
pub fn class_probabilities(
    isa: Isa,
    logits: &[&[f32]],
    probabilities: &mut [&mut [f32]],
    log_sums: &mut [f32],
) {
    assert_eq!(logits.len(), probabilities.len(), "as many classes");
    let len = logits.first().map_or(0, |x| x.len());
    let all = logits.iter().map(|x| x.len());
    for of in all.chain(probabilities.iter().map(|p| p.len())) {
        assert_eq!(of, len, "one value a pixel in each class");
    }
    assert!([0, len].contains(&log_sums.len()), "one sum a pixel");
    isa.run(Softmax {
        logits,
        probabilities,
        log_sums,
    });
}

struct Softmax<'a, 'b> {
    logits: &'a [&'a [f32]],
    probabilities: &'a mut [&'b mut [f32]],
    log_sums: &'a mut [f32],
}

/// Vectors worked on together.
const STRIP: usize = 4;

impl Kernel for Softmax<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let classes = self.logits.len();
        let len = self.logits.first().map_or(0, |x| x.len());
        let wide = STRIP * S::LANES;
        // The last pixels lie here, filled up to a whole strip.
        let mut held = vec![0.0_f32; classes * wide];
        let mut sums = [[0.0_f32; STRIP * 16]; 2];
        for first in (0..len).step_by(wide) {
            let count = wide.min(len - first);
            if count < wide {
                for (held, x) in held.chunks_exact_mut(wide).zip(self.logits) {
                    held[..count].copy_from_slice(&x[first..]);
                }
            }
            // SAFETY: a strip is whole vectors, of the slices where they have as many values left, else of `held`;
            // `sums` have room for the widest.
            unsafe {
                let is_whole = count == wide;
                let start = held.as_mut_ptr();
                let mut most = [S::splat(f32::NEG_INFINITY); STRIP];
                for class in 0..classes {
                    let from = if is_whole {
                        self.logits[class].as_ptr().add(first)
                    } else {
                        start.add(class * wide).cast_const()
                    };
                    for (v, most) in most.iter_mut().enumerate() {
                        let x = S::load(from.add(v * S::LANES));
                        *most = S::select_larger(x, *most, x, *most);
                    }
                }
                let mut sum = [S::zero(); STRIP];
                for class in 0..classes {
                    let (from, to) = if is_whole {
                        let to = self.probabilities[class].as_mut_ptr().add(first);
                        (self.logits[class].as_ptr().add(first), to)
                    } else {
                        let at = start.add(class * wide);
                        (at.cast_const(), at)
                    };
                    for v in 0..STRIP {
                        let x = S::load(from.add(v * S::LANES));
                        let e = exp::<S>(S::sub(x, most[v]));
                        sum[v] = S::add(sum[v], e);
                        S::store(to.add(v * S::LANES), e);
                    }
                }
                let share = sum.map(|sum| S::div(S::splat(1.0), sum));
                for class in 0..classes {
                    let to = if is_whole {
                        self.probabilities[class].as_mut_ptr().add(first)
                    } else {
                        start.add(class * wide)
                    };
                    for (v, &share) in share.iter().enumerate() {
                        let to = to.add(v * S::LANES);
                        S::store(to, S::mul(S::load(to), share));
                    }
                }
                for v in 0..STRIP {
                    S::store(sums[0].as_mut_ptr().add(v * S::LANES), most[v]);
                    S::store(sums[1].as_mut_ptr().add(v * S::LANES), sum[v]);
                }
            }
            if count < wide {
                for (held, p) in held.chunks_exact(wide).zip(self.probabilities.iter_mut()) {
                    p[first..].copy_from_slice(&held[..count]);
                }
            }
            if let Some(to) = self.log_sums.get_mut(first..first + count) {
                for (i, to) in to.iter_mut().enumerate() {
                    *to = (f64::from(sums[1][i]).ln() + f64::from(sums[0][i])) as f32;
                }
            }
        }
    }
}

/// `σ(x)` of each logit; with `softplus`, also `log(1 + e^x)`, which is `−log σ(−x)`; empty to leave it.
///
/// # Panics
/// If the slices differ in length.
pub fn sigmoids(isa: Isa, logits: &[f32], sigmoid: &mut [f32], softplus: &mut [f32]) {
    assert_eq!(logits.len(), sigmoid.len(), "one value a logit");
    assert!(
        [0, logits.len()].contains(&softplus.len()),
        "one value a logit"
    );
    isa.run(Sigmoids {
        logits,
        sigmoid,
        softplus,
    });
}

struct Sigmoids<'a> {
    logits: &'a [f32],
    sigmoid: &'a mut [f32],
    softplus: &'a mut [f32],
}

impl Kernel for Sigmoids<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (len, both) = (self.logits.len(), !self.softplus.is_empty());
        let whole = len / S::LANES * S::LANES;
        // SAFETY: whole vectors of slices of one length, and arrays that have room for the widest.
        unsafe {
            for at in (0..whole).step_by(S::LANES) {
                let x = S::load(self.logits.as_ptr().add(at));
                let [sigmoid, softplus] = squash::<S>(x, both);
                S::store(self.sigmoid.as_mut_ptr().add(at), sigmoid);
                if both {
                    S::store(self.softplus.as_mut_ptr().add(at), softplus);
                }
            }
            let mut rest = [[0.0_f32; 16]; 2];
            rest[0][..len - whole].copy_from_slice(&self.logits[whole..]);
            let [sigmoid, softplus] = squash::<S>(S::load(rest[0].as_ptr()), both);
            S::store(rest[0].as_mut_ptr(), sigmoid);
            S::store(rest[1].as_mut_ptr(), softplus);
            self.sigmoid[whole..].copy_from_slice(&rest[0][..len - whole]);
            if both {
                self.softplus[whole..].copy_from_slice(&rest[1][..len - whole]);
            }
        }
    }
}

/// Sigmoid and softplus by one exponential: of −|x|, which cannot overflow.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn squash<S: Simd>(x: S::V, both: bool) -> [S::V; 2] {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        let zero = S::zero();
        let small = exp::<S>(S::min(x, S::sub(zero, x)));
        let large = S::div(S::splat(1.0), S::add(S::splat(1.0), small));
        let sigmoid = S::select_larger(x, zero, large, S::mul(small, large));
        let softplus = if both {
            S::add(ln_1p::<S>(small), S::max(zero, x))
        } else {
            zero
        };
        [sigmoid, softplus]
    }
}
