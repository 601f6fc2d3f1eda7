//! One slice written by many threads, each in its own part.

use std::marker::PhantomData;

use rayon::prelude::*;

/// A mutable slice that several threads may hold at once.
///
/// What each thread writes must be disjoint; that is the promise of whoever calls [`Shared::at`].
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    _slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable slice in parts; `at` is unsafe and asks for disjoint parts.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            _slice: PhantomData,
        }
    }

    /// The address of one value.
    ///
    /// # Safety
    /// No other thread may read or write what is written through the pointer, which must stay
    /// inside the slice.
    #[inline(always)]
    pub(crate) unsafe fn at(self, index: usize) -> *mut f32 {
        // SAFETY: inside, or one behind the end, as the caller vouches.
        unsafe {
            debug_assert!(index <= self.len);
            self.start.add(index)
        }
    }
}

/// Runs `work` for 0 to `count`, each a task of its own, on the threads of the current pool.
pub(crate) fn in_parallel(count: usize, work: impl Fn(usize) + Send + Sync) {
    each(count, &work);
}

/// One function for all work: rayon's stealing compiled anew for each of sixty closures would be a third of
/// this crate's code.
fn each(count: usize, work: &(dyn Fn(usize) + Send + Sync)) {
    if count == 1 {
        work(0);
    } else {
        let tasks = (0..count).into_par_iter().with_max_len(1);
        tasks.for_each(work);
    }
}

/// The range of part `index` when `total` is cut into `parts` of nearly equal length.
pub(crate) fn part(total: usize, parts: usize, index: usize) -> std::ops::Range<usize> {
    index * total / parts..(index + 1) * total / parts
}

/// How many parts to cut `total` units of work into: enough to keep all threads busy to the end,
/// each at least `least` units.
pub(crate) fn parts(total: usize, least: usize) -> usize {
    const PER_THREAD: usize = 4;
    let most = (total / least.max(1)).max(1);
    (rayon::current_num_threads() * PER_THREAD).min(most)
}

/// How many tasks each of `outer` independent pieces of work is cut into: `wanted` (at most `most`),
/// or as many more as it takes for all threads to get the same number of tasks.
pub(crate) fn tasks(outer: usize, wanted: usize, most: usize) -> usize {
    let threads = rayon::current_num_threads();
    // With many tasks an uneven end costs little.
    let plenty = 8 * threads;
    let least = (2 * threads).div_ceil(outer);
    let mut count = wanted.max(least);
    while outer * count < plenty && !(outer * count).is_multiple_of(threads) {
        count += 1;
    }
    count.min(most).max(1)
}
