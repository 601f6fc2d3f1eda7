//! The bytes of chunks to samples of pixels: byte order, depth, differences, padding, planes.

use super::layout::{Colour, Layout};
use crate::PictureError;
use crate::decode::damaged;

/// What becomes of a sample.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Amounts: 0 to 255, whatever the depth. 16 bits keep their high byte, fewer than 8 are stretched.
    Amounts,
    /// Names: the value as it is. What does not fit a byte becomes 255 and is seen in [`Samples::greatest`].
    Names,
}

/// Pixels of `channels` samples each, filled chunk by chunk.
pub(super) struct Samples {
    pub(super) values: Vec<u8>,
    channels: usize,
    width: usize,
    depth: Depth,
    /// The greatest value of a colour's sample as it is in the file.
    pub(super) greatest: u16,
    /// For each channel the sample of a pixel that it is.
    wanted: Vec<usize>,
}

/// Where a chunk's visible part lies in the picture.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Bytes with the measures of their rows.
pub(super) struct Raw<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) row_bytes: usize,
    pub(super) samples: usize,
}

impl Samples {
    pub(super) fn new(layout: &Layout, depth: Depth) -> Self {
        let colours = 0..layout.colour.samples();
        let wanted: Vec<usize> = colours.chain(layout.associated).collect();
        let channels = wanted.len();
        Self {
            values: vec![0; layout.width * layout.height * channels],
            channels,
            width: layout.width,
            depth,
            greatest: 0,
            wanted,
        }
    }

    /// The planes that are read.
    pub(super) fn planes(&self) -> &[usize] {
        &self.wanted
    }

    /// Takes a chunk; one of a single `plane` fills that channel only.
    pub(super) fn take(
        &mut self,
        layout: &Layout,
        mut raw: Raw<'_>,
        area: Area,
        plane: Option<usize>,
    ) -> Result<(), PictureError> {
        let channels: Vec<(usize, usize)> = match plane {
            Some(plane) => {
                let at = self.wanted.iter().position(|&sample| sample == plane);
                at.map(|channel| (channel, 0)).into_iter().collect()
            }
            None => self.wanted.iter().copied().enumerate().collect(),
        };
        let needed = (area.width * raw.samples * layout.depth).div_ceil(8);
        if raw.row_bytes < needed || raw.bytes.len() < raw.row_bytes * area.height {
            return Err(damaged(
                "a TIFF whose chunks are smaller than its size says",
            ));
        }
        if layout.differences {
            undo_differences(layout, &mut raw);
        }
        let rows = raw.bytes.chunks_exact(raw.row_bytes).take(area.height);
        for (y, row) in rows.enumerate() {
            let start = ((area.y + y) * self.width + area.x) * self.channels;
            let length = area.width * self.channels;
            self.row(layout, row, raw.samples, &channels, start..start + length);
        }
        Ok(())
    }

    fn row(
        &mut self,
        layout: &Layout,
        row: &[u8],
        samples: usize,
        channels: &[(usize, usize)],
        target: std::ops::Range<usize>,
    ) {
        let target = &mut self.values[target];
        if layout.depth == 8 && samples == self.channels && channels.len() == samples {
            target.copy_from_slice(&row[..target.len()]);
            return;
        }
        let names = self.depth == Depth::Names;
        let is_index = names || matches!(layout.colour, Colour::Palette(_));
        let little = layout.little;
        for &(channel, sample) in channels {
            let counts = Some(self.wanted[channel]) != layout.associated;
            let pixels = target.iter_mut().skip(channel).step_by(self.channels);
            for (x, value) in pixels.enumerate() {
                let at = x * samples + sample;
                *value = match layout.depth {
                    8 => row[at],
                    16 => {
                        let pair = [row[at * 2], row[at * 2 + 1]];
                        let wide = if little {
                            u16::from_le_bytes(pair)
                        } else {
                            u16::from_be_bytes(pair)
                        };
                        if counts {
                            self.greatest = self.greatest.max(wide);
                        }
                        if names {
                            wide.min(255) as u8
                        } else {
                            (wide >> 8) as u8
                        }
                    }
                    depth => {
                        let bit = at * depth;
                        let most = (1_u8 << depth) - 1;
                        let value = row[bit / 8] >> (8 - depth - bit % 8) & most;
                        if is_index {
                            value
                        } else {
                            value * (255 / most)
                        }
                    }
                };
            }
        }
    }
}

/// Horizontal differencing (TIFF 6.0, section 14): each row is summed up from its left end, padding included.
fn undo_differences(layout: &Layout, raw: &mut Raw<'_>) {
    let step = raw.samples * layout.depth / 8;
    let little = layout.little;
    for row in raw.bytes.chunks_exact_mut(raw.row_bytes) {
        if layout.depth == 8 {
            for i in step..row.len() {
                row[i] = row[i].wrapping_add(row[i - step]);
            }
            continue;
        }
        let (read, write) = if little {
            (
                u16::from_le_bytes as fn([u8; 2]) -> u16,
                u16::to_le_bytes as fn(u16) -> [u8; 2],
            )
        } else {
            (u16::from_be_bytes as _, u16::to_be_bytes as _)
        };
        for i in (step..row.len() - 1).step_by(2) {
            let left = read([row[i - step], row[i - step + 1]]);
            let sum = read([row[i], row[i + 1]]).wrapping_add(left);
            row[i..i + 2].copy_from_slice(&write(sum));
        }
    }
}

/// Units of `x · y` lumas and two chromas to pixels of three samples.
pub(super) fn spread_chroma(
    units: &[u8],
    (x, y): (usize, usize),
    (width, height): (usize, usize),
) -> Vec<u8> {
    let across = width.div_ceil(x);
    let unit = x * y + 2;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        for column in 0..width {
            let first = (row / y * across + column / x) * unit;
            let luma = first + row % y * x + column % x;
            let chroma = first + x * y;
            pixels.extend([units[luma], units[chroma], units[chroma + 1]]);
        }
    }
    pixels
}
