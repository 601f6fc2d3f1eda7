//! Pointwise non-linearities on vectors.

use crate::simd::Simd;

/// A pointwise non-linearity, as PyTorch defines it; what a kernel applies before it stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · relu6(x + 3) / 6`.
    Hardswish,
    /// `relu6(x + 3) / 6`.
    Hardsigmoid,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
}

impl Activation {
    /// Of one value: the reference for the vectors below.
    pub fn scalar(self, x: f32) -> f32 {
        let gate = |x: f32| (x + 3.0).clamp(0.0, 6.0) / 6.0;
        match self {
            Self::None => x,
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Hardswish => x * gate(x),
            Self::Hardsigmoid => gate(x),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// The range that a value is clamped to, for the non-linearities that do nothing else: what a
    /// kernel can apply to registers without a branch.
    #[inline(always)]
    pub(crate) fn bounds(self) -> Option<[f32; 2]> {
        match self {
            Self::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Relu6 => Some([0.0, 6.0]),
            Self::Hardswish | Self::Hardsigmoid | Self::Sigmoid => None,
        }
    }

    /// Applies itself to `vectors` vectors in memory.
    ///
    /// # Safety
    /// As for [`Simd`]; `at` points to that many vectors.
    #[inline(always)]
    pub(crate) unsafe fn in_place<S: Simd>(self, at: *mut f32, vectors: usize) {
        if let Some([low, high]) = self.bounds() {
            let (low, high) = (S::splat(low), S::splat(high));
            for i in 0..vectors {
                let at = at.add(i * S::LANES);
                S::store(at, clamp::<S>(S::load(at), low, high));
            }
        } else if self == Self::Sigmoid {
            // No short vector form; it stands on small maps only.
            let values = std::slice::from_raw_parts_mut(at, vectors * S::LANES);
            values.iter_mut().for_each(|x| *x = self.scalar(*x));
        } else {
            let (sixth, half) = (S::splat(1.0 / 6.0), S::splat(0.5));
            let (zero, one) = (S::zero(), S::splat(1.0));
            for i in 0..vectors {
                let at = at.add(i * S::LANES);
                let x = S::load(at);
                let gate = clamp::<S>(S::mul_add(x, sixth, half), zero, one);
                let swish = self == Self::Hardswish;
                S::store(at, if swish { S::mul(x, gate) } else { gate });
            }
        }
    }
}

/// `x` clamped; a NaN stays one, because the second operand of a minimum or maximum wins then.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn clamp<S: Simd>(x: S::V, low: S::V, high: S::V) -> S::V {
    S::min(high, S::max(low, x))
}
