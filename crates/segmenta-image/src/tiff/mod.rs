//! TIFF in all its common layouts, to Pillow's pixels; what is not read is refused by name.
//!
//! Strips or tiles; planes together or apart; 1 to 16 bits; grey, palette, RGB, CMYK, YCbCr, with further bands and
//! alpha; uncompressed, LZW, deflate, PackBits, zstd, JPEG, CCITT; both byte orders; BigTIFF. The crates that decode TIFF whole
//! read a part of these and get some of them wrong (tiles with further bands, planes apart); so only codecs are theirs here.
//!
//! The first picture of a file is read. Samples 0 to 3 of a pixel are its colour, whatever follows.

mod colour;
mod compression;
mod directory;
mod layout;
mod samples;

use std::borrow::Cow;

use image::metadata::Orientation;

use self::directory::{Directory, tag};
use self::layout::{Colour, Compression, Layout};
use self::samples::{Area, Depth, Raw, Samples};
use crate::decode::{check_size, too_large};
use crate::{ErrorKind, LabelMap, MAX_PIXELS, PictureError};

/// A TIFF's first picture, as it lies in the file.
pub(crate) struct Decoded {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// RGB.
    pub(crate) pixels: Vec<u8>,
    pub(crate) orientation: Orientation,
    /// The greatest value, where they have 16 bits.
    pub(crate) greatest: Option<u16>,
    pub(crate) pages: usize,
}

pub(crate) fn picture(bytes: &[u8], max_pixels: u64) -> Result<Decoded, PictureError> {
    let tags = Directory::first(bytes)?;
    let layout = Layout::read(&tags)?;
    check_size(layout.width as u64, layout.height as u64, max_pixels)?;
    let samples = read(&tags, &layout, Depth::Amounts, max_pixels)?;
    let greatest = (layout.depth == 16).then_some(samples.greatest);
    // The streams' decoder has made RGB of YCbCr.
    let colour = match (&layout.colour, layout.compression) {
        (Colour::YCbCr(_), Compression::Jpeg) => &Colour::Rgb,
        (colour, _) => colour,
    };
    Ok(Decoded {
        width: layout.width,
        height: layout.height,
        pixels: colour::to_rgb(samples.values, colour, layout.associated.is_some()),
        orientation: layout.orientation,
        greatest,
        pages: tags.pages(),
    })
}

/// How the picture of a TIFF is turned to stand upright.
pub(crate) fn orientation(bytes: &[u8]) -> Option<Orientation> {
    Some(layout::orientation(&Directory::first(bytes).ok()?))
}

/// The ids of a mask: the indices of a palette, or the values of grey.
pub(crate) fn mask(bytes: &[u8]) -> Result<LabelMap, PictureError> {
    let tags = Directory::first(bytes)?;
    let layout = Layout::read(&tags)?;
    check_size(layout.width as u64, layout.height as u64, MAX_PIXELS)?;
    let refused = |what: String| {
        let remedy = "save it with class ids: one band of 8 bits, or a palette PNG";
        PictureError::new(ErrorKind::Unsupported, what, crate::decode::BYTES, remedy)
    };
    let turned = match layout.colour {
        Colour::Grey { white_is_zero } => white_is_zero,
        Colour::Palette(_) => false,
        _ => {
            return Err(refused(format!(
                "a mask of colours ({}), where class ids are wanted",
                layout.describe()
            )));
        }
    };
    if layout.samples != 1 {
        let count = layout.samples;
        return Err(refused(format!(
            "a TIFF mask of {count} bands, where one of class ids is wanted"
        )));
    }
    if layout.compression == Compression::Jpeg {
        return Err(refused(
            "a JPEG-compressed TIFF cannot be a mask: the compression changes ids".into(),
        ));
    }
    let mut samples = read(&tags, &layout, Depth::Names, MAX_PIXELS)?;
    if samples.greatest > 255 {
        return Err(crate::label_map::too_great(samples.greatest));
    }
    if turned {
        let most = ((1_u16 << layout.depth) - 1) as u8;
        samples.values.iter_mut().for_each(|id| *id = most - *id);
    }
    let map = LabelMap::new(layout.width, layout.height, samples.values)?;
    Ok(map.upright(layout.orientation.to_exif()))
}

