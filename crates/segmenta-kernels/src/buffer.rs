//! Memory: buffers aligned to cache lines in huge pages, and the arena that a plan lays out.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

use thiserror::Error;

/// Huge pages of 2 MiB: fewer page faults on first use, fewer TLB misses after.
const HUGE_PAGE: usize = 2 << 20;
const CACHE_LINE: usize = 64;

/// Zeros, aligned to a cache line; large ones to huge pages.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: it owns its memory, as a `Vec` does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

/// There is not that much memory.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no room for {bytes} bytes")]
pub struct OutOfMemory {
    /// What was asked for.
    pub bytes: usize,
}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Panics
    /// As `Vec` does, if there is no memory; [`Buffer::try_zeros`] says so instead.
    pub fn zeros(len: usize) -> Self {
        Self::try_zeros(len).unwrap_or_else(|_| handle_alloc_error(layout(len.max(1)).unwrap()))
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// If the system does not give the memory.
    pub fn try_zeros(len: usize) -> Result<Self, OutOfMemory> {
        let bytes = len.saturating_mul(size_of::<f32>());
        let layout = layout(len.max(1)).ok_or(OutOfMemory { bytes })?;
        // SAFETY: the layout is not of zero size.
        let start = unsafe { alloc_zeroed(layout) };
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "the layout asks for more than f32 does"
        )]
        let start = NonNull::new(start.cast::<f32>()).ok_or(OutOfMemory { bytes })?;
        #[cfg(target_os = "linux")]
        if layout.align() == HUGE_PAGE {
            // SAFETY: advice on memory that was just allocated; if it is refused nothing changes.
            unsafe {
                libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
            }
        }
        Ok(Self { start, len })
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[f32]) -> Self {
        let mut buffer = Self::zeros(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

fn layout(len: usize) -> Option<Layout> {
    let bytes = len.checked_mul(size_of::<f32>())?;
    let align = if bytes >= HUGE_PAGE {
        HUGE_PAGE
    } else {
        CACHE_LINE
    };
    Layout::from_size_align(bytes, align).ok()
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len.max(1)) {
            // SAFETY: allocated in `try_zeros` with this same layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) }
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `len` values were allocated, zeroed, and live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// One buffer that all intermediate maps of a plan share, each in a range of its own.
#[derive(Debug)]
pub struct Arena(Buffer);

/// Parts of an arena: what a step reads and what it writes.
#[derive(Debug)]
pub struct ArenaViews<'a, const R: usize, const W: usize> {
    /// Read, in the order asked for.
    pub reads: [&'a [f32]; R],
    /// Written, in the order asked for.
    pub writes: [&'a mut [f32]; W],
}

impl Arena {
    /// Room for `len` values.
    ///
    /// # Errors
    /// If the system does not give the memory.
    pub fn new(len: usize) -> Result<Self, OutOfMemory> {
        Buffer::try_zeros(len).map(Self)
    }

    /// How many values there is room for.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is room for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Several parts at once. What is written may overlap nothing else.
    ///
    /// # Panics
    /// If a range leaves the arena, or a written one overlaps another: a plan laid out wrongly.
    pub fn views<const R: usize, const W: usize>(
        &mut self,
        reads: [Range<usize>; R],
        writes: [Range<usize>; W],
    ) -> ArenaViews<'_, R, W> {
        let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        for range in reads.iter().chain(&writes) {
            assert!(
                range.start <= range.end && range.end <= self.0.len(),
                "{range:?} leaves an arena of {} values",
                self.0.len()
            );
        }
        for (i, write) in writes.iter().enumerate() {
            let others = reads.iter().chain(&writes[i + 1..]);
            for other in others {
                assert!(
                    !overlap(write, other),
                    "{write:?} is written while {other:?} is in use"
                );
            }
        }
        let start = self.0.start.as_ptr();
        // SAFETY: every range is inside the buffer, which stays borrowed mutably as long as the
        // views live; no written range overlaps another, so no value is aliased mutably.
        unsafe {
            ArenaViews {
                reads: reads.map(|r| std::slice::from_raw_parts(start.add(r.start), r.len())),
                writes: writes.map(|w| std::slice::from_raw_parts_mut(start.add(w.start), w.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_and_aligned() {
        for len in [0, 1, 1000, HUGE_PAGE] {
            let buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|&x| x == 0.0));
            assert_eq!(buffer.as_ptr() as usize % CACHE_LINE, 0);
        }
    }

    #[test]
    fn too_much_memory_is_an_error() {
        assert!(Buffer::try_zeros(usize::MAX / 8).is_err());
    }

    #[test]
    #[should_panic(expected = "is written while")]
    fn overlapping_writes_are_refused() {
        Arena::new(10).unwrap().views([0..5], [4..8]);
    }
}
