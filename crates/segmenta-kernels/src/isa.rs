//! Which instruction set to use, decided at run time.

use std::fmt;

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

/// An instruction set that this processor has: a value of this type is the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

/// A loop nest written once for every instruction set.
///
/// A kernel holds pointers into maps. It is made in one place, right beside the checks of an entry point, and
/// whoever makes it vouches that they reach as far as its extents say and that no other task has what it writes.
pub(crate) trait Kernel {
    type Output;
    /// Does the work with vectors of `S`; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor must have the instruction set of `S`, and the maps that the kernel was made of must be laid
    /// out for it.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// # Safety
/// As for [`Kernel::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn enter_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// As for [`Kernel::run`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn enter_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    unsafe { kernel.run::<Avx2>() }
}

/// # Safety
/// As for [`Kernel::run`].
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn enter_neon<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    unsafe { kernel.run::<Neon>() }
}

impl Isa {
    /// Plain Rust: on every processor.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// All that this processor has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Self(Kind::Avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Kind::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Kind::Neon));
        }
        all.push(Self::SCALAR);
        all
    }

    /// The fastest that this processor has.
    pub fn fastest() -> Self {
        Self::available()[0]
    }

    /// The one of that name (`avx512`, `avx2`, `neon`, `scalar`), if this processor has it.
    pub fn named(name: &str) -> Option<Self> {
        let all = Self::available();
        all.into_iter().find(|isa| isa.to_string() == name)
    }

    /// Values in a vector: the block of channels of the layout.
    pub fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => Neon::LANES,
            Kind::Scalar => Portable::LANES,
        }
    }

    /// Runs a kernel with this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: an `Isa` other than SCALAR comes only from `available`, which found the features on this
        // processor; SCALAR needs none. That the maps are laid out for it is what `map::one_isa` checked.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => enter_avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => enter_avx2(kernel),
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => enter_neon(kernel),
                Kind::Scalar => kernel.run::<Portable>(),
            }
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Scalar => "scalar",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_has_a_name() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(&isa.to_string()), Some(isa));
        }
        if cfg!(target_arch = "aarch64") {
            assert_eq!(Isa::fastest().to_string(), "neon");
        }
    }
}
