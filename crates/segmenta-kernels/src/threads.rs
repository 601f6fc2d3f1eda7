//! The threads that kernels run on.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool of threads that flush denormal numbers to zero: one multiplication by a denormal costs
/// more than a hundred ordinary ones, and activations decay into them.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// A pool of `count` threads; 0 takes one a core.
    ///
    /// # Errors
    /// What the system says if it gives no more threads.
    pub fn new(count: usize) -> std::io::Result<Self> {
        ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("segmenta-{i}"))
            .start_handler(|_| flush_denormals())
            .build()
            .map(Self)
            .map_err(std::io::Error::other)
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Runs `work` inside the pool, where the kernels that it calls find its threads.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }
}

/// Makes this thread treat denormals as zero, in what it reads and in what it writes.
fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        const FLUSH_TO_ZERO: u32 = 1 << 15;
        const DENORMALS_ARE_ZERO: u32 = 1 << 6;
        let mut control = 0_u32;
        // SAFETY: stores and loads the SSE control register through a valid pointer; the two bits
        // change the rounding of denormals only, in this thread only, which runs nothing but ours.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack));
            control |= FLUSH_TO_ZERO | DENORMALS_ARE_ZERO;
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        const FLUSH_TO_ZERO: u64 = 1 << 24;
        let mut control: u64;
        // SAFETY: reads and writes the floating-point control register; bit 24 changes the
        // rounding of denormals only, in this thread only, which runs nothing but ours.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack));
            control |= FLUSH_TO_ZERO;
            std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_flush_denormals() {
        let threads = Threads::new(2).unwrap();
        let tiny = std::hint::black_box(f32::MIN_POSITIVE);
        let flushed = threads.run(|| std::hint::black_box(tiny * 0.5));
        assert_eq!(flushed, 0.0);
    }
}
