//! Gradients of pointwise non-linearities.
//!
//! Contract: `dx = dy · f'(x)`, with PyTorch's choice where there is no derivative: 0 at both ends of a
//! clamp, so that what is clamped passes nothing on, not even a NaN made of ∞ · 0. Error: as that of the
//! non-linearity itself, relative to the largest of its derivative's terms (1e-6).

use crate::activation::{Activation, clamp, normal_of, tanh};
use crate::exp::exp;
use crate::isa::Kernel;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::in_parallel;
use crate::simd::Simd;

/// The derivative of one non-linearity.
pub(crate) trait Derivative {
    /// `dy · f'(x)`.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V;
}

/// Evaluates an expression with `$name` the derivative of `$activation`, so that a loop is compiled for
/// each of them.
macro_rules! with_derivative {
    ($activation:expr, $name:ident => $expression:expr) => {
        match $activation {
            Activation::None => with_derivative!(@ One, $name => $expression),
            Activation::Relu => with_derivative!(@ Relu, $name => $expression),
            Activation::Relu6 => with_derivative!(@ Relu6, $name => $expression),
            Activation::Hardswish => with_derivative!(@ Hardswish, $name => $expression),
            Activation::Hardsigmoid => with_derivative!(@ Hardsigmoid, $name => $expression),
            Activation::Sigmoid => with_derivative!(@ Sigmoid, $name => $expression),
            Activation::Silu => with_derivative!(@ Silu, $name => $expression),
            Activation::Gelu => with_derivative!(@ Gelu, $name => $expression),
            Activation::Tanh => with_derivative!(@ Tanh, $name => $expression),
        }
    };
    (@ $type:ident, $name:ident => $expression:expr) => {{
        type $name = $crate::derivative::$type;
        $expression
    }};
}
pub(crate) use with_derivative;

pub(crate) struct One;
pub(crate) struct Relu;
pub(crate) struct Relu6;
pub(crate) struct Hardswish;
pub(crate) struct Hardsigmoid;
pub(crate) struct Sigmoid;
pub(crate) struct Silu;
pub(crate) struct Gelu;
pub(crate) struct Tanh;

impl Derivative for One {
    #[inline(always)]
    unsafe fn times<S: Simd>(_: S::V, dy: S::V) -> S::V {
        dy
    }
}

impl Derivative for Relu {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { S::select_larger(x, S::zero(), dy, S::zero()) }
    }
}

impl Derivative for Relu6 {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { between::<S>(x, 0.0, 6.0, dy) }
    }
}

impl Derivative for Hardsigmoid {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { between::<S>(x, -3.0, 3.0, S::mul(dy, S::splat(1.0 / 6.0))) }
    }
}

impl Derivative for Hardswish {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let slope = S::mul_add(x, S::splat(1.0 / 3.0), S::splat(0.5));
            let inside = S::select_larger(S::splat(3.0), x, S::mul(dy, slope), dy);
            S::select_larger(x, S::splat(-3.0), inside, S::zero())
        }
    }
}

impl Derivative for Sigmoid {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let y = sigmoid::<S>(x);
            S::mul(dy, S::mul(y, S::sub(S::splat(1.0), y)))
        }
    }
}

impl Derivative for Silu {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            // Beyond, both factors of `x (1 - y)` or of `y x` are 0 and ∞ at worst.
            let x = clamp::<S>(x, S::splat(-88.0), S::splat(88.0));
            let (y, one) = (sigmoid::<S>(x), S::splat(1.0));
            let slope = S::mul(y, S::mul_add(x, S::sub(one, y), one));
            S::mul(dy, slope)
        }
    }
}

impl Derivative for Gelu {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            // 1 / √(2π). Beyond, the density is 0.
            const DENSITY: f32 = 0.398_942_3;
            let x = clamp::<S>(x, S::splat(-20.0), S::splat(20.0));
            let (below, bell) = normal_of::<S>(x);
            S::mul(dy, S::mul_add(S::mul(x, S::splat(DENSITY)), bell, below))
        }
    }
}

