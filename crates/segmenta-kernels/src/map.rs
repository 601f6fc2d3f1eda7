//! Feature maps in blocked layout: views that know their shape.

use crate::isa::Isa;

/// Batch, channels, height and width of a map.
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
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values of one picture in planar layout.
    pub fn planar_len(&self) -> usize {
        self.channels * self.pixels()
    }

    /// Blocks of channels.
    pub fn blocks(&self, isa: Isa) -> usize {
        self.channels.div_ceil(isa.lanes())
    }

    /// Values of one picture in blocked layout, the last block filled up.
    pub fn image_len(&self, isa: Isa) -> usize {
        self.blocks(isa) * self.pixels() * isa.lanes()
    }

    /// Values of the whole batch in blocked layout.
    pub fn blocked_len(&self, isa: Isa) -> usize {
        self.batch * self.image_len(isa)
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
        let needed = (self.batch - 1) * image_stride + image;
        assert!(
            len >= needed,
            "a map of {needed} values in a slice of {len}"
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

    /// Address of a block of one picture; `plane()` values are there.
    pub(crate) fn block(&self, image: usize, block: usize) -> *const f32 {
        debug_assert!(image < self.shape.batch && block < self.blocks());
        self.data[self.offset(image, block)..].as_ptr()
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

/// What two maps that are worked on together must share.
pub(crate) fn assert_same(a: MapShape, b: MapShape) {
    assert_eq!(a, b, "two maps of one operation differ in shape");
}
