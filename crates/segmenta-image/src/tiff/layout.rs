//! What a TIFF's tags say of its pixels, checked whole before any is read: what is not read is refused here, by name.

use image::metadata::Orientation;
use segmenta_files::count;

use super::directory::{Directory, tag};
use crate::decode::{damaged, too_large, truncated, unsupported};
use crate::{ErrorKind, PictureError, Size};

/// Where pixels are and what they mean.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a tag of the file, free of the others"
)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bits of a sample: 1, 2, 4, 8 or 16.
    pub(super) depth: usize,
    /// Samples of a pixel, those that are not looked at included.
    pub(super) samples: usize,
    /// Each sample in chunks of its own.
    pub(super) planar: bool,
    pub(super) colour: Colour,
    /// The sample by which colours are multiplied.
    pub(super) associated: Option<usize>,
    pub(super) compression: Compression,
    /// Samples are differences to the pixel on the left.
    pub(super) differences: bool,
    /// The first pixel of a byte is in its least bit.
    pub(super) reversed: bool,
    /// Sides of a strip or a tile.
    pub(super) chunk: (usize, usize),
    /// Chunks beside and below each other.
    pub(super) grid: (usize, usize),
    /// Place and length in the file of each chunk: row by row, plane by plane.
    pub(super) places: Vec<(u64, u64)>,
    pub(super) orientation: Orientation,
    /// Samples of 16 bits begin with their low byte.
    pub(super) little: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Colour {
    Grey { white_is_zero: bool },
    Rgb,
    Palette(Vec<[u8; 3]>),
    Cmyk,
    YCbCr(YCbCr),
}

/// How luma and chroma are stored (TIFF 6.0, section 21).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct YCbCr {
    /// Columns and rows to one value of chroma.
    pub(super) subsampling: (usize, usize),
    /// Shares of red, green and blue in luma.
    pub(super) luma: [f32; 3],
    /// Codes of black and white of Y, Cb and Cr.
    pub(super) reference: [f32; 6],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
    Jpeg,
    Fax3,
    Fax4,
}

impl Colour {
    /// Samples of a pixel that carry the colour.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::YCbCr(_) => 3,
            Self::Cmyk => 4,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Grey { .. } => "grey",
            Self::Palette(_) => "palette",
            Self::Rgb => "RGB",
            Self::Cmyk => "CMYK",
            Self::YCbCr(_) => "YCbCr",
        }
    }
}

impl Layout {
    pub(super) fn read(tags: &Directory<'_>) -> Result<Self, PictureError> {
        let required = |tag, name: &str| {
            let value = tags.number(tag)?;
            value.ok_or_else(|| damaged(format!("a TIFF that does not say its {name}")))
        };
        let width = required(tag::WIDTH, "width")? as usize;
        let height = required(tag::HEIGHT, "height")? as usize;
        if width == 0 || height == 0 {
            return Err(damaged(format!("a picture of {width}×{height} pixels")));
        }
        if let Err(error) = Size::new(width, height) {
            return Err(too_large(format!("a picture: {}", error.what())));
        }
        let compression = compression(tags)?;
        let samples = tags.number(tag::SAMPLES)?.unwrap_or(1) as usize;
        let depth = depth(tags, samples)?;
        check_format(tags, depth)?;
        let extra = tags.numbers(tag::EXTRA_SAMPLES)?.unwrap_or_default();
        let colour = colour(tags, samples, depth, &extra, compression)?;
        let (chunk, tiled) = chunk_size(tags, width, height)?;
        let planar = match tags.number(tag::PLANAR)?.unwrap_or(1) {
            1 => false,
            // One sample has one plane.
            2 => samples > 1,
            other => return Err(damaged(format!("a TIFF of planar configuration {other}"))),
        };
        let grid = (width.div_ceil(chunk.0), height.div_ceil(chunk.1));
        let mut layout = Self {
            width,
            height,
            depth,
            samples,
            planar,
            associated: associated(&colour, &extra)?,
            colour,
            compression,
            differences: false,
            reversed: tags.number(tag::FILL_ORDER)? == Some(2),
            chunk,
            grid,
            places: Vec::new(),
            orientation: orientation(tags),
            little: tags.file().little,
        };
        if planar && layout.colour == Colour::Rgb && samples == 4 && extra.is_empty() {
            return Err(unsupported(
                "RGB TIFFs with planes apart whose fourth band has no role are not read",
            ));
        }
        layout.differences = layout.predictor(tags)?;
        layout.check_ycbcr()?;
        layout.places = layout.places(tags, tiled)?;
        Ok(layout)
    }

