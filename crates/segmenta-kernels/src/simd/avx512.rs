//! AVX-512: sixteen lanes, thirty-two registers.

use std::arch::x86_64::{
    __m512, _CMP_GT_OQ, _CMP_UNORD_Q, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_castpd_ps,
    _mm512_castps_pd, _mm512_cmp_ps_mask, _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_mask_blend_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_scalef_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_sqrt_ps, _mm512_storeu_ps,
    _mm512_sub_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
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
        fn transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
            // Pairs, then fours, within the four lanes of 128 bits; then the lanes themselves, twice.
            let mut rows = [_mm512_setzero_ps(); 16];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_ps(from.add(index * from_row));
            }
            let mut pairs = rows;
            for i in (0..16).step_by(2) {
                pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
                pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
            }
            let mut fours = pairs;
            for i in (0..16).step_by(4) {
                for j in 0..2 {
                    let (a, b) = (pairs[i + j], pairs[i + j + 2]);
                    let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
                    fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            // `fours[4i + j]` has columns j, 4 + j, 8 + j and 12 + j of rows 4i to 4i + 3.
            for j in 0..4 {
                let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
                let (ab, cd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
                let (ef, gh) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
                let column = |c: usize| to.add(c * to_row);
                _mm512_storeu_ps(column(j), _mm512_shuffle_f32x4::<0x88>(ab, cd));
                _mm512_storeu_ps(column(8 + j), _mm512_shuffle_f32x4::<0xdd>(ab, cd));
                _mm512_storeu_ps(column(4 + j), _mm512_shuffle_f32x4::<0x88>(ef, gh));
                _mm512_storeu_ps(column(12 + j), _mm512_shuffle_f32x4::<0xdd>(ef, gh));
            }
        }
        fn select_larger(value: __m512, than: __m512, yes: __m512, no: __m512) -> __m512 {
            let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, than);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
            _mm512_mask_blend_ps(larger | nan, no, yes)
        }
    }
}
