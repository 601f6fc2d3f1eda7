//! `segmenta bench`: how fast it is here.

mod args;
mod forward;
mod kernels;
#[cfg(feature = "train")]
mod step;

use std::time::Instant;

pub(crate) use args::{Bench, BenchArgs};
pub(crate) use forward::forward;
pub(crate) use kernels::kernels;
#[cfg(feature = "train")]
pub(crate) use step::step;

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

/// The most memory that this process has had, where the system says it (Linux does).
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}
