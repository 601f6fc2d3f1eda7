//! AVX2 with FMA: eight lanes, sixteen registers.

use std::arch::x86_64::{
    __m256, _CMP_GT_OQ, _CMP_UNORD_Q, _MM_HINT_T1, _mm_prefetch, _mm256_add_epi32, _mm256_add_ps,
    _mm256_blendv_ps, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castsi256_ps, _mm256_cmp_ps,
    _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_mul_ps, _mm256_or_ps, _mm256_permute2f128_ps, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_sqrt_ps, _mm256_storeu_ps,
    _mm256_sub_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
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
        fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
            // Pairs, then fours, within the halves of 128 bits; then the halves.
            let mut rows = [_mm256_setzero_ps(); 8];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(from.add(index * from_row));
            }
            let mut fours = rows;
            for i in (0..8).step_by(4) {
                let low = |j: usize| _mm256_castps_pd(_mm256_unpacklo_ps(rows[i + j], rows[i + j + 1]));
                let high = |j: usize| _mm256_castps_pd(_mm256_unpackhi_ps(rows[i + j], rows[i + j + 1]));
                fours[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low(0), low(2)));
                fours[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low(0), low(2)));
                fours[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high(0), high(2)));
                fours[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high(0), high(2)));
            }
            for j in 0..4 {
                let (a, b) = (fours[j], fours[4 + j]);
                _mm256_storeu_ps(to.add(j * to_row), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.add((4 + j) * to_row), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
        fn select_larger(value: __m256, than: __m256, yes: __m256, no: __m256) -> __m256 {
            let larger = _mm256_cmp_ps::<_CMP_GT_OQ>(value, than);
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(value, value);
            _mm256_blendv_ps(no, yes, _mm256_or_ps(larger, nan))
        }
    }
}
