//! Products of bytes in vectors of 256 bits, two for the sixteen channels of a group.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_dpbusd_avx_epi32, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16, _mm256_storeu_si256,
};

use super::Product;
use crate::low::narrow::Pair;
use crate::simd::Avx2;

/// Sums and rows that both engines load and store alike.
macro_rules! registers {
    () => {
        type S = Pair<Avx2>;
        const WHOLE: bool = true;
        type Sums = [__m256i; 2];
        const GROUPS: usize = 1;

        #[inline(always)]
        unsafe fn zero() -> [__m256i; 2] {
            // SAFETY: the caller vouches for the instructions.
            unsafe { [_mm256_setzero_si256(); 2] }
        }
        #[inline(always)]
        unsafe fn load(from: *const u8) -> [__m256i; 2] {
            // SAFETY: the caller vouches for the sums.
            unsafe { halves(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut u8, sums: [__m256i; 2]) {
            // SAFETY: the caller vouches for the room.
            unsafe {
                _mm256_storeu_si256(to.cast(), sums[0]);
                _mm256_storeu_si256(to.add(32).cast(), sums[1]);
            }
        }
    };
}

/// # Safety
/// There are 64 bytes behind the pointer, and the processor has AVX2.
#[inline(always)]
unsafe fn halves(from: *const u8) -> [__m256i; 2] {
    // SAFETY: as above.
    unsafe {
        [
            _mm256_loadu_si256(from.cast()),
            _mm256_loadu_si256(from.add(32).cast()),
        ]
    }
}

/// # Safety
/// As for [`Product::pixel`].
#[inline(always)]
unsafe fn four_bytes(from: *const u8) -> __m256i {
    // SAFETY: as above.
    unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
}

/// Even and odd bytes as numbers of 16 bits, with their signs.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn widened(bytes: __m256i) -> [__m256i; 2] {
    // SAFETY: as above.
    unsafe {
        let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
        [even, _mm256_srai_epi16::<8>(bytes)]
    }
}

/// Four products of bytes a lane: `vpdpbusd` as processors without AVX-512 have it.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni;

impl Product for AvxVnni {
    registers!();
    type Row = [__m256i; 2];
    type Pixel = __m256i;
    // 16 registers: twelve sums, a row of weights, a pixel.
    const PIXELS: [usize; 4] = [6; 4];

    #[inline(always)]
    unsafe fn row(from: *const u8) -> [__m256i; 2] {
        // SAFETY: the caller vouches for a row.
        unsafe { halves(from) }
    }
    #[inline(always)]
    unsafe fn pixel(from: *const u8) -> __m256i {
        // SAFETY: the caller vouches for the bytes.
        unsafe { four_bytes(from) }
    }
    #[inline(always)]
    unsafe fn add(sums: [__m256i; 2], pixel: __m256i, row: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            [
                _mm256_dpbusd_avx_epi32(sums[0], pixel, row[0]),
                _mm256_dpbusd_avx_epi32(sums[1], pixel, row[1]),
            ]
        }
    }
}

/// Bytes widened to 16 bits, even ones and odd ones apart, and two products a lane: `vpmaddwd`. `vpmaddubsw` would take
/// half the instructions, but its sums of two products are cut off at 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Wide;

impl Product for Wide {
    registers!();
    /// Even and odd weights of each half of the channels.
    type Row = [[__m256i; 2]; 2];
    type Pixel = [__m256i; 2];
    // 16 registers: eight sums, four of weights, two of a pixel, two on the way.
    const PIXELS: [usize; 4] = [4; 4];

    #[inline(always)]
    unsafe fn row(from: *const u8) -> [[__m256i; 2]; 2] {
        // SAFETY: the caller vouches for a row.
        unsafe {
            let [first, second] = halves(from);
            [widened(first), widened(second)]
        }
    }
    #[inline(always)]
    unsafe fn pixel(from: *const u8) -> [__m256i; 2] {
        // SAFETY: the caller vouches for the bytes.
        unsafe {
            let bytes = four_bytes(from);
            let even = _mm256_and_si256(bytes, _mm256_set1_epi16(0xff));
            [even, _mm256_srli_epi16::<8>(bytes)]
        }
    }
    #[inline(always)]
    unsafe fn add(sums: [__m256i; 2], pixel: [__m256i; 2], row: [[__m256i; 2]; 2]) -> [__m256i; 2] {
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            let mut to = sums;
            for half in 0..2 {
                let even = _mm256_madd_epi16(pixel[0], row[half][0]);
                let odd = _mm256_madd_epi16(pixel[1], row[half][1]);
                to[half] = _mm256_add_epi32(sums[half], _mm256_add_epi32(even, odd));
            }
            to
        }
    }
}