    /// In words, for messages: `16-bit RGB, planes apart, tiles, LZW`.
    pub(super) fn describe(&self) -> String {
        let planes = if self.planar { ", planes apart" } else { "" };
        let (colour, compression) = (self.colour.name(), self.compression);
        format!(
            "{}-bit {colour}{planes}, compression {compression:?}",
            self.depth
        )
    }

    /// Whether values are differences. Other compressions than these have no predictor; the tag is passed over there,
    /// as libtiff does.
    fn predictor(&self, tags: &Directory<'_>) -> Result<bool, PictureError> {
        use Compression::{Deflate, Lzw, Zstd};
        if !matches!(self.compression, Lzw | Deflate | Zstd) {
            return Ok(false);
        }
        match tags.number(tag::PREDICTOR)?.unwrap_or(1) {
            1 => Ok(false),
            2 if self.depth >= 8 => Ok(true),
            2 => Err(unsupported(format!(
                "TIFFs of {}-bit differences (predictor 2) are not read",
                self.depth
            ))),
            3 => Err(unsupported(
                "TIFFs with the floating-point predictor (3) on whole numbers are not read",
            )),
            other => Err(unsupported(format!(
                "TIFFs with predictor {other} are not read"
            ))),
        }
    }

    fn check_ycbcr(&self) -> Result<(), PictureError> {
        let Colour::YCbCr(form) = &self.colour else {
            return Ok(());
        };
        let coarse = form.subsampling != (1, 1);
        if self.planar && (coarse || self.compression == Compression::Jpeg) {
            return Err(unsupported("TIFFs of YCbCr with planes apart are not read"));
        }
        if self.differences && coarse {
            return Err(unsupported(
                "TIFFs of subsampled YCbCr with a predictor are not read",
            ));
        }
        Ok(())
    }

    /// Chunks of one plane.
    pub(super) fn plane(&self) -> usize {
        self.grid.0 * self.grid.1
    }

    fn places(&self, tags: &Directory<'_>, tiled: bool) -> Result<Vec<(u64, u64)>, PictureError> {
        let (offsets, lengths) = if tiled {
            (tag::TILE_OFFSETS, tag::TILE_BYTES)
        } else {
            (tag::STRIP_OFFSETS, tag::STRIP_BYTES)
        };
        let offsets = tags
            .numbers(offsets)?
            .ok_or_else(|| damaged("a TIFF that does not say where its pixels are"))?;
        let wanted = self.plane() * if self.planar { self.samples } else { 1 };
        if offsets.len() < wanted {
            return Err(truncated());
        }
        let end = tags.file().bytes.len() as u64;
        let lengths = match tags.numbers(lengths)? {
            Some(lengths) if lengths.len() >= wanted => lengths,
            // Old writers leave the lengths out; uncompressed pixels are as many as the size says.
            _ if self.compression == Compression::None => {
                offsets.iter().map(|&at| end.saturating_sub(at)).collect()
            }
            _ => return Err(damaged("a TIFF that does not say how long its strips are")),
        };
        let places: Vec<_> = offsets.into_iter().zip(lengths).take(wanted).collect();
        if places.iter().any(|&(at, length)| at == 0 && length == 0) {
            return Err(unsupported(
                "TIFFs with tiles that are not in the file (sparse GDAL files) are not read",
            ));
        }
        Ok(places)
    }
}

fn compression(tags: &Directory<'_>) -> Result<Compression, PictureError> {
    // Bit 0: rows that refer to the row above; bit 1: rows as they are.
    let one_dimensional = matches!(tags.number(tag::T4_OPTIONS)?, None | Some(0 | 4));
    let name = match tags.number(tag::COMPRESSION)?.unwrap_or(1) {
        1 => return Ok(Compression::None),
        3 if one_dimensional => return Ok(Compression::Fax3),
        4 => return Ok(Compression::Fax4),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32773 => return Ok(Compression::PackBits),
        50000 | 34926 => return Ok(Compression::Zstd),
        2 => "CCITT run lengths",
        3 => "two-dimensional CCITT group 3",
        6 => "old-style JPEG (6)",
        32809 => "ThunderScan",
        33003 | 33005 | 34712 => "JPEG 2000",
        34676 | 34677 => "SGI LogLuv",
        34887 => "LERC",
        34925 => "LZMA",
        34927 | 50001 => "WebP",
        34892 | 50002 | 52546 => "JPEG XL or lossy DNG",
        other => {
            return Err(unsupported(format!(
                "TIFFs of compression {other} are not read"
            )));
        }
    };
    Err(unsupported(format!(
        "TIFFs compressed by {name} are not read"
    )))
}

