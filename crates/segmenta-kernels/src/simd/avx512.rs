//! AVX-512: sixteen lanes, thirty-two registers.

use std::arch::x86_64::{
    __m512, _CMP_GT_OQ, _CMP_UNORD_Q, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_cmp_ps_mask,
    _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_mul_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_sqrt_ps,
    _mm512_storeu_ps, _mm512_sub_ps,
};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const REGISTERS: usize = 32;
    const LANES: usize = 16;

    instructions! {
        fn splat(x: f32) -> __m512 {
            _mm512_set1_ps(x)
        }
        fn load(from: *const f32) -> __m512 {
            _mm512_loadu_ps(from)
        }
        fn store(to: *mut f32, v: __m512) {
            _mm512_storeu_ps(to, v);
        }
        fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }
        fn sub(a: __m512, b: __m512) -> __m512 {
            _mm512_sub_ps(a, b)
        }
        fn mul(a: __m512, b: __m512) -> __m512 {
            _mm512_mul_ps(a, b)
        }
        fn max(a: __m512, b: __m512) -> __m512 {
            _mm512_max_ps(a, b)
        }
        fn min(a: __m512, b: __m512) -> __m512 {
            _mm512_min_ps(a, b)
        }
        fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            _mm512_fmadd_ps(a, b, c)
        }
        fn prefetch(from: *const f32) {
            _mm_prefetch::<_MM_HINT_T1>(from.cast());
        }
        fn div(a: __m512, b: __m512) -> __m512 {
            _mm512_div_ps(a, b)
        }
        fn sqrt(x: __m512) -> __m512 {
            _mm512_sqrt_ps(x)
        }
        fn pow2(x: __m512) -> __m512 {
            _mm512_scalef_ps(_mm512_set1_ps(1.0), x)
        }
        fn select_larger(value: __m512, than: __m512, yes: __m512, no: __m512) -> __m512 {
            let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, than);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
            _mm512_mask_blend_ps(larger | nan, no, yes)
        }
    }
}
