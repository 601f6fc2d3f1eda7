//! What this machine could do at best in low precision, measured: the yardstick of the convolutions.

use std::hint::black_box;

use super::element::Element;
use super::engine::{Engine, ProductKernel, TileKernel};
use super::product::{Product, ROW, STEP};
use super::tile::{ROWS, TileShape, Tiles};
use crate::peak::fastest;
use crate::shared::in_parallel;
use crate::threads::Threads;

/// Multiply-adds a second that all threads together do when nothing is read or written.
pub fn multiply_adds_per_second(engine: Engine, element: Element, threads: &Threads) -> f64 {
    const ROUNDS: usize = 1_000_000;
    let count = threads.count();
    let is_bf16 = element == Element::Bf16;
    let seconds = fastest(threads, || {
        in_parallel(count, |_| {
            if engine.has_tiles() {
                engine.tiles(TileChains(ROUNDS / 100, is_bf16));
            } else {
                engine.products(element, Chains(ROUNDS));
            }
        });
    });
    let values = STEP / element.bytes();
    let per_round = if engine.has_tiles() {
        4 * ROWS * ROWS * ROWS / 100
    } else {
        CHAINS * ROW / STEP
    };
    (count * ROUNDS * per_round * values) as f64 / seconds
}

/// Sums that do not wait for each other.
const CHAINS: usize = 12;

/// So many rounds of one product a chain.
struct Chains(usize);

impl ProductKernel for Chains {
    #[inline(always)]
    unsafe fn run<P: Product>(self) {
        // SAFETY: a row and a pixel's part are read from arrays of their size, and sums written to one.
        unsafe {
            let (row, pixel) = (black_box([1_u8; ROW]), black_box([1_u8; STEP]));
            let (row, pixel) = (P::row(row.as_ptr()), P::pixel(pixel.as_ptr()));
            let mut sums = [P::zero(); CHAINS];
            for _ in 0..self.0 {
                for sum in &mut sums {
                    *sum = P::add(*sum, pixel, row);
                }
            }
            let mut bytes = [0_u8; ROW];
            for sum in sums {
                P::store(bytes.as_mut_ptr(), sum);
                black_box(&bytes);
            }
        }
    }
}

/// So many rounds of four products of tiles; whether of bf16 numbers.
struct TileChains(usize, bool);

impl TileKernel for TileChains {
    #[inline(always)]
    unsafe fn run<T: Tiles>(self) {
        // SAFETY: whole tiles, which nothing is loaded to or stored from.
        unsafe {
            T::configure(TileShape {
                pixels: ROWS,
                runs: ROWS,
            });
            for _ in 0..self.0 {
                if self.1 {
                    T::add_bf16::<0, 4, 6>();
                    T::add_bf16::<1, 4, 7>();
                    T::add_bf16::<2, 5, 6>();
                    T::add_bf16::<3, 5, 7>();
                } else {
                    T::add_bytes::<0, 4, 6>();
                    T::add_bytes::<1, 4, 7>();
                    T::add_bytes::<2, 5, 6>();
                    T::add_bytes::<3, 5, 7>();
                }
            }
            T::release();
        }
    }
}
