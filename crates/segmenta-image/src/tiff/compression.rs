//! A chunk's bytes in the file to the bytes that they stand for.

use std::convert::Infallible;
use std::io::Read;

use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};
use segmenta_files::count;

use super::layout::{Colour, Compression, Layout};
use crate::decode::{damaged, truncated, unsupported};
use crate::{MAX_DECODER_BYTES, PictureError};

/// Fills `out` from a chunk. A chunk may be longer than `out`; a shorter one is an error.
pub(super) fn expand(
    layout: &Layout,
    source: &[u8],
    row_pixels: usize,
    out: &mut [u8],
) -> Result<(), PictureError> {
    match layout.compression {
        Compression::None => {
            out.copy_from_slice(source.get(..out.len()).ok_or_else(truncated)?);
            Ok(())
        }
        Compression::Lzw => lzw(source, out),
        Compression::Deflate => fill(flate2::bufread::ZlibDecoder::new(source), "deflate", out),
        Compression::PackBits => pack_bits(source, out),
        Compression::Zstd => zstd(source, out),
        Compression::Fax3 | Compression::Fax4 => fax(layout.compression, source, row_pixels, out),
        Compression::Jpeg => unreachable!("JPEG has a size of its own and is decoded by `jpeg`"),
    }
}

fn fill(mut reader: impl Read, name: &str, out: &mut [u8]) -> Result<(), PictureError> {
    reader.read_exact(out).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::UnexpectedEof => truncated(),
        _ => damaged(format!("a damaged TIFF file ({name}: {cause})")),
    })
}

fn lzw(source: &[u8], out: &mut [u8]) -> Result<(), PictureError> {
    // Before TIFF 5.0 codes began with their least bit; libtiff tells such strips by their first code.
    if let [0, second, ..] = source
        && second & 1 == 1
    {
        return Err(unsupported("TIFFs of old-style LZW are not read"));
    }
    let order = weezl::BitOrder::Msb;
    let mut decoder = weezl::decode::Configuration::with_tiff_size_switch(order, 8)
        .with_yield_on_full_buffer(true)
        .build();
    let (mut read, mut written) = (0, 0);
    while written < out.len() {
        let step = decoder.decode_bytes(&source[read..], &mut out[written..]);
        read += step.consumed_in;
        written += step.consumed_out;
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) if written == out.len() => {}
            Ok(_) => return Err(truncated()),
            Err(cause) => return Err(damaged(format!("a damaged TIFF file (LZW: {cause})"))),
        }
    }
    Ok(())
}

/// TIFF 6.0, section 9.
fn pack_bits(mut source: &[u8], mut out: &mut [u8]) -> Result<(), PictureError> {
    while !out.is_empty() {
        let (&header, rest) = source.split_first().ok_or_else(truncated)?;
        source = rest;
        match header as i8 {
            -128 => {}
            literal @ 0.. => {
                let length = literal as usize + 1;
                let bytes = source.get(..length).ok_or_else(truncated)?;
                let kept = length.min(out.len());
                out[..kept].copy_from_slice(&bytes[..kept]);
                (source, out) = (&source[length..], &mut out[kept..]);
            }
            run => {
                let (&value, rest) = source.split_first().ok_or_else(truncated)?;
                let kept = (1 + usize::from(run.unsigned_abs())).min(out.len());
                out[..kept].fill(value);
                (source, out) = (rest, &mut out[kept..]);
            }
        }
    }
    Ok(())
}

fn zstd(source: &[u8], out: &mut [u8]) -> Result<(), PictureError> {
    let bad =
        |cause: &dyn std::fmt::Display| damaged(format!("a damaged TIFF file (zstd: {cause})"));
    // Its window is memory that the frame's header asks for: the crate refuses more than 100 MiB.
    let decoder = ruzstd::decoding::StreamingDecoder::new(source);
    fill(decoder.map_err(|cause| bad(&cause))?, "zstd", out)
}

