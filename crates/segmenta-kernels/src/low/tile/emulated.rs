//! Tiles in plain Rust.
//!
//! Sums of bytes are the processor's to the bit. Sums of bf16 numbers follow its documented order (products of even
//! and of odd positions apart, then both sums and the old one), denormals excepted, which it takes for zeros.

use std::cell::RefCell;

use super::{ROWS, TileShape, Tiles};
use crate::low::element::from_bf16;

#[derive(Clone, Copy)]
pub(crate) struct Emulated;

const ROW: usize = 64;

/// Eight tiles; none before they have shapes.
struct File {
    shape: Option<TileShape>,
    tiles: [[[u8; ROW]; ROWS]; 8],
}

thread_local! {
    static FILE: RefCell<File> = const {
        RefCell::new(File { shape: None, tiles: [[[0; ROW]; ROWS]; 8] })
    };
}

impl File {
    /// # Panics
    /// If the tiles have no shapes: the processor would stop the program, too.
    fn shape_of(&self, tile: usize) -> [usize; 2] {
        self.shape.expect("tiles that were configured").of(tile)
    }

    /// Rows of sums and of weights.
    ///
    /// # Panics
    /// If three tiles do not fit each other.
    fn product(&self, [sums, pixels, weights]: [usize; 3]) -> [usize; 2] {
        let [sums, pixels, weights] = [sums, pixels, weights].map(|tile| self.shape_of(tile));
        assert!(
            sums[0] == pixels[0] && pixels[1] == 4 * weights[0] && sums[1] == weights[1],
            "a product of tiles {sums:?}, {pixels:?} and {weights:?}"
        );
        [sums[0], weights[0]]
    }
}

impl Tiles for Emulated {
    unsafe fn configure(shape: TileShape) {
        let is_shape = |n: usize| (1..=ROWS).contains(&n);
        assert!(is_shape(shape.pixels) && is_shape(shape.runs), "{shape:?}");
        FILE.with_borrow_mut(|file| {
            file.shape = Some(shape);
            file.tiles = [[[0; ROW]; ROWS]; 8];
        });
    }

    unsafe fn release() {
        FILE.with_borrow_mut(|file| file.shape = None);
    }

    unsafe fn zero<const T: usize>() {
        FILE.with_borrow_mut(|file| {
            file.shape_of(T);
            file.tiles[T] = [[0; ROW]; ROWS];
        });
    }

    unsafe fn load<const T: usize>(from: *const u8, stride: usize) {
        FILE.with_borrow_mut(|file| {
            let [rows, bytes] = file.shape_of(T);
            file.tiles[T] = [[0; ROW]; ROWS];
            for (row, to) in file.tiles[T].iter_mut().take(rows).enumerate() {
                // SAFETY: the caller vouches for the rows.
                unsafe {
                    to.as_mut_ptr()
                        .copy_from_nonoverlapping(from.add(row * stride), bytes);
                }
            }
        });
    }

    unsafe fn store<const T: usize>(to: *mut u8, stride: usize) {
        FILE.with_borrow_mut(|file| {
            let [rows, bytes] = file.shape_of(T);
            for (row, from) in file.tiles[T].iter().take(rows).enumerate() {
                // SAFETY: the caller vouches for the rows.
                unsafe {
                    to.add(row * stride)
                        .copy_from_nonoverlapping(from.as_ptr(), bytes);
                };
            }
        });
    }

    unsafe fn add_bytes<const SUMS: usize, const PIXELS: usize, const WEIGHTS: usize>() {
        FILE.with_borrow_mut(|file| {
            let [rows, runs] = file.product([SUMS, PIXELS, WEIGHTS]);
            let (pixels, weights) = (file.tiles[PIXELS], file.tiles[WEIGHTS]);
            for (row, pixel) in pixels.iter().enumerate().take(rows) {
                let mut sums = [0_i32; 16];
                for (sum, bytes) in sums.iter_mut().zip(file.tiles[SUMS][row].as_chunks().0) {
                    *sum = i32::from_ne_bytes(*bytes);
                }
                for (run, weights) in weights.iter().enumerate().take(runs) {
                    for (column, sum) in sums.iter_mut().enumerate() {
                        for byte in 0..4 {
                            let x = i32::from(pixel[4 * run + byte]);
                            let w = i32::from(weights[4 * column + byte].cast_signed());
                            *sum = sum.wrapping_add(x * w);
                        }
                    }
                }
                for (sum, bytes) in sums.iter().zip(file.tiles[SUMS][row].as_chunks_mut().0) {
                    *bytes = sum.to_ne_bytes();
                }
            }
        });
    }

    unsafe fn add_bf16<const SUMS: usize, const PIXELS: usize, const WEIGHTS: usize>() {
        FILE.with_borrow_mut(|file| {
            let [rows, runs] = file.product([SUMS, PIXELS, WEIGHTS]);
            let (pixels, weights) = (file.tiles[PIXELS], file.tiles[WEIGHTS]);
            let number = |row: &[u8; ROW], i: usize| {
                from_bf16(u16::from_ne_bytes([row[2 * i], row[2 * i + 1]]))
            };
            for (row, pixel) in pixels.iter().enumerate().take(rows) {
                let (sums, _) = file.tiles[SUMS][row].as_chunks_mut();
                for (column, sum) in sums.iter_mut().enumerate() {
                    let (mut even, mut odd) = (0.0_f32, 0.0_f32);
                    for (run, weights) in weights.iter().enumerate().take(runs) {
                        let product = |i: usize, sum: f32| {
                            number(pixel, 2 * run + i).mul_add(number(weights, 2 * column + i), sum)
                        };
                        even = product(0, even);
                        odd = product(1, odd);
                    }
                    *sum = (f32::from_ne_bytes(*sum) + (even + odd)).to_ne_bytes();
                }
            }
        });
    }
}