fn depth(tags: &Directory<'_>, samples: usize) -> Result<usize, PictureError> {
    if samples == 0 {
        return Err(damaged("a TIFF of 0 samples a pixel"));
    }
    let bits = tags.numbers(tag::BITS)?.unwrap_or_else(|| vec![1]);
    let first = bits.first().copied().unwrap_or(1);
    if bits.len() != samples && bits.len() != 1 {
        let given = bits.len();
        return Err(damaged(format!(
            "a TIFF of {} a pixel that gives the bits of {given}",
            count(samples, "sample")
        )));
    }
    if bits.iter().any(|&n| n != first) {
        return Err(unsupported(format!(
            "TIFFs whose samples have different depths ({bits:?} bits) are not read"
        )));
    }
    Ok(first as usize)
}

fn check_format(tags: &Directory<'_>, depth: usize) -> Result<(), PictureError> {
    let formats = tags.numbers(tag::SAMPLE_FORMAT)?.unwrap_or_default();
    let kind = match formats
        .iter()
        .copied()
        .find(|&format| format != 1 && format != 4)
    {
        Some(2) => "signed whole numbers",
        Some(3) => "floating-point values",
        Some(5 | 6) => "complex numbers",
        Some(other) => {
            return Err(unsupported(format!(
                "TIFFs of sample format {other} are not read"
            )));
        }
        None if matches!(depth, 1 | 2 | 4 | 8 | 16) => return Ok(()),
        None => "whole numbers",
    };
    Err(unsupported(format!(
        "TIFFs of {depth}-bit {kind} are not read"
    )))
}

fn colour(
    tags: &Directory<'_>,
    samples: usize,
    depth: usize,
    extra: &[u64],
    compression: Compression,
) -> Result<Colour, PictureError> {
    let white_is_zero = |photometric| photometric == 0;
    let colour = match tags.number(tag::PHOTOMETRIC)? {
        Some(photometric @ (0 | 1)) => Colour::Grey {
            white_is_zero: white_is_zero(photometric),
        },
        // Pillow's and libtiff's answer for files that do not say.
        None => Colour::Grey {
            white_is_zero: true,
        },
        Some(2) => Colour::Rgb,
        Some(3) => Colour::Palette(Vec::new()),
        Some(5) if tags.number(tag::INK_SET)?.unwrap_or(1) == 1 => Colour::Cmyk,
        Some(5) => return Err(unsupported("TIFFs of other inks than CMYK are not read")),
        Some(6) => Colour::YCbCr(ycbcr(tags, compression)?),
        Some(other) => {
            let name = match other {
                4 => "transparency masks".to_owned(),
                8..=10 => "CIE L*a*b* colours".to_owned(),
                32803 | 34892 => "raw camera pixels (DNG)".to_owned(),
                32844 | 32845 => "LogLuv colours".to_owned(),
                _ => format!("photometric interpretation {other}"),
            };
            return Err(unsupported(format!("TIFFs of {name} are not read")));
        }
    };
    let wanted = colour.samples();
    let name = colour.name();
    // RGB of four samples that gives the fourth no role has an alpha channel: many writers leave the tag out.
    let alpha_unsaid = colour == Colour::Rgb && samples == 4 && extra.is_empty();
    let known = samples == wanted + extra.len() || alpha_unsaid;
    if !known || wanted == 1 && samples > 2 || matches!(colour, Colour::YCbCr(_)) && samples > 3 {
        return Err(PictureError::new(
            ErrorKind::Unsupported,
            format!(
                "{name} TIFFs of {} are not read: which of them are red, green and blue is not said",
                count(samples, "band")
            ),
            crate::decode::BYTES,
            "choose three bands first (gdal_translate -b 1 -b 2 -b 3 -colorinterp red,green,blue)",
        ));
    }
    let depths: &[usize] = match colour {
        Colour::Grey {
            white_is_zero: false,
        } => &[1, 2, 4, 8, 16],
        Colour::Grey { .. } | Colour::Palette(_) => &[1, 2, 4, 8],
        Colour::Rgb | Colour::Cmyk => &[8, 16],
        Colour::YCbCr(_) => &[8],
    };
    if !depths.contains(&depth) {
        // Readers disagree whether 16-bit grey of this sort is to be turned over.
        let white = matches!(
            colour,
            Colour::Grey {
                white_is_zero: true
            }
        );
        let white = if white { " whose 0 is white" } else { "" };
        return Err(unsupported(format!(
            "TIFFs of {depth}-bit {name}{white} are not read"
        )));
    }
    if samples > 1 && depth < 8 {
        return Err(unsupported(format!(
            "TIFFs of {} of {} are not read",
            count(samples, "sample"),
            count(depth, "bit")
        )));
    }
    match colour {
        Colour::Palette(_) => palette(tags, depth).map(Colour::Palette),
        colour => Ok(colour),
    }
}

