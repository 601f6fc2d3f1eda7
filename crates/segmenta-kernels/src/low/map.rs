//! Views of low-precision maps in memory: what is read and what is written.

use std::marker::PhantomData;

use super::engine::Engine;
use super::layout::{LINE, LowLayout};

/// A low-precision map that is read.
#[derive(Clone, Copy, Debug)]
pub struct LowMap<'a> {
    data: &'a [u8],
    layout: LowLayout,
    engine: Engine,
}

/// A low-precision map that is written; see [`LowMap`].
#[derive(Debug)]
pub struct LowMapMut<'a> {
    data: &'a mut [u8],
    layout: LowLayout,
    engine: Engine,
}

#[track_caller]
fn check(layout: &LowLayout, data: &[u8]) {
    assert!(
        data.len() >= layout.bytes(),
        "{layout:?} in a slice of {} bytes",
        data.len()
    );
    assert!(
        data.as_ptr().addr().is_multiple_of(LINE),
        "a map that does not begin with a cache line"
    );
}

macro_rules! view {
    () => {
        /// Shape, element and place of every value.
        pub fn layout(&self) -> LowLayout {
            self.layout
        }

        /// What computes on it.
        pub fn engine(&self) -> Engine {
            self.engine
        }
    };
}

impl<'a> LowMap<'a> {
    /// A view of `data`, which starts at the map's first byte, on a cache line.
    ///
    /// # Panics
    /// If the slice is too short for the layout, or starts elsewhere.
    pub fn new(engine: Engine, layout: LowLayout, data: &'a [u8]) -> Self {
        check(&layout, data);
        Self {
            data,
            layout,
            engine,
        }
    }

    view!();

    /// The first byte of a picture, from where all of the map can be reached.
    pub(crate) fn image(&self, image: usize) -> *const u8 {
        assert!(image < self.layout.shape().batch, "no picture {image}");
        self.data
            .as_ptr()
            .wrapping_add(image * self.layout.image_stride())
    }
}

impl<'a> LowMapMut<'a> {
    /// A view of `data`, which starts at the map's first byte, on a cache line.
    ///
    /// # Panics
    /// If the slice is too short for the layout, or starts elsewhere.
    pub fn new(engine: Engine, layout: LowLayout, data: &'a mut [u8]) -> Self {
        check(&layout, data);
        Self {
            data,
            layout,
            engine,
        }
    }

    view!();

    /// For threads that each write their own part.
    pub(crate) fn places(&mut self) -> Places<'_> {
        Places {
            start: self.data.as_mut_ptr(),
            layout: self.layout,
            _map: PhantomData,
        }
    }
}

/// A map that several threads write at once, each its own pixels of its own planes.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    start: *mut u8,
    layout: LowLayout,
    _map: PhantomData<&'a mut [u8]>,
}

// SAFETY: it is a mutable slice in parts; its methods are unsafe and ask for disjoint parts.
unsafe impl Send for Places<'_> {}
// SAFETY: as above.
unsafe impl Sync for Places<'_> {}

impl Places<'_> {
    pub(crate) fn layout(&self) -> &LowLayout {
        &self.layout
    }

    /// The first byte of a picture.
    ///
    /// # Safety
    /// There is such a picture; no other thread may read or write what is written through the pointer, which must
    /// stay inside the map.
    #[inline(always)]
    pub(crate) unsafe fn image(&self, image: usize) -> *mut u8 {
        // SAFETY: inside the map, as the caller vouches.
        unsafe { self.start.add(image * self.layout.image_stride()) }
    }

    /// Writes the halo of one plane, which holds what stands for 0.
    ///
    /// # Safety
    /// There are such a picture and plane, and no other thread writes or reads its halo.
    pub(crate) unsafe fn clear_halo(&self, image: usize, plane: usize) {
        // SAFETY: the runs lie in the plane, and the caller vouches that nobody else has them.
        unsafe {
            let start = self.image(image).add(plane * self.layout.plane());
            for run in self.layout.halo_runs() {
                start
                    .add(run.start)
                    .write_bytes(self.layout.element().zero_byte(), run.len());
            }
        }
    }
}

/// The engine that all maps of one operation, and the weights that it packed, are meant for: the first check of
/// every entry point.
///
/// # Panics
/// If there are two.
#[track_caller]
pub(crate) fn one_engine<const N: usize>(all: [Engine; N]) -> Engine {
    for engine in all {
        assert!(
            engine == all[0],
            "one operation on maps of two engines, {} and {engine}",
            all[0]
        );
    }
    all[0]
}
