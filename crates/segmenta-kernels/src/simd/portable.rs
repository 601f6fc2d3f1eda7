//! Plain Rust on arrays: right everywhere, and what the compiler's own vectoriser makes of it
//! (SSE2 on x86-64, NEON on aarch64).

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

type V = [f32; Portable::LANES];

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// `a · b + c`, fused where that is one instruction and not a call into libm.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

impl Simd for Portable {
    type V = V;
    const REGISTERS: usize = 16;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        [x; Self::LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: the caller vouches for a vector at `from`.
        unsafe { from.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        // SAFETY: the caller vouches for room for a vector at `to`.
        unsafe { to.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn mul_add(a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| fused(a[i], b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn div(a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(x: V) -> V {
        x.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn pow2(x: V) -> V {
        // The sum's last bits are the whole number, its first ones are shifted out.
        const WHOLE: f32 = 12_582_912.0;
        x.map(|x| f32::from_bits((x + WHOLE).to_bits().wrapping_add(127) << 23))
    }
    #[inline(always)]
    unsafe fn select_larger(value: V, than: V, yes: V, no: V) -> V {
        std::array::from_fn(|i| {
            let replaces = value[i] > than[i] || value[i].is_nan();
            if replaces { yes[i] } else { no[i] }
        })
    }
}
