//! The threads that kernels run on.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool of threads that flush denormal numbers to zero: one multiplication by a denormal costs
/// more than a hundred ordinary ones, and activations decay into them.
///
/// **A known deviation from Rust's rules.** The compiler may assume that the floating-point environment is the default
/// one; the reference counts a thread that computes with another as undefined behaviour, and the standard library
/// took away the functions that changed it (`_mm_setcsr`). We set the bits by inline assembly all the same, because
/// no other way has the speed, and keep to what makes it harmless in practice: only threads of this pool are
/// changed, from their start to their end; only results that are denormal, or made of denormals, differ (from the
/// default's by less than the smallest normal number); every constant that the compiler folds in the default
/// environment instead is one of these two results; and nothing in this workspace depends on which. Whoever
/// passes a closure to [`Threads::run`] computes in that environment, too.
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

/// Makes this thread treat denormals as zero, in what it reads and in what it writes. (Not under Miri, which knows
/// no other environment than the default.)
fn flush_denormals() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        const FLUSH_TO_ZERO: u32 = 1 << 15;
        const DENORMALS_ARE_ZERO: u32 = 1 << 6;
        let mut control = 0_u32;
        // SAFETY: stores and loads the SSE control register through a valid pointer; the two bits change what
        // becomes of denormals, in this thread only: the deviation that `Threads` states.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack));
            control |= FLUSH_TO_ZERO | DENORMALS_ARE_ZERO;
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack));
        }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        const FLUSH_TO_ZERO: u64 = 1 << 24;
        let mut control: u64;
        // SAFETY: reads and writes the floating-point control register; bit 24 changes what becomes of
        // denormals, in this thread only: the deviation that `Threads` states.
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
    #[cfg_attr(miri, ignore = "Miri has denormals on every thread")]
    fn workers_flush_denormals() {
        let threads = Threads::new(2).unwrap();
        let tiny = std::hint::black_box(f32::MIN_POSITIVE);
        let flushed = threads.run(|| std::hint::black_box(tiny * 0.5));
        assert_eq!(flushed, 0.0);
    }
}
