//! Low-precision maps value by value, for tests: written to be obviously right.

use super::element::{Element, bf16, from_bf16};
use super::layout::LowLayout;
use crate::buffer::{Buffer, as_bytes, as_bytes_mut};

/// What memory holds that nobody wrote: as bf16 it is a NaN.
pub(crate) const GARBAGE: u8 = 0xff;

/// A map in memory of its own.
pub(crate) struct Stored {
    pub(crate) layout: LowLayout,
    pub(crate) memory: Buffer,
}

/// Random bits that do not depend on anything but `seed`.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

impl Stored {
    /// Garbage everywhere.
    pub(crate) fn garbage(layout: LowLayout) -> Self {
        let mut memory = Buffer::zeros(layout.bytes() / 4);
        as_bytes_mut(&mut memory).fill(GARBAGE);
        Self { layout, memory }
    }

    /// Random numbers, and in the rest of the pixels others; what stands for 0 around. bf16 numbers are between −2
    /// and 2.
    pub(crate) fn random(layout: LowLayout, seed: u64) -> Self {
        let mut noise = noise(seed);
        let mut stored = Self::garbage(layout);
        let element = layout.element();
        let number = |bits: u64| match element {
            Element::Bf16 => bf16((bits % 4096) as f32 / 1024.0 - 2.0).to_ne_bytes(),
            Element::U8(_) | Element::I8(_) => [bits as u8, 0],
        };
        let shape = layout.shape();
        for image in 0..shape.batch {
            for plane in 0..layout.planes() {
                let start = image * layout.image_stride() + plane * layout.plane();
                for run in layout.halo_runs() {
                    as_bytes_mut(&mut stored.memory)[start..][run].fill(element.zero_byte());
                }
                for (row, column) in pixels([shape.height, shape.width]) {
                    for value in 0..layout.block() {
                        let at = start + layout.at(row, column) + value * element.bytes();
                        let bytes = &number(noise())[..element.bytes()];
                        as_bytes_mut(&mut stored.memory)[at..][..bytes.len()]
                            .copy_from_slice(bytes);
                    }
                }
            }
        }
        stored
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        as_bytes(&self.memory)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        as_bytes_mut(&mut self.memory)
    }

    fn at(&self, [image, channel, row, column]: [usize; 4]) -> usize {
        let layout = &self.layout;
        image * layout.image_stride() + layout.channel(channel) + layout.at(row, column)
    }

    /// A number as it is stored, bf16 as its value.
    pub(crate) fn stored(&self, at: [usize; 4]) -> f32 {
        let bytes = &self.bytes()[self.at(at)..];
        match self.layout.element() {
            Element::Bf16 => from_bf16(u16::from_ne_bytes([bytes[0], bytes[1]])),
            Element::U8(_) => f32::from(bytes[0]),
            Element::I8(_) => f32::from(bytes[0].cast_signed()),
        }
    }

    /// The real value.
    pub(crate) fn real(&self, at: [usize; 4]) -> f32 {
        let quantisation = self.layout.element().quantisation();
        (self.stored(at) - quantisation.zero_point as f32) * quantisation.scale
    }

    /// Asserts that a kernel wrote what it must and nothing else: what stands for 0 around, numbers in all channels of
    /// the pixels, nothing behind.
    pub(crate) fn assert_whole(&self, what: &str) {
        let (layout, element) = (&self.layout, self.layout.element());
        let shape = layout.shape();
        for image in 0..shape.batch {
            for plane in 0..layout.planes() {
                let start = image * layout.image_stride() + plane * layout.plane();
                let bytes = &self.bytes()[start..][..layout.plane()];
                let mut end = 0;
                for run in layout.halo_runs() {
                    end = end.max(run.end);
                    let is_zero = bytes[run].iter().all(|&byte| byte == element.zero_byte());
                    assert!(is_zero, "{what}: the halo of plane {plane} of {layout:?}");
                }
                end = end.max(layout.at(shape.height - 1, shape.width - 1) + layout.pixel());
                let untouched = bytes[end..].iter().all(|&byte| byte == GARBAGE);
                assert!(untouched, "{what}: behind plane {plane} of {layout:?}");
                if element == Element::Bf16 {
                    for (row, column) in pixels([shape.height, shape.width]) {
                        let pixel = &bytes[layout.at(row, column)..][..layout.pixel()];
                        let finite = pixel
                            .chunks(2)
                            .all(|b| from_bf16(u16::from_ne_bytes([b[0], b[1]])).is_finite());
                        assert!(
                            finite,
                            "{what}: plane {plane} of {layout:?} at {row}, {column}"
                        );
                    }
                }
            }
        }
    }
}

/// Rows and columns of a map.
pub(crate) fn pixels([height, width]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
    (0..height).flat_map(move |row| (0..width).map(move |column| (row, column)))
}

/// All places of a map.
pub(crate) fn places(shape: crate::map::MapShape) -> impl Iterator<Item = [usize; 4]> {
    let planes = (0..shape.batch).flat_map(move |n| (0..shape.channels).map(move |c| (n, c)));
    planes
        .flat_map(move |(n, c)| pixels([shape.height, shape.width]).map(move |(y, x)| [n, c, y, x]))
}
