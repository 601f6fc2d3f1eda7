//! Which instructions multiply low-precision numbers, decided at run time.

use std::fmt;

use super::element::Element;
#[cfg(target_arch = "x86_64")]
use super::instructions;
#[cfg(target_arch = "x86_64")]
use super::narrow::Avx512Bf16;
use super::narrow::{Narrow, Pair};
#[cfg(target_arch = "x86_64")]
use super::product::{AvxVnni, Bf16Pairs, Vnni, Wide};
#[cfg(target_arch = "aarch64")]
use super::product::{Dot, MixedDot};
use super::product::{Plain, Product, Widened};
#[cfg(target_arch = "x86_64")]
use super::tile::Amx;
use super::tile::{Emulated, Tiles};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
use crate::simd::Portable;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Amx,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    NeonI8mm,
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
    Emulated,
}

/// Instructions that this processor has and the system permits: a value of this type is the proof. Each engine
/// computes in every [`Element`]; [`Engine::instruction`] says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Engine(Kind);

/// A loop nest over vectors of sixteen values, written once for every engine.
pub(crate) trait VectorKernel {
    /// Does the work; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor must have the instruction set of `S`.
    unsafe fn run<S: Narrow>(self);
}

/// A loop nest over products of pixels and weights, written once for every engine.
pub(crate) trait ProductKernel {
    /// Does the work; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor must have the instructions of `P`.
    unsafe fn run<P: Product>(self);
}

/// A loop nest over tiles.
pub(crate) trait TileKernel {
    /// Does the work; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor must have the tiles of `T`, and the system permit them.
    unsafe fn run<T: Tiles>(self);
}

