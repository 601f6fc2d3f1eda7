//! `segmenta bench`: how fast it is here.

mod forward;
mod kernels;

use std::time::Instant;

pub(crate) use forward::forward;
pub(crate) use kernels::kernels;

/// Of sorted values.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
