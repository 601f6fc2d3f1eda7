//! Vectors of sixteen f32 values that are read from, and written as, narrower numbers.

use crate::exp::exp;
use crate::simd::{Portable, Simd};

/// Values of a vector, and channels of a group: what is computed together.
pub(crate) const GROUP: usize = 16;

/// A vector of [`GROUP`] values, whatever registers it takes.
///
/// # Safety
/// As for [`Simd`]; pointers have [`GROUP`] numbers of the kind that the name says, at any alignment.
pub(crate) trait Narrow: Simd {
    /// `a · b + c`, rounded once on every engine, so that 8-bit results are the same bits everywhere.
    unsafe fn fused(a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// `1 / (1 + e^−x)`, for what is rounded to bf16 next: relative error at most 2⁻¹⁸ for `x` above −80.
    #[inline(always)]
    unsafe fn sigmoid(x: Self::V) -> Self::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let one = Self::splat(1.0);
            let below = Self::add(one, exp::<Self>(Self::sub(Self::zero(), x)));
            Self::div(one, below)
        }
    }

    /// bf16 numbers: exact.
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self::V {
        // SAFETY: the caller vouches for the numbers; the array is a vector's.
        unsafe {
            let bits = from.cast::<[u16; GROUP]>().read_unaligned();
            let values: [f32; GROUP] = bits.map(super::from_bf16);
            Self::load(values.as_ptr())
        }
    }

    /// Two groups of bf16 numbers, exact, in the order that is quickest to unpack: what is computed from them lane by
    /// lane is put in order by [`Narrow::store_two`].
    #[inline(always)]
    unsafe fn load_two_bf16(from: *const u8) -> [Self::V; 2] {
        // SAFETY: the caller vouches for both groups.
        unsafe { [Self::load_bf16(from), Self::load_bf16(from.add(2 * GROUP))] }
    }

    /// Writes two groups that have the order of [`Narrow::load_two_bf16`].
    #[inline(always)]
    unsafe fn store_two(to: *mut f32, groups: [Self::V; 2]) {
        // SAFETY: the caller vouches for the room.
        unsafe {
            Self::store(to, groups[0]);
            Self::store(to.add(GROUP), groups[1]);
        }
    }

    /// The nearest bf16 numbers ([`bf16`](super::bf16)).
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u8, v: Self::V) {
        // SAFETY: the caller vouches for the room; the array is a vector's.
        unsafe {
            let mut values = [0.0; GROUP];
            Self::store(values.as_mut_ptr(), v);
            let bits: [u16; GROUP] = values.map(super::bf16);
            to.cast::<[u16; GROUP]>().write_unaligned(bits);
        }
    }

    /// Two groups as [`Narrow::store_bf16`] has them.
    #[inline(always)]
    unsafe fn store_two_bf16(to: *mut u8, groups: [Self::V; 2]) {
        // SAFETY: the caller vouches for the room.
        unsafe {
            Self::store_bf16(to, groups[0]);
            Self::store_bf16(to.add(2 * GROUP), groups[1]);
        }
    }

    /// Bytes from 0 to 255.
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::V {
        // SAFETY: as for `load_bf16`.
        unsafe {
            let values: [f32; GROUP] = from.cast::<[u8; GROUP]>().read_unaligned().map(f32::from);
            Self::load(values.as_ptr())
        }
    }

    /// Bytes from −128 to 127.
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> Self::V {
        // SAFETY: as for `load_bf16`.
        unsafe {
            let values: [f32; GROUP] = from.cast::<[i8; GROUP]>().read_unaligned().map(f32::from);
            Self::load(values.as_ptr())
        }
    }

    /// The nearest whole numbers, of two the even one, as bytes: values are from −128 to 255. A NaN becomes 0.
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: Self::V) {
        // SAFETY: as for `store_bf16`.
        unsafe {
            let mut values = [0.0; GROUP];
            Self::store(values.as_mut_ptr(), v);
            let bytes: [u8; GROUP] = values.map(|x| x.round_ties_even() as i32 as u8);
            to.cast::<[u8; GROUP]>().write_unaligned(bytes);
        }
    }

    /// Four groups as [`Narrow::store_bytes`] has them, but values may be any below 2³¹: those that are less than `low`
    /// or 0 become the larger of both, those beyond 255 become that. A NaN becomes `low`.
    #[inline(always)]
    unsafe fn store_four_groups(to: *mut u8, groups: [Self::V; 4], low: u8) {
        // SAFETY: the caller vouches for the room.
        unsafe {
            for (group, v) in groups.into_iter().enumerate() {
                let to = to.add(group * GROUP);
                let v = Self::max(v, Self::splat(f32::from(low)));
                let v = Self::min(v, Self::splat(255.0));
                Self::store_bytes(to, v);
            }
        }
    }

    /// Sums of whole numbers, each plus a term, which is exact, as the nearest f32.
    #[inline(always)]
    unsafe fn load_sums(from: *const i32, terms: *const i32) -> Self::V {
        // SAFETY: as for `load_bf16`.
        unsafe {
            let sums = from.cast::<[i32; GROUP]>().read_unaligned();
            let terms = terms.cast::<[i32; GROUP]>().read_unaligned();
            let values: [f32; GROUP] =
                std::array::from_fn(|i| sums[i].wrapping_add(terms[i]) as f32);
            Self::load(values.as_ptr())
        }
    }
}

