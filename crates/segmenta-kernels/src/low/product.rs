//! Four bytes of a pixel times four bytes of the weights of sixteen channels, added to sixteen sums.

use super::narrow::{GROUP, Narrow};

/// Bytes of a pixel that one step of the reduction takes: two bf16 numbers or four bytes.
pub(crate) const STEP: usize = 4;
/// Bytes of weights that one step takes for a group of channels.
pub(crate) const ROW: usize = GROUP * STEP;

/// How an engine multiplies numbers of an element.
///
/// # Safety
/// The processor has the instructions; `row` and sums have [`ROW`] bytes behind their pointers, `pixel` has [`STEP`].
pub(crate) trait Product: Copy {
    /// Vectors that go with it.
    type S: Narrow;
    /// Sixteen sums: i32 of bytes, f32 of bf16 numbers.
    type Sums: Copy;
    /// Weights of a group.
    type Row: Copy;
    /// The pixel's part, in each lane.
    type Pixel: Copy;
    /// Whether sums are whole numbers, i32, not f32.
    const WHOLE: bool;
    /// Pixels of a register tile, by the number of groups of channels beside each other (1 to [`Self::GROUPS`]).
    const PIXELS: [usize; 4];
    /// The most groups of a register tile.
    const GROUPS: usize;

    unsafe fn zero() -> Self::Sums;
    unsafe fn load(from: *const u8) -> Self::Sums;
    unsafe fn store(to: *mut u8, sums: Self::Sums);
    unsafe fn row(from: *const u8) -> Self::Row;
    unsafe fn pixel(from: *const u8) -> Self::Pixel;
    unsafe fn add(sums: Self::Sums, pixel: Self::Pixel, row: Self::Row) -> Self::Sums;
}

/// Bytes by plain multiplications: u8 pixels, i8 weights.
#[derive(Clone, Copy)]
pub(crate) struct Plain<S>(S);