impl Derivative for Tanh {
    #[inline(always)]
    unsafe fn times<S: Simd>(x: S::V, dy: S::V) -> S::V {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let y = tanh::<S>(x);
            S::mul(dy, S::sub(S::splat(1.0), S::mul(y, y)))
        }
    }
}

/// `yes` where `low < x < high`, else 0.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn between<S: Simd>(x: S::V, low: f32, high: f32, yes: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        let below = S::select_larger(S::splat(high), x, yes, S::zero());
        S::select_larger(x, S::splat(low), below, S::zero())
    }
}

/// `1 / (1 + e^−x)`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::zero(), x))))
    }
}

/// `dx = dy · f'(x)`, where `x` is what the non-linearity read; for those that only clamp (ReLU, ReLU6)
/// what it wrote does as well.
///
/// # Panics
/// If the shapes differ.
pub fn activation_gradient(x: Map<'_>, dy: Map<'_>, dx: &mut MapMut<'_>, activation: Activation) {
    let isa = one_isa([x.isa(), dy.isa(), dx.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, dy.shape());
    assert_same(shape, dx.shape());
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let shared = dx.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        isa.run(Block {
            x: x.block(image, block),
            dy: dy.block(image, block),
            // SAFETY: a block of a picture is written by the one task that has its index.
            dx: unsafe { shared.at(image * image_stride + block * plane) },
            vectors: shape.pixels(),
            activation,
        });
    });
}

/// One block of one picture.
struct Block {
    x: *const f32,
    dy: *const f32,
    dx: *mut f32,
    vectors: usize,
    activation: Activation,
}

impl Kernel for Block {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: what the caller vouches for is passed on.
        unsafe {
            with_derivative!(self.activation, D => self.each::<S, D>());
        }
    }
}

impl Block {
    /// # Safety
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn each<S: Simd, D: Derivative>(&self) {
        // SAFETY: each of the three points to a block of so many vectors.
        unsafe {
            for i in 0..self.vectors {
                let at = i * S::LANES;
                let dx = D::times::<S>(S::load(self.x.add(at)), S::load(self.dy.add(at)));
                S::store(self.dx.add(at), dx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;
    use crate::reference;

    const ALL: [Activation; 9] = [
        Activation::None,
        Activation::Relu,
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Hardsigmoid,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
        Activation::Tanh,
    ];

    #[test]
    fn vectors_do_what_the_reference_does() {
        let values: Vec<f32> = (-3000..3000).map(|i| i as f32 * 0.004).collect();
        let edges = [-3.0, 0.0, 3.0, 6.0, -100.0, 100.0, 1e30, -1e30];
        let x: Vec<f32> = values.into_iter().chain(edges).collect();
        let shape = MapShape::new(1, 1, 1, x.len());
        for isa in Isa::available() {
            let (at, dy) = (
                blocked(isa, shape, &x),
                blocked(isa, shape, &vec![2.0; x.len()]),
            );
            for activation in ALL {
                let mut dx = Buffer::zeros(shape.blocked_len(isa));
                activation_gradient(
                    Map::whole(isa, shape, &at),
                    Map::whole(isa, shape, &dy),
                    &mut MapMut::whole(isa, shape, &mut dx),
                    activation,
                );
                let mut got = vec![0.0; x.len()];
                to_planar(Map::whole(isa, shape, &dx), &mut got);
                for (&x, got) in x.iter().zip(got) {
                    let expected = 2.0 * reference::backward::derivative(activation, f64::from(x));
                    let close = (f64::from(got) - expected).abs() <= 2e-6;
                    assert!(close, "{isa}: {activation:?} at {x}: {got}, not {expected}");
                }
            }
        }
    }

    /// The reference against central differences in f64, away from corners.
    #[test]
    fn reference_is_a_difference() {
        for activation in ALL {
            for i in -400..400 {
                let x = f64::from(i) * 0.023 + 0.001;
                let f = |x| reference::backward::activation(activation, x);
                let difference = (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
                let exact = reference::backward::derivative(activation, x);
                assert!((difference - exact).abs() < 1e-8, "{activation:?} at {x}");
            }
        }
    }
}