/// The sample that is an alpha by which the colours are multiplied.
fn associated(colour: &Colour, extra: &[u64]) -> Result<Option<usize>, PictureError> {
    const ASSOCIATED_ALPHA: u64 = 1;
    let at = extra.iter().position(|&kind| kind == ASSOCIATED_ALPHA);
    match (colour, at) {
        (_, None) => Ok(None),
        (
            Colour::Rgb
            | Colour::Grey {
                white_is_zero: false,
            },
            Some(at),
        ) => Ok(Some(colour.samples() + at)),
        (other, Some(_)) => Err(unsupported(format!(
            "{} TIFFs with associated alpha are not read",
            other.name()
        ))),
    }
}

fn palette(tags: &Directory<'_>, depth: usize) -> Result<Vec<[u8; 3]>, PictureError> {
    let values = tags.numbers(tag::COLOUR_MAP)?.unwrap_or_default();
    let colours = 1 << depth;
    if values.len() != 3 * colours {
        return Err(damaged(format!(
            "a palette TIFF of {} whose colour map has {}",
            count(depth, "bit"),
            count(values.len(), "value")
        )));
    }
    Ok((0..colours)
        .map(|i| [0, 1, 2].map(|c| (values[c * colours + i] >> 8) as u8))
        .collect())
}

fn ycbcr(tags: &Directory<'_>, compression: Compression) -> Result<YCbCr, PictureError> {
    let subsampling = match tags.numbers(tag::YCBCR_SUBSAMPLING)?.as_deref() {
        // JPEG streams say themselves how coarse their chroma is.
        _ if compression == Compression::Jpeg => (1, 1),
        None => (2, 2),
        Some(&[x @ (1 | 2 | 4), y @ (1 | 2 | 4)]) => (x as usize, y as usize),
        Some(other) => {
            return Err(damaged(format!("a YCbCr TIFF of subsampling {other:?}")));
        }
    };
    let luma = tags.fractions(tag::YCBCR_COEFFICIENTS)?;
    let luma = luma.and_then(|values| <[f32; 3]>::try_from(values).ok());
    let reference = tags.fractions(tag::REFERENCE_BLACK_WHITE)?;
    let reference = reference.and_then(|values| <[f32; 6]>::try_from(values).ok());
    Ok(YCbCr {
        subsampling,
        luma: luma.unwrap_or([0.299, 0.587, 0.114]),
        reference: reference.unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
    })
}

/// Sides of strips or tiles, and whether they are tiles.
fn chunk_size(
    tags: &Directory<'_>,
    width: usize,
    height: usize,
) -> Result<((usize, usize), bool), PictureError> {
    if !tags.has(tag::TILE_OFFSETS) {
        let rows = tags.number(tag::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
        let rows = rows.min(height as u64) as usize;
        if rows == 0 {
            return Err(damaged("a TIFF of strips without rows"));
        }
        return Ok(((width, rows), false));
    }
    let side = |tag| Ok(tags.number(tag)?.unwrap_or(0) as usize);
    let (tile_width, tile_height) = (side(tag::TILE_WIDTH)?, side(tag::TILE_HEIGHT)?);
    if Size::new(tile_width, tile_height).is_err() {
        return Err(damaged(format!(
            "a TIFF of {tile_width}×{tile_height} tiles"
        )));
    }
    Ok(((tile_width, tile_height), true))
}

pub(super) fn orientation(tags: &Directory<'_>) -> Orientation {
    let exif = tags.number(tag::ORIENTATION).ok().flatten();
    exif.and_then(|exif| Orientation::from_exif(exif.min(255) as u8))
        .unwrap_or(Orientation::NoTransforms)
}