/// Functions that switch instructions on and enter a kernel.
macro_rules! enter {
    ($($(#[$cfg:meta])* $name:ident($features:literal, $kernel:ident, $run:ident);)*) => {$(
        /// # Safety
        /// The processor has the features.
        $(#[$cfg])*
        #[target_feature(enable = $features)]
        unsafe fn $name<T: $run, K: $kernel>(kernel: K) {
            // SAFETY: the caller vouches for the features.
            unsafe { kernel.run::<T>() }
        }
    )*};
}

enter! {
    #[cfg(target_arch = "x86_64")]
    vectors_avx512("avx512f,avx512bw,avx512vl,avx512dq", VectorKernel, Narrow);
    #[cfg(target_arch = "x86_64")]
    vectors_bf16("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16", VectorKernel, Narrow);
    #[cfg(target_arch = "x86_64")]
    products_avx512("avx512f,avx512bw,avx512vl,avx512dq", ProductKernel, Product);
    #[cfg(target_arch = "x86_64")]
    products_vnni("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni", ProductKernel, Product);
    #[cfg(target_arch = "x86_64")]
    products_bf16("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16", ProductKernel, Product);
    #[cfg(target_arch = "x86_64")]
    tiles_amx("avx512f,avx512bw,avx512vl,avx512dq", TileKernel, Tiles);
    #[cfg(target_arch = "x86_64")]
    vectors_avx2("avx2,fma", VectorKernel, Narrow);
    #[cfg(target_arch = "x86_64")]
    products_avx2("avx2,fma", ProductKernel, Product);
    #[cfg(target_arch = "x86_64")]
    products_avx_vnni("avx2,fma,avxvnni", ProductKernel, Product);
    #[cfg(target_arch = "aarch64")]
    vectors_neon("neon", VectorKernel, Narrow);
    #[cfg(target_arch = "aarch64")]
    products_neon("neon", ProductKernel, Product);
    #[cfg(target_arch = "aarch64")]
    products_i8mm("neon,i8mm", ProductKernel, Product);
    #[cfg(target_arch = "aarch64")]
    products_dotprod("neon,dotprod", ProductKernel, Product);
}

impl Engine {
    /// Plain Rust: on every processor.
    pub const PORTABLE: Self = Self(Kind::Portable);
    /// AMX's tiles in plain Rust: what proves the driver of tiles where there is no AMX. Never the fastest.
    pub const EMULATED: Self = Self(Kind::Emulated);

    /// All that can be used here, the fastest first, [`Engine::EMULATED`] last.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
            let bf16 = vnni && is_x86_feature_detected!("avx512bf16");
            let tiles = instructions::amx();
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let found = [
                (Kind::Amx, bf16 && tiles.bf16 && tiles.int8),
                (Kind::Avx512Bf16, bf16),
                (Kind::Avx512Vnni, vnni),
                (Kind::Avx512, avx512),
                (Kind::AvxVnni, avx2 && is_x86_feature_detected!("avxvnni")),
                (Kind::Avx2, avx2),
            ];
            all.extend(
                found
                    .iter()
                    .filter(|(_, is_there)| *is_there)
                    .map(|f| Self(f.0)),
            );
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected;
            let neon = is_aarch64_feature_detected!("neon");
            let found = [
                (Kind::NeonI8mm, neon && is_aarch64_feature_detected!("i8mm")),
                (
                    Kind::NeonDotprod,
                    neon && is_aarch64_feature_detected!("dotprod"),
                ),
                (Kind::Neon, neon),
            ];
            let is_there = found.iter().filter(|(_, is_there)| *is_there);
            all.extend(is_there.map(|found| Self(found.0)));
        }
        all.extend([Self::PORTABLE, Self::EMULATED]);
        all
    }

    /// The fastest that can be used here.
    pub fn fastest() -> Self {
        Self::available()[0]
    }

    /// The one of that name (`amx`, `avx512-bf16`, `avx512-vnni`, `avx512`, `avx-vnni`, `avx2`, `neon-i8mm`,
    /// `neon-dotprod`, `neon`, `portable`, `emulated`), if it can be used here: what a caller's override asks for.
    pub fn named(name: &str) -> Option<Self> {
        let all = Self::available();
        all.into_iter().find(|engine| engine.to_string() == name)
    }

    /// What multiplies numbers of an element, in a word.
    pub fn instruction(self, element: Element) -> &'static str {
        match (self.0, element) {
            #[cfg(target_arch = "x86_64")]
            (Kind::Amx, Element::Bf16) => "tdpbf16ps",
            #[cfg(target_arch = "x86_64")]
            (Kind::Amx, _) => "tdpbusd",
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512Bf16, Element::Bf16) => "vdpbf16ps",
            #[cfg(target_arch = "x86_64")]
            (
                Kind::Avx512Bf16 | Kind::Avx512Vnni | Kind::AvxVnni,
                Element::U8(_) | Element::I8(_),
            ) => "vpdpbusd",
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx2, Element::U8(_) | Element::I8(_)) => "vpmaddwd",
            #[cfg(target_arch = "aarch64")]
            (Kind::NeonI8mm, Element::U8(_) | Element::I8(_)) => "usdot",
            #[cfg(target_arch = "aarch64")]
            (Kind::NeonDotprod, Element::U8(_) | Element::I8(_)) => "sdot",
            (Kind::Emulated, _) => "emulated tiles",
            (_, Element::Bf16) => "f32 multiply-adds",
            (_, Element::U8(_) | Element::I8(_)) => "i32 multiply-adds",
        }
    }

    /// About how many times as many products a second as f32 multiply-adds of the same processor.
    pub fn gain(self, element: Element) -> f32 {
        match (self.0, element) {
            #[cfg(target_arch = "x86_64")]
            (Kind::Amx, Element::Bf16) => 15.0,
            #[cfg(target_arch = "x86_64")]
            (Kind::Amx, _) => 30.0,
            #[cfg(target_arch = "x86_64")]
            (Kind::Avx512Bf16, Element::Bf16) => 2.0,
            #[cfg(target_arch = "x86_64")]
            (
                Kind::Avx512Bf16 | Kind::Avx512Vnni | Kind::AvxVnni,
                Element::U8(_) | Element::I8(_),
            ) => 4.0,
            #[cfg(target_arch = "aarch64")]
            (Kind::NeonI8mm, Element::U8(_) | Element::I8(_)) => 4.0,
            // A sum that is added beside each product.
            #[cfg(target_arch = "aarch64")]
            (Kind::NeonDotprod, Element::U8(_) | Element::I8(_)) => 2.0,
            // As what it stands for.
            (Kind::Emulated, Element::Bf16) => 15.0,
            (Kind::Emulated, _) => 30.0,
            _ => 1.0,
        }
    }

    /// Whether it multiplies by tiles.
    pub(crate) fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => true,
            Kind::Emulated => true,
            _ => false,
        }
    }

    /// Runs a kernel on vectors.
    pub(crate) fn vectors<K: VectorKernel>(self, kernel: K) {
        // SAFETY: an `Engine` with features comes only from `available`, which found them on this processor.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Amx | Kind::Avx512Bf16 => vectors_bf16::<Avx512Bf16, K>(kernel),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512Vnni | Kind::Avx512 => vectors_avx512::<Avx512, K>(kernel),
                #[cfg(target_arch = "x86_64")]
                Kind::AvxVnni | Kind::Avx2 => vectors_avx2::<Pair<Avx2>, K>(kernel),
                #[cfg(target_arch = "aarch64")]
                Kind::NeonI8mm | Kind::NeonDotprod | Kind::Neon => {
                    vectors_neon::<Pair<Pair<Neon>>, K>(kernel)
                }
                Kind::Portable | Kind::Emulated => kernel.run::<Pair<Portable>>(),
            }
        }
    }

    /// Runs a kernel on tiles.
    ///
    /// # Panics
    /// If it has none.
    pub(crate) fn tiles<K: TileKernel>(self, kernel: K) {
        // SAFETY: as for `vectors`.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Amx => tiles_amx::<Amx, K>(kernel),
                Kind::Emulated => kernel.run::<Emulated>(),
                _ => unreachable!("tiles of {self}"),
            }
        }
    }

    /// Runs a kernel on products of an element: the engine's own, or what vectors make of it where it has tiles.
    pub(crate) fn products<K: ProductKernel>(self, element: Element, kernel: K) {
        let is_bf16 = element == Element::Bf16;
        // SAFETY: as for `vectors`.
        unsafe {
            match (self.0, is_bf16) {
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx512Bf16, true) => products_bf16::<Bf16Pairs, K>(kernel),
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx512Bf16 | Kind::Avx512Vnni, false) => products_vnni::<Vnni, K>(kernel),
                #[cfg(target_arch = "x86_64")]
                (Kind::Amx | Kind::Avx512Vnni | Kind::Avx512, true) => {
                    products_avx512::<Widened<Avx512>, K>(kernel);
                }
                #[cfg(target_arch = "x86_64")]
                (Kind::Amx | Kind::Avx512, false) => products_avx512::<Plain<Avx512>, K>(kernel),
                #[cfg(target_arch = "x86_64")]
                (Kind::AvxVnni | Kind::Avx2, true) => {
                    products_avx2::<Widened<Pair<Avx2>>, K>(kernel);
                }
                #[cfg(target_arch = "x86_64")]
                (Kind::AvxVnni, false) => products_avx_vnni::<AvxVnni, K>(kernel),
                #[cfg(target_arch = "x86_64")]
                (Kind::Avx2, false) => products_avx2::<Wide, K>(kernel),
                #[cfg(target_arch = "aarch64")]
                (Kind::NeonI8mm | Kind::NeonDotprod | Kind::Neon, true) => {
                    products_neon::<Widened<Pair<Pair<Neon>>>, K>(kernel);
                }
                #[cfg(target_arch = "aarch64")]
                (Kind::NeonI8mm, false) => products_i8mm::<MixedDot, K>(kernel),
                #[cfg(target_arch = "aarch64")]
                (Kind::NeonDotprod, false) => products_dotprod::<Dot, K>(kernel),
                #[cfg(target_arch = "aarch64")]
                (Kind::Neon, false) => products_neon::<Plain<Pair<Pair<Neon>>>, K>(kernel),
                (Kind::Portable | Kind::Emulated, true) => kernel.run::<Widened<Pair<Portable>>>(),
                (Kind::Portable | Kind::Emulated, false) => kernel.run::<Plain<Pair<Portable>>>(),
            }
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Kind::NeonI8mm => "neon-i8mm",
            #[cfg(target_arch = "aarch64")]
            Kind::NeonDotprod => "neon-dotprod",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "neon",
            Kind::Portable => "portable",
            Kind::Emulated => "emulated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_a_name() {
        for engine in Engine::available() {
            assert_eq!(Engine::named(&engine.to_string()), Some(engine));
        }
        assert_ne!(Engine::fastest(), Engine::EMULATED);
    }
}
