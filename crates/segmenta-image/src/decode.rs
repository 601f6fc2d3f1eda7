//! Bytes of a picture file to upright RGB, as Pillow's `convert("RGB")` would have it.

use std::error::Error;
use std::io::Cursor;

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use rayon::prelude::*;

use crate::guard::{guarded, quietly};
use crate::{
    ErrorKind, MAX_DECODER_BYTES, Notice, Picture, PictureError, bmp, frames, jpeg, orient, tiff,
};

pub(crate) const BYTES: &str = "the bytes given";
const READABLE: &str = "convert it to JPEG or PNG (8 bits a channel)";

/// What a decoder made of a file, before anything is converted.
struct Raw {
    width: usize,
    height: usize,
    samples: Vec<u8>,
    colour: ColorType,
    orientation: Orientation,
    /// The greatest value of a colour, where the file's samples have 16 bits and `samples` no longer.
    greatest: Option<u16>,
    several: Option<Notice>,
}

/// The picture of a file, and what its owner should know.
pub(crate) fn decode(
    bytes: &[u8],
    max_pixels: u64,
) -> Result<(Picture, Vec<Notice>), PictureError> {
    let format = format_of(bytes)?;
    let name = format!("{format:?}").to_uppercase();
    let raw = guarded(&name, || match format {
        ImageFormat::Tiff => tiff(bytes, max_pixels),
        _ => raw(bytes, format, max_pixels),
    })?;
    let greatest = raw.greatest.or_else(|| greatest(&raw.samples, raw.colour));
    let pixels = to_rgb(raw.samples, raw.colour)?;
    let picture = Picture::new(raw.width, raw.height, pixels);
    let dark = greatest.filter(|greatest| (1..=Notice::TWELVE_BITS).contains(greatest));
    let dark = dark.map(|greatest| Notice::TwelveBits { greatest });
    let notices = dark.into_iter().chain(raw.several).collect();
    Ok((orient::upright(picture, raw.orientation), notices))
}

fn tiff(bytes: &[u8], max_pixels: u64) -> Result<Raw, PictureError> {
    let decoded = tiff::picture(bytes, max_pixels)?;
    Ok(Raw {
        width: decoded.width,
        height: decoded.height,
        samples: decoded.pixels,
        colour: ColorType::Rgb8,
        orientation: decoded.orientation,
        greatest: decoded.greatest,
        several: (decoded.pages > 1).then_some(Notice::FirstOfSeveral {
            pictures: Some(decoded.pages),
        }),
    })
}

fn raw(bytes: &[u8], format: ImageFormat, max_pixels: u64) -> Result<Raw, PictureError> {
    if format == ImageFormat::WebP && webp_is_cut(bytes) {
        return Err(truncated());
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| explain(e, format))?;

    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into(), max_pixels)?;
    // The JPEG decoder fills what is missing with grey; a network would happily label it.
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(truncated());
    }
    // Damaged EXIF is no reason to refuse the picture: cameras and editors write a lot of it.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let exact = (format == ImageFormat::Jpeg).then(|| jpeg::pixels(bytes, width, height));
    let (mut samples, colour) = match exact.flatten() {
        Some(pixels) => (pixels, ColorType::Rgb8),
        None => general(decoder, format)?,
    };
    if format == ImageFormat::Bmp && colour == ColorType::Rgb8 {
        bmp::cut_off(bytes, &mut samples);
    }
    Ok(Raw {
        width: width as usize,
        height: height as usize,
        samples,
        colour,
        orientation,
        greatest: None,
        several: frames::are_several(bytes, format)
            .then_some(Notice::FirstOfSeveral { pictures: None }),
    })
}

/// The EXIF orientation of a picture file's bytes, 1 to 8: how it is turned to stand upright (CIPA DC-008). 1, as it
/// lies, also where there is none or where it cannot be read.
///
/// [`Picture::open`] applies it. A program needs it for a mask that was drawn on the picture as it lies in the file:
/// see [`crate::LabelMap::upright`].
pub fn exif_orientation(bytes: &[u8]) -> u8 {
    let orientation = || -> Option<Orientation> {
        let format = format_of(bytes).ok()?;
        if format == ImageFormat::Tiff {
            return tiff::orientation(bytes);
        }
        let reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.into_decoder().ok()?.orientation().ok()
    };
    quietly(orientation)
        .flatten()
        .map_or(1, Orientation::to_exif)
}

