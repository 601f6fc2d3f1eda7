//! Vectors of `f32`, one type an instruction set.
//!
//! Every method is `#[inline(always)]` so that it becomes one instruction inside the
//! `#[target_feature]` function that [`crate::isa::Isa::run`] enters.

/// Methods of an implementation of [`Simd`] that are a few instructions of its set each.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! instructions {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block
    )*) => {$(
        $(#[$doc])*
        #[inline(always)]
        unsafe fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller of a method of `Simd` vouches for the instruction set, and for a vector (or the
            // one value that is broadcast) behind each pointer; an address that is prefetched may be any.
            unsafe { $body }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;

/// A vector of [`Simd::LANES`] values and what is done to it.
///
/// # Safety
/// All methods require that the processor has the instruction set of the implementing type; `load` and `store`
/// that `LANES` values from the pointer on are readable or writable, at any alignment; `broadcast` that one is.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// The vector.
    type V: Copy;
    /// Values in a vector, which is also the block of channels of the layout.
    const LANES: usize;
    /// Registers that hold vectors.
    const REGISTERS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The square root, correctly rounded; a NaN for what is negative.
    unsafe fn sqrt(x: Self::V) -> Self::V;
    /// `2^x` for whole `x` from −126 to 127; for others, whatever the bits come to.
    unsafe fn pow2(x: Self::V) -> Self::V;
    /// `yes` where `value` is larger than `than` or is a NaN, else `no`: when a new value takes the
    /// place of the largest so far, by PyTorch's rule. `yes` and `no` may be any bits.
    unsafe fn select_larger(value: Self::V, than: Self::V, yes: Self::V, no: Self::V) -> Self::V;

    /// One value in all lanes.
    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for the instruction set and for one value at `from`.
        unsafe { Self::splat(*from) }
    }

    /// Asks for the cache line at an address, which need not be readable.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self::splat(0.0) }
    }

    /// Writes the transpose of a square of [`Simd::LANES`] rows of as many values; rows are `from_row` and `to_row`
    /// values apart.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
        // SAFETY: the caller vouches for both squares.
        unsafe {
            for column in 0..Self::LANES {
                for row in 0..Self::LANES {
                    *to.add(column * to_row + row) = *from.add(row * from_row + column);
                }
            }
        }
    }
}
