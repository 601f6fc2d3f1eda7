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
        let start = allocate(layout).ok_or(OutOfMemory { bytes })?;
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

/// Zeroed memory. Large memory comes from the system itself: what an allocator gives anew may lie in
/// small pages, where Winograd's strides took twice as long.
fn allocate(layout: Layout) -> Option<NonNull<f32>> {
    #[cfg(all(target_os = "linux", not(miri)))]
    if layout.align() == HUGE_PAGE {
        return huge_pages::map(layout.size());
    }
    // SAFETY: the layout is not of zero size.
    let start = unsafe { alloc_zeroed(layout) };
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "the layout asks for more than f32 does"
    )]
    NonNull::new(start.cast::<f32>())
}

/// Asks the system for large pages behind a slice that nothing was written to yet: results that are as large as maps take
/// one page fault instead of five hundred. It may decline, and nothing changes.
pub fn prefer_huge_pages(slice: &mut [f32]) {
    #[cfg(all(target_os = "linux", not(miri)))]
    huge_pages::advise(slice);
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = slice;
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(layout) = layout(self.len.max(1)) else {
            return;
        };
        #[cfg(all(target_os = "linux", not(miri)))]
        if layout.align() == HUGE_PAGE {
            // SAFETY: `allocate` mapped so many bytes there, and nobody uses them any more.
            unsafe { huge_pages::unmap(self.start, layout.size()) };
            return;
        }
        // SAFETY: `allocate` took it with this same layout.
        unsafe { dealloc(self.start.as_ptr().cast(), layout) }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod huge_pages {
    use std::ptr::{NonNull, null_mut};

    use super::HUGE_PAGE;

    /// Advises on the huge pages that lie inside a slice.
    pub(super) fn advise(slice: &mut [f32]) {
        let bytes = size_of_val(slice);
        let before = slice
            .as_ptr()
            .align_offset(HUGE_PAGE)
            .saturating_mul(size_of::<f32>());
        let inside = bytes.saturating_sub(before) / HUGE_PAGE * HUGE_PAGE;
        if inside > 0 {
            // SAFETY: whole pages of the slice, whose values do not change; advice that is refused changes nothing.
            unsafe {
                let start = slice.as_mut_ptr().wrapping_byte_add(before);
                libc::madvise(start.cast(), inside, libc::MADV_HUGEPAGE);
            }
        }
    }

    /// Fresh zeros from the start of a huge page on.
    pub(super) fn map(bytes: usize) -> Option<NonNull<f32>> {
        let bytes = whole_pages(bytes)?;
        let room = bytes.checked_add(HUGE_PAGE)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at no address that anything else has.
        let room_start = unsafe { libc::mmap(null_mut(), room, protection, flags, -1, 0) };
        if room_start == libc::MAP_FAILED {
            return None;
        }
        let before = room_start.align_offset(HUGE_PAGE);
        let start = room_start.wrapping_byte_add(before);
        // SAFETY: gives back what was mapped around the part that is kept, in whole pages, and
        // advises on that part; advice that is refused changes nothing.
        unsafe {
            if before > 0 {
                libc::munmap(room_start, before);
            }
            if before < HUGE_PAGE {
                libc::munmap(start.wrapping_byte_add(bytes), HUGE_PAGE - before);
            }
            libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
        }
        NonNull::new(start.cast())
    }

    /// # Safety
    /// [`map`] gave `start` for as many bytes, and nothing points there any more.
    pub(super) unsafe fn unmap(start: NonNull<f32>, bytes: usize) {
        if let Some(bytes) = whole_pages(bytes) {
            // SAFETY: `map` took so many whole pages from there on, as the caller vouches.
            unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
        }
    }

    fn whole_pages(bytes: usize) -> Option<usize> {
        // SAFETY: asks the system for a constant.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        bytes.checked_next_multiple_of(usize::try_from(page).ok()?)
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

/// The bytes of values: a low-precision map's, wherever its place begins with a cache line.
pub fn as_bytes(values: &[f32]) -> &[u8] {
    // SAFETY: a value is four bytes, each of which is a number.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The bytes of values, to be written: whatever is put there is some value.
pub fn as_bytes_mut(values: &mut [f32]) -> &mut [u8] {
    // SAFETY: as in `as_bytes`, and every four bytes are a value.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
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
        self.views_and_scratch(reads, writes, 0..0).0
    }

    /// The same, and a part that is written and then forgotten.
    ///
    /// # Panics
    /// As [`Arena::views`].
    pub fn views_and_scratch<const R: usize, const W: usize>(
        &mut self,
        reads: [Range<usize>; R],
        writes: [Range<usize>; W],
        scratch: Range<usize>,
    ) -> (ArenaViews<'_, R, W>, &mut [f32]) {
        let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        let written = || writes.iter().chain([&scratch]);
        for range in reads.iter().chain(written()) {
            assert!(
                range.start <= range.end && range.end <= self.0.len(),
                "{range:?} leaves an arena of {} values",
                self.0.len()
            );
        }
        for (i, write) in written().enumerate() {
            for other in reads.iter().chain(written().skip(i + 1)) {
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
            let written =
                |w: Range<usize>| std::slice::from_raw_parts_mut(start.add(w.start), w.len());
            let views = ArenaViews {
                reads: reads.map(|r| std::slice::from_raw_parts(start.add(r.start), r.len())),
                writes: writes.map(written),
            };
            (views, written(scratch))
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
    fn advice_changes_nothing() {
        for len in [0, 1, 1000, HUGE_PAGE] {
            let mut values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            prefer_huge_pages(&mut values);
            assert!(values.iter().enumerate().all(|(i, &v)| v == i as f32));
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