/// The samples by `image`'s own decoder.
fn general(
    decoder: impl ImageDecoder,
    format: ImageFormat,
) -> Result<(Vec<u8>, ColorType), PictureError> {
    let colour = decoder.color_type();
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder
        .read_image(&mut samples)
        .map_err(|e| explain(e, format))?;
    Ok((samples, colour))
}

pub(crate) fn is_tiff(bytes: &[u8]) -> bool {
    let starts = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];
    starts.iter().any(|start| bytes.starts_with(*start))
}

fn format_of(bytes: &[u8]) -> Result<ImageFormat, PictureError> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    if is_tiff(bytes) {
        return Ok(Tiff);
    }
    match image::guess_format(bytes) {
        Ok(format @ (Jpeg | Png | WebP | Bmp | Gif)) => Ok(format),
        Ok(other) => Err(unsupported(format!("{other:?} pictures are not read"))),
        Err(_) if bytes.is_empty() => Err(PictureError::new(
            ErrorKind::Truncated,
            "the file is empty",
            BYTES,
            "copy or download it again",
        )),
        // ISO media files name their brand after `ftyp`: phones write HEIC so.
        Err(_) if bytes.get(4..8) == Some(b"ftyp") => {
            Err(unsupported("HEIC pictures are not read"))
        }
        Err(_) if bytes.starts_with(b"\0\0\0\x0CjP  ") => {
            Err(unsupported("JPEG 2000 pictures are not read"))
        }
        Err(_) => Err(PictureError::new(
            ErrorKind::Damaged,
            "no picture in a known format",
            BYTES,
            "give a JPEG, PNG, WebP, BMP, GIF or TIFF file",
        )),
    }
}

pub(crate) fn check_size(width: u64, height: u64, max_pixels: u64) -> Result<(), PictureError> {
    if width == 0 || height == 0 {
        return Err(damaged(format!("a picture of {width}×{height} pixels")));
    }
    if width.saturating_mul(height) > max_pixels {
        return Err(too_large(format!(
            "a picture of {width}×{height} has more than {max_pixels} pixels"
        )));
    }
    Ok(())
}

/// A WebP file says how long it is; its decoder takes a missing end for damage.
fn webp_is_cut(bytes: &[u8]) -> bool {
    let declared = bytes.get(4..8).and_then(<[u8]>::first_chunk);
    let declared = declared.map_or(0, |&size| u64::from(u32::from_le_bytes(size)));
    (bytes.len() as u64) < declared + 8
}

/// Whether a JPEG's scans are followed by its end marker. Entropy-coded data escapes 0xFF, so the marker cannot
/// occur within it; a thumbnail's lies in a segment before the first scan, and segments are stepped over.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            START_OF_SCAN => {
                return bytes[at..]
                    .windows(2)
                    .rev()
                    .any(|pair| pair == [0xFF, 0xD9]);
            }
            0xFF => at += 1,               // a fill byte
            0x01 | 0xD0..=0xD8 => at += 2, // markers without a segment
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    // An unusual order of segments: leave the judgement to the decoder.
    at < bytes.len()
}

/// Drops alpha, repeats grey, and keeps the high byte of 16-bit samples (Pillow's `v >> 8`).
pub(crate) fn to_rgb(samples: Vec<u8>, colour: ColorType) -> Result<Vec<u8>, PictureError> {
    let high = usize::from(cfg!(target_endian = "little"));
    match colour {
        ColorType::Rgb8 => Ok(samples),
        ColorType::L8 => Ok(pick::<1>(&samples, [0, 0, 0])),
        ColorType::La8 => Ok(pick::<2>(&samples, [0, 0, 0])),
        ColorType::Rgba8 => Ok(pick::<4>(&samples, [0, 1, 2])),
        ColorType::L16 => Ok(pick::<2>(&samples, [high; 3])),
        ColorType::La16 => Ok(pick::<4>(&samples, [high; 3])),
        ColorType::Rgb16 => Ok(pick::<6>(&samples, [high, 2 + high, 4 + high])),
        ColorType::Rgba16 => Ok(pick::<8>(&samples, [high, 2 + high, 4 + high])),
        _ => Err(unsupported(
            "pictures of floating-point values are not read",
        )),
    }
}

