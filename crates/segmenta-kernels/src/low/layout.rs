//! How a low-precision map lies in memory.
//!
//! A picture is planes of pixels: `[channels / C][rows][columns][C]`, `C` channels making a pixel of at most 64
//! bytes, which is one cache line and one row of a tile. Around every plane lies a halo that holds the zero point,
//! so that no window asks whether it is on the map. Rows share it: what is right of one row is left of the next,
//!
//! ```text
//! halo rows of (width + halo columns) pixels, halo columns
//! row 0 of the map, halo columns
//! ⋮
//! last row of the map, halo columns
//! halo rows of (width + halo columns) pixels
//! ```
//!
//! **Thin maps** of at most 32, 16 or 4 channels have pixels of so many, as far as that is below 64 bytes: a first
//! layer would read sixteen times its picture otherwise, and the last layers of a decoder, 16 channels at full
//! size, four times theirs. Several taps of a row of the window then make one step of the reduction. Every kernel
//! writes the bytes of its pixels and none beside, since the next pixel may be another thread's.
//!
//! Planes lie 33 cache lines apart modulo a page (small ones an odd number of lines), so that the lines of one pixel
//! in many planes do not meet in one set of the first cache.

use super::element::Element;
use super::narrow::GROUP;
use crate::map::MapShape;

/// Bytes of a cache line, and the most that a pixel has.
pub(crate) const LINE: usize = 64;

/// Shape, element and place of every value of a low-precision map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LowLayout {
    shape: MapShape,
    element: Element,
    halo: [usize; 2],
    /// Bytes of a pixel.
    pixel: usize,
    /// Bytes from one plane to the next.
    plane: usize,
    /// Bytes from one picture to the next.
    image_stride: usize,
}

impl LowLayout {
    /// A map of its own with `halo` rows above and below and `halo` columns left and right: at least the padding of
    /// every convolution that reads it.
    ///
    /// # Panics
    /// If the map has no values or more than memory has places, or the element no quantisation.
    pub fn new(shape: MapShape, element: Element, halo: [usize; 2]) -> Self {
        element.check();
        assert!(shape.batch_len() > 0, "a map without values: {shape:?}");
        let pixel = Self::channels_of_a_pixel(shape.channels, element) * element.bytes();
        let plane = plane_bytes(shape, halo, pixel);
        let image_stride = plane.and_then(|plane| plane.checked_mul(planes(shape, element, pixel)));
        let whole = image_stride.and_then(|stride| stride.checked_mul(shape.batch));
        let (Some(plane), Some(image_stride), Some(_)) = (plane, image_stride, whole) else {
            panic!("more values than memory has places: {shape:?} with a halo of {halo:?}");
        };
        Self {
            shape,
            element,
            halo,
            pixel,
            plane,
            image_stride,
        }
    }

    /// Channels that share a pixel in a map of so many.
    pub fn channels_of_a_pixel(channels: usize, element: Element) -> usize {
        let most = LINE / element.bytes();
        let thin = [4, GROUP, 2 * GROUP]
            .into_iter()
            .find(|&thin| channels <= thin);
        thin.map_or(most, |thin| thin.min(most))
    }

    /// The channels from `first` on as a map of their own in the same memory, and how many bytes behind this one's
    /// start it begins: how a concatenation is written in place. There is none unless the part begins with a pixel
    /// and ends with one, or where this map does.
    ///
    /// # Panics
    /// If there are not so many channels.
    pub fn part(&self, first: usize, channels: usize) -> Option<(usize, Self)> {
        let behind = self.shape.channels.checked_sub(first);
        let is_inside = channels > 0 && behind.is_some_and(|behind| channels <= behind);
        assert!(
            is_inside,
            "channels {first} and {channels} more of {self:?}"
        );
        let block = self.block();
        let ends = channels.is_multiple_of(block) || behind == Some(channels);
        let shape = MapShape {
            channels,
            ..self.shape
        };
        (first.is_multiple_of(block) && ends)
            .then_some((first / block * self.plane, Self { shape, ..*self }))
    }

    /// Its shape.
    pub fn shape(&self) -> MapShape {
        self.shape
    }

    /// What its values are.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Rows and columns of the halo.
    pub fn halo(&self) -> [usize; 2] {
        self.halo
    }

    /// Bytes that the batch takes from its start on, a whole number of cache lines.
    pub fn bytes(&self) -> usize {
        (self.shape.batch - 1) * self.image_stride + self.planes() * self.plane
    }

    /// Channels of a pixel.
    pub(crate) fn block(&self) -> usize {
        self.pixel / self.element.bytes()
    }

    /// Planes of a picture.
    pub(crate) fn planes(&self) -> usize {
        planes(self.shape, self.element, self.pixel)
    }

