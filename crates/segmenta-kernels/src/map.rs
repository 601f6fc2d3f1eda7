//! Feature maps in blocked layout: views that know their shape.

use crate::isa::Isa;

/// Batch, channels, height and width of a map.
///
/// Its numbers of values panic instead of wrapping around where they are more than a `usize` holds: no slice has so
/// many, and what was wrapped would pass for the length of a short one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    /// Pictures in the batch.
    pub batch: usize,
    /// Channels that count; the last block may hold more.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl MapShape {
    /// NCHW, in that order.
    pub fn new(batch: usize, channels: usize, height: usize, width: usize) -> Self {
        Self {
            batch,
            channels,
            height,
            width,
        }
    }

    /// Pixels of one channel.
    #[inline]
    pub fn pixels(&self) -> usize {
        self.product([self.height, self.width])
    }

    /// Values of one picture in planar layout.
    pub fn planar_len(&self) -> usize {
        self.product([self.channels, self.height, self.width])
    }

    /// Values of the whole batch in planar layout.
    pub fn batch_len(&self) -> usize {
        self.product([self.batch, self.channels, self.height, self.width])
    }

    /// Blocks of channels.
    pub fn blocks(&self, isa: Isa) -> usize {
        self.channels.div_ceil(isa.lanes())
    }

    /// Values of one picture in blocked layout, the last block filled up.
    pub fn image_len(&self, isa: Isa) -> usize {
        self.product([self.blocks(isa), self.height, self.width, isa.lanes()])
    }

    /// Values of the whole batch in blocked layout.
    pub fn blocked_len(&self, isa: Isa) -> usize {
        let blocks = self.blocks(isa);
        self.product([self.batch, blocks, self.height, self.width, isa.lanes()])
    }

    /// # Panics
    /// If it is more than a `usize` holds.
    #[inline]
    fn product<const N: usize>(&self, factors: [usize; N]) -> usize {
        let product = factors.into_iter().try_fold(1, usize::checked_mul);
        product.unwrap_or_else(|| self.is_too_large())
    }

    #[cold]
    fn is_too_large(&self) -> ! {
        panic!("more values than memory has places: {self:?}")
    }

    fn check(&self, isa: Isa, len: usize, image_stride: usize) {
        let image = self.image_len(isa);
        assert!(
            self.batch > 0 && image > 0,
            "a map without values: {self:?}"
        );
        assert!(
            image_stride >= image || self.batch == 1,
            "pictures of {image} values overlap at a distance of {image_stride}"
        );
        let before = (self.batch - 1).checked_mul(image_stride);
        let needed = before.and_then(|before| before.checked_add(image));
        assert!(
            needed.is_some_and(|needed| needed <= len),
            "{self:?}, pictures {image_stride} values apart, in a slice of {len}"
        );
    }
}

/// A map that is read. It may be a run of channels of a larger map: `image_stride` is the distance
/// from one picture of the batch to the next.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    data: &'a [f32],
    shape: MapShape,
    image_stride: usize,
    isa: Isa,
}

/// A map that is written; see [`Map`].
#[derive(Debug)]
pub struct MapMut<'a> {
    data: &'a mut [f32],
    shape: MapShape,
    image_stride: usize,
    isa: Isa,
}

macro_rules! shape_of_a_view {
    () => {
        /// Its shape.
        pub fn shape(&self) -> MapShape {
            self.shape
        }

        /// The instruction set whose block it is laid out in.
        pub fn isa(&self) -> Isa {
            self.isa
        }

        /// Values from one block of channels to the next.
        pub(crate) fn plane(&self) -> usize {
            self.shape.pixels() * self.isa.lanes()
        }

        pub(crate) fn blocks(&self) -> usize {
            self.shape.blocks(self.isa)
        }
    };
}

impl<'a> Map<'a> {
    /// A view of `data`, which starts at the first channel of the first picture.
    ///
    /// # Panics
    /// If the slice is too short for the shape.
    pub fn new(isa: Isa, shape: MapShape, data: &'a [f32], image_stride: usize) -> Self {
        shape.check(isa, data.len(), image_stride);
        Self {
            data,
            shape,
            image_stride,
            isa,
        }
    }

    /// A view of a whole buffer.
    ///
    /// # Panics
    /// If the slice is too short for the shape.
    pub fn whole(isa: Isa, shape: MapShape, data: &'a [f32]) -> Self {
        Self::new(isa, shape, data, shape.image_len(isa))
    }

    shape_of_a_view!();

    /// Values from one picture of the batch to the next.
    pub(crate) fn image_stride(&self) -> usize {
        self.image_stride
    }

    fn offset(&self, image: usize, block: usize) -> usize {
        image * self.image_stride + block * self.plane()
    }

    /// Address of a block of one picture: `plane()` values are there, and what lies before and behind it in the
    /// map can be reached from it.
    ///
    /// # Panics
    /// If the slice does not have the block.
    #[inline(always)]
    pub(crate) fn block(&self, image: usize, block: usize) -> *const f32 {
        debug_assert!(image < self.shape.batch && block < self.blocks());
        let (at, plane) = (self.offset(image, block), self.plane());
        let is_there = at <= self.data.len() && plane <= self.data.len() - at;
        assert!(is_there, "no block {block} of picture {image}");
        self.data.as_ptr().wrapping_add(at)
    }

    /// The values of one block of one picture.
    pub(crate) fn block_slice(&self, image: usize, block: usize) -> &'a [f32] {
        &self.data[self.offset(image, block)..][..self.plane()]
    }
}

impl<'a> MapMut<'a> {
    /// A view of `data`, which starts at the first channel of the first picture.
    ///
    /// # Panics
    /// If the slice is too short for the shape.
    pub fn new(isa: Isa, shape: MapShape, data: &'a mut [f32], image_stride: usize) -> Self {
        shape.check(isa, data.len(), image_stride);
        Self {
            data,
            shape,
            image_stride,
            isa,
        }
    }

    /// A view of a whole buffer.
    ///
    /// # Panics
    /// If the slice is too short for the shape.
    pub fn whole(isa: Isa, shape: MapShape, data: &'a mut [f32]) -> Self {
        let stride = shape.image_len(isa);
        Self::new(isa, shape, data, stride)
    }

    shape_of_a_view!();

    /// Values from one picture of the batch to the next.
    pub(crate) fn image_stride(&self) -> usize {
        self.image_stride
    }

    /// For threads that each write their own part.
    pub(crate) fn shared(&mut self) -> crate::shared::Shared<'_> {
        crate::shared::Shared::new(self.data)
    }
}

/// The instruction set that all maps of one operation, and the weights that it packed, are laid out for: the first
/// check of every entry point, since blocks of one have another size than those of another.
///
/// # Panics
/// If there are two.
#[track_caller]
pub(crate) fn one_isa<const N: usize>(all: [Isa; N]) -> Isa {
    for isa in all {
        assert!(
            isa == all[0],
            "one operation on maps of two instruction sets, {} and {isa}",
            all[0]
        );
    }
    all[0]
}

/// What two maps that are worked on together must share.
#[track_caller]
pub(crate) fn assert_same(a: MapShape, b: MapShape) {
    assert_eq!(a, b, "two maps of one operation differ in shape");
}