impl<S: Narrow> Product for Plain<S> {
    type S = S;
    const WHOLE: bool = true;
    type Sums = [i32; GROUP];
    type Row = [[i8; STEP]; GROUP];
    type Pixel = [u8; STEP];
    const PIXELS: [usize; 4] = [2; 4];
    const GROUPS: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        [0; GROUP]
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Sums {
        // SAFETY: the caller vouches for the sums.
        unsafe { from.cast::<Self::Sums>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut u8, sums: Self::Sums) {
        // SAFETY: the caller vouches for the room.
        unsafe { to.cast::<Self::Sums>().write_unaligned(sums) }
    }
    #[inline(always)]
    unsafe fn row(from: *const u8) -> Self::Row {
        // SAFETY: the caller vouches for a row.
        unsafe { from.cast::<Self::Row>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn pixel(from: *const u8) -> Self::Pixel {
        // SAFETY: the caller vouches for the bytes.
        unsafe { from.cast::<Self::Pixel>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn add(mut sums: Self::Sums, pixel: Self::Pixel, row: Self::Row) -> Self::Sums {
        for (sum, weights) in sums.iter_mut().zip(row) {
            for (x, w) in pixel.into_iter().zip(weights) {
                *sum = sum.wrapping_add(i32::from(x) * i32::from(w));
            }
        }
        sums
    }
}

/// bf16 numbers as f32 ones, one multiply-add each.
#[derive(Clone, Copy)]
pub(crate) struct Widened<S>(S);

impl<S: Narrow> Product for Widened<S> {
    type S = S;
    const WHOLE: bool = false;
    type Sums = S::V;
    type Row = [S::V; 2];
    type Pixel = [S::V; 2];
    // Wide vectors come in 32 registers, of which a weight takes two and a pixel two.
    const PIXELS: [usize; 4] = if S::REGISTERS >= 32 {
        [12, 12, 12, 12]
    } else {
        [2; 4]
    };
    const GROUPS: usize = if S::REGISTERS >= 32 { 2 } else { 1 };

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { S::zero() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self::Sums {
        // SAFETY: the caller vouches for the sums.
        unsafe { S::load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut u8, sums: Self::Sums) {
        // SAFETY: the caller vouches for the room.
        unsafe { S::store(to.cast(), sums) }
    }
    #[inline(always)]
    unsafe fn row(from: *const u8) -> Self::Row {
        // SAFETY: the caller vouches for a row.
        unsafe {
            let pairs = from.cast::<[u32; GROUP]>().read_unaligned();
            let even: [f32; GROUP] = pairs.map(|pair| f32::from_bits(pair << 16));
            let odd: [f32; GROUP] = pairs.map(|pair| f32::from_bits(pair & 0xffff_0000));
            [S::load(even.as_ptr()), S::load(odd.as_ptr())]
        }
    }
    #[inline(always)]
    unsafe fn pixel(from: *const u8) -> Self::Pixel {
        // SAFETY: the caller vouches for the bytes.
        unsafe {
            let pair = from.cast::<u32>().read_unaligned();
            [pair << 16, pair & 0xffff_0000].map(|bits| S::splat(f32::from_bits(bits)))
        }
    }
    #[inline(always)]
    unsafe fn add(sums: Self::Sums, pixel: Self::Pixel, row: Self::Row) -> Self::Sums {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { S::mul_add(pixel[1], row[1], S::mul_add(pixel[0], row[0], sums)) }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
        _mm512_storeu_ps, _mm512_storeu_si512,
    };

    use super::Product;
    use crate::simd::Avx512;

    /// What both have in common but for the types.
    macro_rules! registers {
        ($sums:ty, $zero:ident, $load:ident, $store:ident) => {
            type S = Avx512;
            type Sums = $sums;
            // 32 registers: sums, a row of weights, a pixel.
            const PIXELS: [usize; 4] = [14, 12, 8, 6];
            const GROUPS: usize = 4;

            #[inline(always)]
            unsafe fn zero() -> $sums {
                // SAFETY: the caller vouches for the instructions.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn load(from: *const u8) -> $sums {
                // SAFETY: the caller vouches for the sums.
                unsafe { $load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut u8, sums: $sums) {
                // SAFETY: the caller vouches for the room.
                unsafe { $store(to.cast(), sums) }
            }
        };
    }

    /// Four products of bytes a lane: `vpdpbusd`.
    #[derive(Clone, Copy)]
    pub(crate) struct Vnni;

    impl Product for Vnni {
        const WHOLE: bool = true;
        registers!(
            __m512i,
            _mm512_setzero_si512,
            _mm512_loadu_si512,
            _mm512_storeu_si512
        );
        type Row = __m512i;
        type Pixel = __m512i;

        #[inline(always)]
        unsafe fn row(from: *const u8) -> __m512i {
            // SAFETY: the caller vouches for a row.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }
        #[inline(always)]
        unsafe fn pixel(from: *const u8) -> __m512i {
            // SAFETY: the caller vouches for the bytes.
            unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn add(sums: __m512i, pixel: __m512i, row: __m512i) -> __m512i {
            // SAFETY: the caller vouches for the instructions.
            unsafe { _mm512_dpbusd_epi32(sums, pixel, row) }
        }
    }

    /// Two products of bf16 numbers a lane: `vdpbf16ps`, which takes denormals for zeros.
    #[derive(Clone, Copy)]
    pub(crate) struct Bf16Pairs;

    impl Product for Bf16Pairs {
        const WHOLE: bool = false;
        registers!(__m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps);
        type Row = __m512bh;
        type Pixel = __m512bh;

        #[inline(always)]
        unsafe fn row(from: *const u8) -> __m512bh {
            // SAFETY: the caller vouches for a row; both types are 512 bits.
            unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
        }
        #[inline(always)]
        unsafe fn pixel(from: *const u8) -> __m512bh {
            // SAFETY: as for `row`.
            unsafe { std::mem::transmute(_mm512_set1_epi32(from.cast::<i32>().read_unaligned())) }
        }
        #[inline(always)]
        unsafe fn add(sums: __m512, pixel: __m512bh, row: __m512bh) -> __m512 {
            // SAFETY: the caller vouches for the instructions.
            unsafe { _mm512_dpbf16_ps(sums, row, pixel) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::{AvxVnni, Wide};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Bf16Pairs, Vnni};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{Dot, MixedDot};