    pub(crate) fn pixel(&self) -> usize {
        self.pixel
    }

    pub(crate) fn plane(&self) -> usize {
        self.plane
    }

    pub(crate) fn image_stride(&self) -> usize {
        self.image_stride
    }

    /// Pixels from one row to the next.
    pub(crate) fn pitch(&self) -> usize {
        self.shape.width + self.halo[1]
    }

    /// Bytes from a plane's start to a pixel of the map.
    pub(crate) fn at(&self, row: usize, column: usize) -> usize {
        ((self.halo[0] + row) * self.pitch() + self.halo[1] + column) * self.pixel
    }

    /// Bytes from a picture's start to a channel of the pixel at 0, 0.
    pub(crate) fn channel(&self, channel: usize) -> usize {
        channel / self.block() * self.plane + channel % self.block() * self.element.bytes()
    }

    /// Groups of [`GROUP`] channels that all pixels together have, and how many channels of each there are: fewer
    /// than a group where a pixel is thinner.
    pub(crate) fn groups(&self) -> (usize, usize) {
        let values = self.block().min(GROUP);
        (self.planes() * self.block() / values, values)
    }

    /// The runs of bytes of a plane around the map: above it, right of each row, below it.
    pub(crate) fn halo_runs(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let MapShape { height, width, .. } = self.shape;
        let side = self.halo[1] * self.pixel;
        let sides = (0..height).map(move |row| {
            let start = self.at(row, 0) + width * self.pixel;
            start..start + side
        });
        let below = self.at(height - 1, 0) + self.pitch() * self.pixel;
        let end = below + self.halo[0] * self.pitch() * self.pixel;
        std::iter::once(0..self.at(0, 0))
            .chain(sides)
            .chain([below..end])
            .filter(|run| !run.is_empty())
    }
}

fn planes(shape: MapShape, element: Element, pixel: usize) -> usize {
    shape.channels.div_ceil(pixel / element.bytes())
}

/// Bytes from one plane to the next, if a `usize` holds them.
fn plane_bytes(shape: MapShape, halo: [usize; 2], pixel: usize) -> Option<usize> {
    const PAGE_LINES: usize = 64;
    const APART: usize = 33;
    let pitch = shape.width.checked_add(halo[1])?;
    let rows = halo[0].checked_mul(2)?.checked_add(shape.height)?;
    let pixels = rows.checked_mul(pitch)?.checked_add(halo[1])?;
    let lines = pixels.checked_mul(pixel)?.div_ceil(LINE);
    // Offsets, and sums of them, are exact in an `isize`.
    if lines > isize::MAX as usize / (8 * LINE) {
        return None;
    }
    let lines = if lines > PAGE_LINES {
        lines + (PAGE_LINES + APART - lines % PAGE_LINES) % PAGE_LINES
    } else {
        lines | 1
    };
    Some(lines * LINE)
}

#[cfg(test)]
mod tests {
    use super::super::element::Quantisation;
    use super::*;

    const U8: Element = Element::U8(Quantisation {
        scale: 0.1,
        zero_point: 3,
    });

    #[test]
    fn halo_and_pixels_are_the_plane() {
        for (channels, halo) in [
            (3, [3, 3]),
            (16, [0, 0]),
            (40, [0, 2]),
            (130, [2, 0]),
            (24, [1, 1]),
        ] {
            for element in [Element::Bf16, U8] {
                let layout = LowLayout::new(MapShape::new(2, channels, 5, 7), element, halo);
                let mut writes = vec![0; layout.plane()];
                for run in layout.halo_runs() {
                    writes[run].iter_mut().for_each(|n| *n += 1);
                }
                for (row, column) in (0..5).flat_map(|y| (0..7).map(move |x| (y, x))) {
                    let at = layout.at(row, column);
                    writes[at..at + layout.pixel()]
                        .iter_mut()
                        .for_each(|n| *n += 1);
                }
                let end = ((5 + 2 * halo[0]) * (7 + halo[1]) + halo[1]) * layout.pixel();
                assert!(writes[..end].iter().all(|&n| n == 1), "{layout:?}");
                assert!(writes[end..].iter().all(|&n| n == 0), "{layout:?}");
            }
        }
    }

    #[test]
    fn parts_of_a_concatenation() {
        let layout = LowLayout::new(MapShape::new(1, 144, 4, 4), U8, [1, 1]);
        assert_eq!(layout.part(0, 64).map(|p| p.0), Some(0));
        assert_eq!(layout.part(64, 64).map(|p| p.0), Some(layout.plane()));
        assert_eq!(layout.part(128, 16).map(|p| p.0), Some(2 * layout.plane()));
        assert_eq!(layout.part(64, 16), None);
        assert_eq!(layout.part(32, 64), None);
    }
}
