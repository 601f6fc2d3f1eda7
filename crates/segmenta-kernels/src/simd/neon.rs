//! NEON: eight lanes in a pair of registers, of which there are sixteen pairs.
//!
//! A register holds four lanes. As pairs they make the same tiles as AVX2 has (six pixels by two
//! vectors are 24 registers of sums, of 32), and each block of channels that a tile steps through
//! carries twice the multiply-adds for the pointers that it moves.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vaddq_s32, vbslq_f32, vceqq_f32, vcgtq_f32, vcvtnq_s32_f32, vdivq_f32,
    vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vld1q_f32, vmaxq_f32, vminq_f32, vmulq_f32, vornq_u32,
    vreinterpretq_f32_s32, vshlq_n_s32, vsqrtq_f32, vst1q_f32, vsubq_f32,
};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// Lanes of one register.
const HALF: usize = 4;

type V = [float32x4_t; 2];

impl Simd for Neon {
    type V = V;
    const REGISTERS: usize = 16;
    const LANES: usize = 2 * HALF;

    instructions! {
        fn splat(x: f32) -> V {
            [vdupq_n_f32(x); 2]
        }
        fn load(from: *const f32) -> V {
            [vld1q_f32(from), vld1q_f32(from.add(HALF))]
        }
        fn store(to: *mut f32, v: V) {
            vst1q_f32(to, v[0]);
            vst1q_f32(to.add(HALF), v[1]);
        }
        fn add(a: V, b: V) -> V {
            [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])]
        }
        fn sub(a: V, b: V) -> V {
            [vsubq_f32(a[0], b[0]), vsubq_f32(a[1], b[1])]
        }
        fn mul(a: V, b: V) -> V {
            [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])]
        }
        fn max(a: V, b: V) -> V {
            [vmaxq_f32(a[0], b[0]), vmaxq_f32(a[1], b[1])]
        }
        fn min(a: V, b: V) -> V {
            [vminq_f32(a[0], b[0]), vminq_f32(a[1], b[1])]
        }
        fn mul_add(a: V, b: V, c: V) -> V {
            [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])]
        }
        fn div(a: V, b: V) -> V {
            [vdivq_f32(a[0], b[0]), vdivq_f32(a[1], b[1])]
        }
        fn sqrt(x: V) -> V {
            x.map(|x| vsqrtq_f32(x))
        }
        fn pow2(x: V) -> V {
            x.map(|x| {
                let exponent = vaddq_s32(vcvtnq_s32_f32(x), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            })
        }
        fn select_larger(value: V, than: V, yes: V, no: V) -> V {
            std::array::from_fn(|i| {
                let larger = vcgtq_f32(value[i], than[i]);
                let number = vceqq_f32(value[i], value[i]);
                vbslq_f32(vornq_u32(larger, number), yes[i], no[i])
            })
        }
        /// Volatile, so that values of two steps of a reduction are not loaded as a pair: the second
        /// one's would wait in registers that the sums need.
        fn broadcast(from: *const f32) -> V {
            Self::splat(from.read_volatile())
        }
    }
}
