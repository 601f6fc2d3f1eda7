//! AMX's instructions, each by inline assembly, which stable Rust has.
//!
//! Values stay in tiles from one block of assembly to the next. The compiler has no use for tiles of its own and
//! nothing that is called between `configure` and `release` has; a thread that is interrupted gets its tiles back.

use std::arch::asm;

use super::{TileShape, Tiles};

/// `tdpbusd` and `tdpbf16ps`.
#[derive(Clone, Copy)]
pub(crate) struct Amx;

/// What `ldtilecfg` reads: palette 1, bytes of a row and rows of each tile.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Methods of one instruction each.
macro_rules! instruction {
    ($($name:ident<$($tile:ident),+>($($argument:ident: $type:ty),*), $text:literal;)*) => {$(
        #[inline(always)]
        unsafe fn $name<$(const $tile: usize),+>($($argument: $type),*) {
            // SAFETY: the caller vouches for the tiles and for the rows behind the pointer.
            unsafe {
                asm!(
                    $text,
                    $($tile = const $tile,)+
                    $($argument = in(reg) $argument,)*
                    options(nostack, preserves_flags)
                );
            }
        }
    )*};
}

impl Tiles for Amx {
    #[inline(always)]
    unsafe fn configure(shape: TileShape) {
        let mut config = Config {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        for tile in 0..8 {
            let [rows, bytes] = shape.of(tile);
            config.bytes[tile] = bytes as u16;
            config.rows[tile] = rows as u8;
        }
        // SAFETY: the caller vouches for the tiles; the configuration has its 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn release() {
        // SAFETY: the caller vouches for the tiles.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
    }

    instruction! {
        zero<T>(), "tilezero tmm{T}";
        load<T>(from: *const u8, stride: usize), "tileloadd tmm{T}, [{from} + {stride}*1]";
        store<T>(to: *mut u8, stride: usize), "tilestored [{to} + {stride}*1], tmm{T}";
        add_bytes<SUMS, PIXELS, WEIGHTS>(), "tdpbusd tmm{SUMS}, tmm{PIXELS}, tmm{WEIGHTS}";
        add_bf16<SUMS, PIXELS, WEIGHTS>(), "tdpbf16ps tmm{SUMS}, tmm{PIXELS}, tmm{WEIGHTS}";
    }
}