fn read(
    tags: &Directory<'_>,
    layout: &Layout,
    depth: Depth,
    max_pixels: u64,
) -> Result<Samples, PictureError> {
    layout.check_memory(max_pixels)?;
    let file = tags.file();
    let tables = tags.bytes(tag::JPEG_TABLES)?;
    let mut samples = Samples::new(layout, depth);
    let planes: Vec<Option<usize>> = if layout.planar {
        samples.planes().iter().copied().map(Some).collect()
    } else {
        vec![None]
    };
    let mut expanded = Vec::new();
    for plane in planes {
        for index in 0..layout.plane() {
            let area = layout.area(index);
            let (at, length) = layout.places[plane.unwrap_or(0) * layout.plane() + index];
            let end = (file.bytes.len() as u64).saturating_sub(at);
            // Uncompressed rows that are there are enough, whatever length the file gives.
            let uncompressed = layout.compression == Compression::None;
            let source = file.slice(at, if uncompressed { end } else { length })?;
            let source = if layout.reversed {
                Cow::Owned(source.iter().map(|byte| byte.reverse_bits()).collect())
            } else {
                Cow::Borrowed(source)
            };
            if layout.compression == Compression::Jpeg {
                let (columns, _, count, mut bytes) = compression::jpeg(layout, tables, &source)?;
                let raw = Raw {
                    bytes: &mut bytes,
                    row_bytes: columns * count,
                    samples: count,
                };
                samples.take(layout, raw, area, plane)?;
                continue;
            }
            expanded.resize(layout.chunk_bytes(area.height), 0);
            compression::expand(layout, &source, layout.chunk.0, &mut expanded)?;
            match &layout.colour {
                Colour::YCbCr(form) if form.subsampling != (1, 1) => {
                    let size = (layout.chunk.0, area.height);
                    let mut bytes = samples::spread_chroma(&expanded, form.subsampling, size);
                    let raw = Raw {
                        bytes: &mut bytes,
                        row_bytes: layout.chunk.0 * 3,
                        samples: 3,
                    };
                    samples.take(layout, raw, area, plane)?;
                }
                _ => {
                    let raw = Raw {
                        bytes: &mut expanded,
                        row_bytes: layout.row_bytes(),
                        samples: layout.chunk_samples(),
                    };
                    samples.take(layout, raw, area, plane)?;
                }
            }
        }
    }
    Ok(samples)
}

impl Layout {
    /// Samples of a pixel in one chunk.
    fn chunk_samples(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of a chunk's row, padding included. Not for subsampled YCbCr.
    fn row_bytes(&self) -> usize {
        (self.chunk.0 * self.chunk_samples() * self.depth).div_ceil(8)
    }

    /// Bytes of the first `rows` of a chunk.
    fn chunk_bytes(&self, rows: usize) -> usize {
        match &self.colour {
            Colour::YCbCr(form) if form.subsampling != (1, 1) => {
                let (x, y) = form.subsampling;
                self.chunk.0.div_ceil(x) * rows.div_ceil(y) * (x * y + 2)
            }
            _ => self.row_bytes() * rows,
        }
    }

    /// What a chunk, counted within its plane, shows of the picture.
    fn area(&self, index: usize) -> Area {
        let x = index % self.grid.0 * self.chunk.0;
        let y = index / self.grid.0 * self.chunk.1;
        Area {
            x,
            y,
            width: self.chunk.0.min(self.width - x),
            height: self.chunk.1.min(self.height - y),
        }
    }

    /// All that is expanded, padding and bands that nobody looks at included, is in proportion to the pixels that may
    /// be: a small file cannot ask for much.
    fn check_memory(&self, max_pixels: u64) -> Result<(), PictureError> {
        const LEAST: u64 = 64 << 20;
        let most = max_pixels.saturating_mul(16).max(LEAST);
        let row = (self.chunk.0 as u64 * self.chunk_samples() as u64)
            .saturating_mul(self.depth as u64)
            .div_ceil(8);
        let planes = if self.planar {
            self.colour.samples() as u64 + 1
        } else {
            1
        };
        let rows = if self.compression == Compression::Jpeg {
            // A stream is decoded whole, however little of it is seen.
            (self.plane() as u64).saturating_mul(self.chunk.1 as u64) * planes
        } else {
            self.height as u64 * self.grid.0 as u64 * planes
        };
        if row.saturating_mul(rows) > most {
            let (width, height) = self.chunk;
            let samples = self.samples;
            return Err(too_large(format!(
                "a TIFF of {width}×{height} chunks of {samples} bands, more than {} MiB in all",
                most >> 20
            )));
        }
        Ok(())
    }
}
