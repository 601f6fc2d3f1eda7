//! AVX2 with FMA: eight lanes, sixteen registers.

use std::arch::x86_64::{
    __m256, _CMP_GT_OQ, _CMP_UNORD_Q, _MM_HINT_T1, _mm_prefetch, _mm256_add_epi32, _mm256_add_ps,
    _mm256_blendv_ps, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtps_epi32, _mm256_div_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps, _mm256_or_ps,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32, _mm256_sqrt_ps, _mm256_storeu_ps,
    _mm256_sub_ps,
};

use super::Simd;

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const REGISTERS: usize = 16;
    const LANES: usize = 8;

    instructions! {
        fn splat(x: f32) -> __m256 {
            _mm256_set1_ps(x)
        }
        fn load(from: *const f32) -> __m256 {
            _mm256_loadu_ps(from)
        }
        fn store(to: *mut f32, v: __m256) {
            _mm256_storeu_ps(to, v);
        }
        fn add(a: __m256, b: __m256) -> __m256 {
            _mm256_add_ps(a, b)
        }
        fn sub(a: __m256, b: __m256) -> __m256 {
            _mm256_sub_ps(a, b)
        }
        fn mul(a: __m256, b: __m256) -> __m256 {
            _mm256_mul_ps(a, b)
        }
        fn max(a: __m256, b: __m256) -> __m256 {
            _mm256_max_ps(a, b)
        }
        fn min(a: __m256, b: __m256) -> __m256 {
            _mm256_min_ps(a, b)
        }
        fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
        fn prefetch(from: *const f32) {
            _mm_prefetch::<_MM_HINT_T1>(from.cast());
        }
        fn div(a: __m256, b: __m256) -> __m256 {
            _mm256_div_ps(a, b)
        }
        fn sqrt(x: __m256) -> __m256 {
            _mm256_sqrt_ps(x)
        }
        fn pow2(x: __m256) -> __m256 {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
        fn select_larger(value: __m256, than: __m256, yes: __m256, no: __m256) -> __m256 {
            let larger = _mm256_cmp_ps::<_CMP_GT_OQ>(value, than);
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(value, value);
            _mm256_blendv_ps(no, yes, _mm256_or_ps(larger, nan))
        }
    }
}
