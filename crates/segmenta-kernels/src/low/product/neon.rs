//! Products of bytes in vectors of 128 bits, four for the sixteen channels of a group. Their instructions have no stable
//! functions yet, hence assembly.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, uint8x16_t, vaddq_s32, vdupq_n_s8, vdupq_n_s32, vdupq_n_u8, vdupq_n_u32,
    veorq_u8, vld1q_s8, vld1q_s32, vreinterpretq_s8_u8, vreinterpretq_u8_u32, vst1q_s32,
};
use std::arch::asm;

use super::Product;
use crate::low::narrow::Pair;
use crate::simd::Neon;

/// Registers of a group.
const PARTS: usize = 4;
/// Bytes of a register.
const BYTES: usize = 16;

/// Sums that both engines load and store alike.
macro_rules! sums {
    () => {
        type S = Pair<Pair<Neon>>;
        const WHOLE: bool = true;
        type Sums = [int32x4_t; PARTS];
        const GROUPS: usize = 1;

        #[inline(always)]
        unsafe fn zero() -> [int32x4_t; PARTS] {
            // SAFETY: the caller vouches for the instructions.
            unsafe { [vdupq_n_s32(0); PARTS] }
        }
        #[inline(always)]
        unsafe fn load(from: *const u8) -> [int32x4_t; PARTS] {
            // SAFETY: the caller vouches for the sums.
            unsafe {
                let mut sums = [vdupq_n_s32(0); PARTS];
                for (part, sum) in sums.iter_mut().enumerate() {
                    *sum = vld1q_s32(from.add(part * BYTES).cast());
                }
                sums
            }
        }
        #[inline(always)]
        unsafe fn store(to: *mut u8, sums: [int32x4_t; PARTS]) {
            // SAFETY: the caller vouches for the room.
            unsafe {
                for (part, sum) in sums.into_iter().enumerate() {
                    vst1q_s32(to.add(part * BYTES).cast(), sum);
                }
            }
        }
    };
}

/// # Safety
/// As for [`Product::row`].
#[inline(always)]
unsafe fn weights(from: *const u8) -> [int8x16_t; PARTS] {
    // SAFETY: as above.
    unsafe {
        let mut row = [vdupq_n_s8(0); PARTS];
        for (part, row) in row.iter_mut().enumerate() {
            *row = vld1q_s8(from.add(part * BYTES).cast());
        }
        row
    }
}

/// # Safety
/// As for [`Product::pixel`].
#[inline(always)]
unsafe fn four_bytes(from: *const u8) -> uint8x16_t {
    // SAFETY: as above.
    unsafe { vreinterpretq_u8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned())) }
}

/// Four products of bytes a lane, unsigned by signed: `usdot`, of the extension i8mm.
#[derive(Clone, Copy)]
pub(crate) struct MixedDot;

impl Product for MixedDot {
    sums!();
    type Row = [int8x16_t; PARTS];
    type Pixel = uint8x16_t;
    // 32 registers: 24 sums, a row of weights, a pixel.
    const PIXELS: [usize; 4] = [6; 4];

    #[inline(always)]
    unsafe fn row(from: *const u8) -> [int8x16_t; PARTS] {
        // SAFETY: the caller vouches for a row.
        unsafe { weights(from) }
    }
    #[inline(always)]
    unsafe fn pixel(from: *const u8) -> uint8x16_t {
        // SAFETY: the caller vouches for the bytes.
        unsafe { four_bytes(from) }
    }
    #[inline(always)]
    unsafe fn add(
        mut sums: [int32x4_t; PARTS],
        pixel: uint8x16_t,
        row: [int8x16_t; PARTS],
    ) -> [int32x4_t; PARTS] {
        for (sum, row) in sums.iter_mut().zip(row) {
            // SAFETY: the caller vouches for the instruction, which works on registers alone.
            unsafe {
                asm!(
                    ".arch_extension i8mm",
                    "usdot {sum:v}.4s, {pixel:v}.16b, {row:v}.16b",
                    sum = inout(vreg) *sum,
                    pixel = in(vreg) pixel,
                    row = in(vreg) row,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        sums
    }
}

/// Four products of bytes a lane, signed by signed: `sdot`, of the extension dotprod. A pixel's bytes less 128 are
/// signed; what that takes from a sum, 128 times its weights, is computed once a row and added.
#[derive(Clone, Copy)]
pub(crate) struct Dot;

/// # Safety
/// The processor has the instruction.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction works on registers alone.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

impl Product for Dot {
    sums!();
    /// Weights, and 128 times the sum of each four.
    type Row = [(int8x16_t, int32x4_t); PARTS];
    type Pixel = int8x16_t;
    // 32 registers: 16 sums, a row of weights and of what is added, a pixel.
    const PIXELS: [usize; 4] = [4; 4];

    #[inline(always)]
    unsafe fn row(from: *const u8) -> [(int8x16_t, int32x4_t); PARTS] {
        // SAFETY: the caller vouches for a row. 128 is 64 twice, which a signed byte holds.
        unsafe {
            let half = vdupq_n_s8(64);
            let none = vdupq_n_s32(0);
            let mut to = [(half, none); PARTS];
            for ((weights, added), row) in to.iter_mut().zip(weights(from)) {
                *weights = row;
                *added = sdot(sdot(none, half, row), half, row);
            }
            to
        }
    }
    #[inline(always)]
    unsafe fn pixel(from: *const u8) -> int8x16_t {
        // SAFETY: the caller vouches for the bytes.
        unsafe { vreinterpretq_s8_u8(veorq_u8(four_bytes(from), vdupq_n_u8(0x80))) }
    }
    #[inline(always)]
    unsafe fn add(
        mut sums: [int32x4_t; PARTS],
        pixel: int8x16_t,
        row: [(int8x16_t, int32x4_t); PARTS],
    ) -> [int32x4_t; PARTS] {
        for (sum, (weights, added)) in sums.iter_mut().zip(row) {
            // SAFETY: the caller vouches for the instructions.
            unsafe { *sum = sdot(vaddq_s32(*sum, added), pixel, weights) };
        }
        sums
    }
}