/// Two vectors as one of twice the lanes.
#[derive(Clone, Copy)]
pub(crate) struct Pair<S>(S);

macro_rules! halves {
    ($($name:ident($($argument:ident),*);)*) => {$(
        #[inline(always)]
        unsafe fn $name($($argument: [S::V; 2]),*) -> [S::V; 2] {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { [S::$name($($argument[0]),*), S::$name($($argument[1]),*)] }
        }
    )*};
}

impl<S: Simd> Simd for Pair<S> {
    type V = [S::V; 2];
    const LANES: usize = 2 * S::LANES;
    const REGISTERS: usize = S::REGISTERS / 2;

    halves! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        max(a, b);
        min(a, b);
        mul_add(a, b, c);
        div(a, b);
        sqrt(x);
        pow2(x);
        select_larger(value, than, yes, no);
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { [S::splat(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for as many values as both have.
        unsafe { [S::load(from), S::load(from.add(S::LANES))] }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: as for `load`.
        unsafe {
            S::store(to, v[0]);
            S::store(to.add(S::LANES), v[1]);
        }
    }
}

impl Narrow for Pair<Portable> {
    #[inline(always)]
    unsafe fn fused(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        let half = |i: usize| std::array::from_fn(|j| a[i][j].mul_add(b[i][j], c[i][j]));
        [half(0), half(1)]
    }
}

#[cfg(target_arch = "x86_64")]
impl Narrow for Pair<crate::simd::Avx2> {
    #[inline(always)]
    unsafe fn fused(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self::mul_add(a, b, c) }
    }
}

#[cfg(target_arch = "aarch64")]
impl Narrow for Pair<Pair<crate::simd::Neon>> {
    #[inline(always)]
    unsafe fn fused(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { Self::mul_add(a, b, c) }
    }
}

/// AVX-512 whose own instruction rounds to bf16: one for two groups, where arithmetic takes fourteen. It takes denormals
/// for zeros.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16;

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m256i, __m512, __m512i, _CMP_UNORD_Q, _mm_loadu_si128, _mm_storeu_si128,
        _mm256_loadu_si256, _mm256_storeu_si256, _mm512_add_epi32, _mm512_and_si512,
        _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi8_epi32,
        _mm512_cvtepi32_epi8, _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32,
        _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_cvtps_epi32,
        _mm512_fnmadd_ps, _mm512_loadu_si512, _mm512_mask_or_epi32, _mm512_max_epu8,
        _mm512_packs_epi32, _mm512_packus_epi16, _mm512_permutex2var_ps, _mm512_permutexvar_epi32,
        _mm512_rcp14_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_epi8,
        _mm512_set1_epi32, _mm512_setr_epi32, _mm512_slli_epi32, _mm512_srli_epi32,
        _mm512_storeu_ps, _mm512_storeu_si512,
    };

    use super::{Avx512Bf16, Narrow};
    use crate::activation::clamp;
    use crate::simd::{Avx512, Simd};

    /// Coefficients of `2^f` for `|f| ≤ 1/2` that minimise the largest relative error, 7.5e-08.
    const POWER_OF_TWO: [f32; 6] = [
        1.000_000_1,
        0.693_146_94,
        0.240_221_2,
        0.055_507_13,
        0.009_675_542,
        0.001_327_647_3,
    ];

    /// Methods as AVX-512 has them.
    macro_rules! as_avx512 {
        ($of:ident; $($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
            #[inline(always)]
            unsafe fn $name($($argument: $type),*) $(-> $result)? {
                // SAFETY: the caller vouches for the instructions, and for what pointers reach.
                unsafe { <Avx512 as $of>::$name($($argument),*) }
            }
        )*};
    }

    impl Simd for Avx512Bf16 {
        type V = __m512;
        const LANES: usize = Avx512::LANES;
        const REGISTERS: usize = Avx512::REGISTERS;

        as_avx512! {
            Simd;
            splat(x: f32) -> __m512;
            load(from: *const f32) -> __m512;
            store(to: *mut f32, v: __m512);
            add(a: __m512, b: __m512) -> __m512;
            sub(a: __m512, b: __m512) -> __m512;
            mul(a: __m512, b: __m512) -> __m512;
            max(a: __m512, b: __m512) -> __m512;
            min(a: __m512, b: __m512) -> __m512;
            mul_add(a: __m512, b: __m512, c: __m512) -> __m512;
            div(a: __m512, b: __m512) -> __m512;
            sqrt(x: __m512) -> __m512;
            pow2(x: __m512) -> __m512;
            transpose(from: *const f32, from_row: usize, to: *mut f32, to_row: usize);
            select_larger(value: __m512, than: __m512, yes: __m512, no: __m512) -> __m512;
        }
    }

    impl Narrow for Avx512Bf16 {
        as_avx512! {
            Narrow;
            fused(a: __m512, b: __m512, c: __m512) -> __m512;
            load_bf16(from: *const u8) -> __m512;
            load_u8(from: *const u8) -> __m512;
            load_i8(from: *const u8) -> __m512;
            store_bytes(to: *mut u8, v: __m512);
            store_four_groups(to: *mut u8, groups: [__m512; 4], low: u8);
            load_sums(from: *const i32, terms: *const i32) -> __m512;
            sigmoid(x: __m512) -> __m512;
            load_two_bf16(from: *const u8) -> [__m512; 2];
            store_two(to: *mut f32, groups: [__m512; 2]);
        }

        #[inline(always)]
        unsafe fn store_bf16(to: *mut u8, v: __m512) {
            // SAFETY: the caller vouches for the room; both types are 256 bits.
            unsafe {
                let bits: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(v));
                _mm256_storeu_si256(to.cast(), bits);
            }
        }
        #[inline(always)]
        unsafe fn store_two_bf16(to: *mut u8, groups: [__m512; 2]) {
            // SAFETY: as for one; the second argument's numbers come first.
            unsafe {
                let bits: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(groups[1], groups[0]));
                _mm512_storeu_si512(to.cast(), bits);
            }
        }
    }

    impl Narrow for Avx512 {
        #[inline(always)]
        unsafe fn fused(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe { Self::mul_add(a, b, c) }
        }
        /// `2^t = 2^n · 2^f` with `|f| ≤ 1/2`, the power of the fraction by a polynomial; a reciprocal of 14 bits and one
        /// step of Newton's method to twice as many.
        #[inline(always)]
        unsafe fn sigmoid(x: __m512) -> __m512 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                let t = Self::mul(x, Self::splat(-std::f32::consts::LOG2_E));
                let t = clamp::<Self>(t, Self::splat(-126.0), Self::splat(126.0));
                let n = _mm512_roundscale_ps::<0>(t);
                let f = Self::sub(t, n);
                let [c0, c1, c2, c3, c4, c5] = POWER_OF_TWO;
                let sum = Self::mul_add(Self::splat(c5), f, Self::splat(c4));
                let sum = Self::mul_add(sum, f, Self::splat(c3));
                let sum = Self::mul_add(sum, f, Self::splat(c2));
                let sum = Self::mul_add(sum, f, Self::splat(c1));
                let sum = Self::mul_add(sum, f, Self::splat(c0));
                let below = Self::add(Self::splat(1.0), _mm512_scalef_ps(sum, n));
                let inverse = _mm512_rcp14_ps(below);
                let rest = _mm512_fnmadd_ps(below, inverse, Self::splat(2.0));
                Self::mul(inverse, rest)
            }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const u8) -> __m512 {
            // SAFETY: the caller vouches for the numbers.
            unsafe {
                let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
            }
        }
        /// Even channels and odd ones: one instruction each.
        #[inline(always)]
        unsafe fn load_two_bf16(from: *const u8) -> [__m512; 2] {
            // SAFETY: the caller vouches for the numbers.
            unsafe {
                let pairs = _mm512_loadu_si512(from.cast());
                let odd = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
                [_mm512_slli_epi32::<16>(pairs), odd].map(|bits| _mm512_castsi512_ps(bits))
            }
        }
        #[inline(always)]
        unsafe fn store_two(to: *mut f32, [even, odd]: [__m512; 2]) {
            // SAFETY: the caller vouches for the room.
            unsafe {
                let first =
                    _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
                _mm512_storeu_ps(to, _mm512_permutex2var_ps(even, first, odd));
                _mm512_storeu_ps(
                    to.add(super::GROUP),
                    _mm512_permutex2var_ps(even, second, odd),
                );
            }
        }
        #[inline(always)]
        unsafe fn store_bf16(to: *mut u8, v: __m512) {
            // SAFETY: the caller vouches for the room.
            unsafe {
                let bits = _mm512_castps_si512(v);
                let upper = _mm512_srli_epi32::<16>(bits);
                let odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
                let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
                let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
                let rounded = _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40));
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(rounded));
            }
        }
        #[inline(always)]
        unsafe fn load_u8(from: *const u8) -> __m512 {
            // SAFETY: the caller vouches for the numbers.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn load_i8(from: *const u8) -> __m512 {
            // SAFETY: the caller vouches for the numbers.
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, v: __m512) {
            // SAFETY: the caller vouches for the room. What is no number converts to one whose low byte is 0.
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v))) }
        }
        #[inline(always)]
        unsafe fn store_four_groups(to: *mut u8, groups: [__m512; 4], low: u8) {
            // SAFETY: the caller vouches for the room. Packing saturates, lane by lane; four numbers of each group
            // stand in each lane then, and the last step puts the groups in order.
            unsafe {
                let [a, b, c, d] = groups;
                let (a, b) = (_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
                let (c, d) = (_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
                let bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
                let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(low.cast_signed()));
                let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                let bytes = _mm512_permutexvar_epi32(order, bytes);
                _mm512_storeu_si512(to.cast(), bytes);
            }
        }
        #[inline(always)]
        unsafe fn load_sums(from: *const i32, terms: *const i32) -> __m512 {
            // SAFETY: the caller vouches for the numbers.
            unsafe {
                let load = |at: *const i32| -> __m512i { _mm512_loadu_si512(at.cast()) };
                _mm512_cvtepi32_ps(_mm512_add_epi32(load(from), load(terms)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::low::engine::{Engine, VectorKernel};

    struct Sigmoid<'a>(&'a mut [f32; GROUP]);

    impl VectorKernel for Sigmoid<'_> {
        #[inline(always)]
        unsafe fn run<S: Narrow>(self) {
            // SAFETY: a group is read from, and written to, an array of its size.
            unsafe { S::store(self.0.as_mut_ptr(), S::sigmoid(S::load(self.0.as_ptr()))) }
        }
    }

    #[test]
    fn sigmoid_is_finer_than_bf16() {
        for engine in Engine::available() {
            let of = |x: f32| {
                let mut group = [x; GROUP];
                engine.vectors(Sigmoid(&mut group));
                group[GROUP - 1]
            };
            for i in -8_000..=8_000 {
                let x = i as f32 / 100.0;
                let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
                let error = (f64::from(of(x)) / exact - 1.0).abs();
                assert!(
                    error < f64::powi(2.0, -18),
                    "{engine}: {x} is off by {error}"
                );
            }
            assert_eq!([of(f32::INFINITY), of(100.0)], [1.0, 1.0], "{engine}");
            assert!(
                of(f32::NEG_INFINITY) < 1e-37 && of(f32::NAN).is_nan(),
                "{engine}"
            );
        }
    }
}