/// The greatest value of a colour in 16-bit samples.
fn greatest(samples: &[u8], colour: ColorType) -> Option<u16> {
    let (channels, colours) = match colour {
        ColorType::L16 => (1, 1),
        ColorType::La16 => (2, 1),
        ColorType::Rgb16 => (3, 3),
        ColorType::Rgba16 => (4, 3),
        _ => return None,
    };
    let (values, _) = samples.as_chunks::<2>();
    let pixels = values.chunks_exact(channels);
    let colours = pixels.flat_map(|pixel| &pixel[..colours]);
    colours.map(|&value| u16::from_ne_bytes(value)).max()
}

/// Three chosen bytes of every `N`-byte pixel.
fn pick<const N: usize>(samples: &[u8], chosen: [usize; 3]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<N>();
    let mut rgb = vec![[0; 3]; pixels.len()];
    rgb.par_iter_mut()
        .with_min_len(1 << 16)
        .zip(pixels)
        .for_each(|(rgb, pixel)| *rgb = chosen.map(|i| pixel[i]));
    rgb.into_flattened()
}

/// The decoders' errors in words that help; their own wording is kept where it says more.
fn explain(error: ImageError, format: ImageFormat) -> PictureError {
    match error {
        ImageError::IoError(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            truncated()
        }
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
            PictureError::new(
                ErrorKind::TooLarge,
                format!(
                    "decoding it takes more than {} GiB",
                    MAX_DECODER_BYTES >> 30
                ),
                BYTES,
                "shrink it or save it with 8 bits a channel",
            )
        }
        ImageError::Unsupported(cause) => unsupported(cause),
        other => {
            // The innermost error says it without the outer ones' preambles.
            let cause = other
                .source()
                .map_or_else(|| other.to_string(), ToString::to_string);
            let text = cause.trim().to_lowercase();
            // Several decoders say in words only that bytes are missing.
            let missing = [
                "end of file",
                "unexpectedeof",
                "whole buffer",
                "not enough bytes",
            ];
            if missing.iter().any(|words| text.contains(words)) {
                return truncated();
            }
            damaged(format!("a damaged {format:?} file ({text})"))
        }
    }
}

pub(crate) fn truncated() -> PictureError {
    PictureError::new(
        ErrorKind::Truncated,
        "the file ends before the picture does",
        BYTES,
        "copy or download it again",
    )
}

pub(crate) fn damaged(what: impl std::fmt::Display) -> PictureError {
    PictureError::new(
        ErrorKind::Damaged,
        what,
        BYTES,
        "copy or download it again, or open and save it with another program",
    )
}

pub(crate) fn too_large(what: impl std::fmt::Display) -> PictureError {
    PictureError::new(
        ErrorKind::TooLarge,
        what,
        BYTES,
        "shrink it or cut it into tiles first",
    )
}

pub(crate) fn unsupported(what: impl std::fmt::Display) -> PictureError {
    PictureError::new(ErrorKind::Unsupported, what, BYTES, READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_keep_the_high_byte() {
        let samples: Vec<u8> = [0x1234u16, 0xFFFF]
            .iter()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        let rgb = to_rgb(samples, ColorType::L16).unwrap();
        assert_eq!(rgb, [0x12, 0x12, 0x12, 0xFF, 0xFF, 0xFF]);
    }

    #[test]
    fn a_size_beyond_the_limit_is_named() {
        let error = check_size(40_000, 30_000, crate::MAX_PIXELS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("40000×30000"), "{error}");
    }

    #[test]
    fn a_bare_magic_number_is_an_error() {
        for magic in [
            "BM",
            "GIF89a",
            "II*\0",
            "MM\0*",
            "II+\0",
            "RIFF\0\0\0\0WEBP",
        ] {
            assert!(
                decode(magic.as_bytes(), crate::MAX_PIXELS).is_err(),
                "{magic}"
            );
        }
        assert!(decode(b"\xFF\xD8\xFF", 1).is_err());
    }

    #[test]
    fn a_phone_picture_is_named() {
        let error = decode(b"\0\0\0\x18ftypheic\0\0\0\0", 1).unwrap_err();
        assert!(error.to_string().contains("HEIC"), "{error}");
    }
}
