//! What this machine could do at best, measured: the yardstick of every other kernel.

use std::hint::black_box;
use std::time::Instant;

use crate::isa::{Isa, Kernel};
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;
use crate::threads::Threads;

/// Attempts, of which the fastest counts: a machine is never faster than it is, but often slower.
const ATTEMPTS: usize = 5;

/// Multiply-adds a second that all threads together do when nothing is read or written.
pub fn multiply_adds_per_second(isa: Isa, threads: &Threads) -> f64 {
    const ROUNDS: usize = 2_000_000;
    let count = threads.count();
    let seconds = fastest(threads, || {
        in_parallel(count, |_| {
            black_box(isa.run(Chains(ROUNDS)));
        });
    });
    (count * ROUNDS * CHAINS * isa.lanes()) as f64 / seconds
}

/// Bytes a second, read and written together, of a copy that fits no cache.
pub fn bytes_copied_per_second(threads: &Threads) -> f64 {
    const LEN: usize = 32 << 20;
    const PIECE: usize = 1 << 16;
    let from = vec![1.0_f32; LEN];
    let mut to = vec![0.0_f32; LEN];
    let seconds = fastest(threads, || {
        let to = Shared::new(&mut to);
        in_parallel(LEN / PIECE, |piece| {
            let from = &from[piece * PIECE..][..PIECE];
            // SAFETY: a piece is written by the one task that has its number.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.at(piece * PIECE), PIECE) };
        });
    });
    black_box(&to);
    (2 * LEN * size_of::<f32>()) as f64 / seconds
}

pub(crate) fn fastest(threads: &Threads, mut work: impl FnMut() + Send) -> f64 {
    let attempt = |_| {
        let start = Instant::now();
        threads.run(&mut work);
        start.elapsed().as_secs_f64()
    };
    (0..ATTEMPTS).map(attempt).fold(f64::INFINITY, f64::min)
}

/// Sums that do not wait for each other: more than latency times units, fewer than registers.
const CHAINS: usize = 12;

/// So many rounds of one multiply-add a chain.
struct Chains(usize);

impl Kernel for Chains {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        // SAFETY: arithmetic of vectors, and a store to an array that has room for the widest.
        unsafe {
            let (factor, term) = (S::splat(black_box(0.999)), S::splat(black_box(0.001)));
            let mut sums = [S::zero(); CHAINS];
            for _ in 0..self.0 {
                for sum in &mut sums {
                    *sum = S::mul_add(*sum, factor, term);
                }
            }
            let mut values = [0.0; 16];
            for sum in sums {
                S::store(values.as_mut_ptr(), sum);
                black_box(&values);
            }
            values[0]
        }
    }
}