/// CCITT groups 3 (one-dimensional) and 4: black is 1, eight pixels a byte.
fn fax(
    kind: Compression,
    source: &[u8],
    row_pixels: usize,
    out: &mut [u8],
) -> Result<(), PictureError> {
    let width = u16::try_from(row_pixels)
        .map_err(|_| unsupported("CCITT TIFFs of more than 65535 columns are not read"))?;
    let row_bytes = row_pixels.div_ceil(8);
    let wanted = out.len() / row_bytes;
    let mut rows = out.chunks_exact_mut(row_bytes);
    let mut written = 0;
    let mut write = |changes: &[u16]| {
        let Some(row) = rows.next() else { return };
        row.fill(0);
        let pixels = fax::decoder::pels(changes, width);
        for (x, pixel) in pixels.enumerate() {
            if pixel == fax::Color::Black {
                row[x / 8] |= 0x80 >> (x % 8);
            }
        }
        written += 1;
    };
    if kind == Compression::Fax4 {
        // The height is not given: the decoder would make up rows that are missing.
        let bytes = source.iter().copied();
        fax::decoder::decode_g4(bytes, width, None, &mut write);
    } else {
        let bytes = source.iter().map(|&byte| Ok::<u8, Infallible>(byte));
        if let Ok(mut decoder) = fax::decoder::Group3Decoder::new(bytes) {
            for _ in 0..wanted {
                let ended = decoder.advance().is_err();
                // The last row of a strip has no end-of-line code behind it.
                if !ended || decoder.transitions().last() == Some(&width) {
                    write(decoder.transitions());
                }
                if ended {
                    break;
                }
            }
        }
    }
    if written < wanted {
        return Err(truncated());
    }
    Ok(())
}

/// Samples of a chunk that is a JPEG stream: `(columns, rows, samples of a pixel, values)`. YCbCr comes as RGB.
pub(super) fn jpeg(
    layout: &Layout,
    tables: Option<&[u8]>,
    source: &[u8],
) -> Result<(usize, usize, usize, Vec<u8>), PictureError> {
    let samples = if layout.planar { 1 } else { layout.samples };
    let (format, transform) = match (samples, &layout.colour) {
        (1, _) => (PixelFormat::Grayscale, 0),
        (3, Colour::YCbCr(_)) => (PixelFormat::Rgb, 1),
        (3, _) => (PixelFormat::Rgb, 0),
        (4, Colour::Cmyk) => (PixelFormat::Cmyk, 0),
        _ => {
            return Err(unsupported(format!(
                "TIFFs of {} are not read",
                layout.describe()
            )));
        }
    };
    let stream = whole_stream(tables, source, transform)?;
    let limits = DecodeLimits {
        // The stream's own size; a chunk is rounded up to whole blocks at most.
        max_pixels: (layout.chunk.0 as u64 + 64) * (layout.chunk.1 as u64 + 64),
        max_memory: Some(MAX_DECODER_BYTES),
        ..DecodeLimits::default()
    };
    let decode = || -> Result<_, JpegError> {
        let mut decoder = Decoder::new_with_limits(&stream, limits)?;
        let header = decoder.header();
        let (precision, components) = (header.precision, header.components.len());
        if precision != 8 || components != samples {
            return Ok(Err(damaged(format!(
                "a TIFF whose JPEG streams have {} of {precision} bits, not {samples} of 8",
                count(components, "component")
            ))));
        }
        decoder.set_output_format(format);
        let image = decoder.decode_image()?;
        Ok(if image.warnings.is_empty() {
            Ok((image.width, image.height, samples, image.data))
        } else {
            Err(truncated())
        })
    };
    decode().map_err(|cause| {
        let text = cause.to_string().to_lowercase();
        damaged(format!("a damaged TIFF file (JPEG: {text})"))
    })?
}

/// An abbreviated stream with its tables (TIFF Technical Note 2), and a marker that says whether three components are
/// YCbCr (1) or stand for themselves (0): decoders would guess it.
fn whole_stream(
    tables: Option<&[u8]>,
    source: &[u8],
    transform: u8,
) -> Result<Vec<u8>, PictureError> {
    const START: [u8; 2] = [0xFF, 0xD8];
    const END: [u8; 2] = [0xFF, 0xD9];
    let body = source
        .strip_prefix(&START)
        .ok_or_else(|| damaged("a TIFF whose JPEG streams are none"))?;
    let mut stream = START.to_vec();
    stream.extend_from_slice(&[0xFF, 0xEE, 0, 14]);
    stream.extend_from_slice(b"Adobe\0\x64\0\0\0\0");
    stream.push(transform);
    if let Some(tables) = tables {
        let tables = tables.strip_prefix(&START).unwrap_or(tables);
        stream.extend_from_slice(tables.strip_suffix(&END).unwrap_or(tables));
    }
    stream.extend_from_slice(body);
    Ok(stream)
}
