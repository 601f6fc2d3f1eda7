//! Files out: one place for PNG settings, one for atomic writes.

use segmenta_files::count;
use std::borrow::Cow;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use png::{BitDepth, ColorType, Compression, DeflateCompression, Encoder};
use rayon::prelude::*;

use crate::{ErrorKind, LabelMap, Palette, Picture, PictureError, mark_result};

/// High enough that overlays' edges stay clean.
const JPEG_QUALITY: u8 = 90;

/// Writes a file whole or not at all: into a temporary file beside it, synced to disk, then renamed over it.
///
/// # Errors
/// The folder is missing, not writable or full; the temporary file is removed then.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), PictureError> {
    let path = path.as_ref();
    segmenta_files::write(path, |file| file.write_all(bytes))
        .map_err(|cause| PictureError::write(path, &cause))
}

/// Whether [`picture`] could write to this path now.
pub(crate) fn check(path: &Path) -> Result<(), PictureError> {
    Coding::of(path)?;
    segmenta_files::check_file(path).map_err(|cause| PictureError::write(path, &cause))
}

/// The formats that pictures are written in.
enum Coding {
    Png,
    Jpeg,
}

impl Coding {
    /// The one that a path's extension names.
    fn of(path: &Path) -> Result<Self, PictureError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        match extension.to_ascii_lowercase().as_str() {
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            _ => Err(PictureError::new(
                ErrorKind::Unsupported,
                format!("pictures are not written as “{extension}”"),
                path.display(),
                "end the name in .png or .jpg",
            )),
        }
    }
}

/// Writes a picture in the format that the path's extension names.
pub(crate) fn picture(picture: &Picture, path: &Path) -> Result<(), PictureError> {
    let bytes = match Coding::of(path)? {
        Coding::Png => rgb_png(picture),
        Coding::Jpeg => jpeg(picture).map_err(|e| e.at(path))?,
    };
    write_atomic(path, &bytes)
}

fn jpeg(picture: &Picture) -> Result<Vec<u8>, PictureError> {
    let (Ok(width), Ok(height)) = (
        u16::try_from(picture.width()),
        u16::try_from(picture.height()),
    ) else {
        return Err(PictureError::new(
            ErrorKind::Unsupported,
            "a JPEG has at most 65535 pixels a side",
            "picture to be saved",
            "end the name in .png",
        ));
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode(
            picture.pixels(),
            u32::from(width),
            u32::from(height),
            image::ExtendedColorType::Rgb8,
        )
        .expect("the sides fit a JPEG, and memory takes every byte");
    Ok(bytes)
}

/// A photograph or a drawing over one.
pub(crate) fn rgb_png(picture: &Picture) -> Vec<u8> {
    png(picture.size(), ColorType::Rgb, None, picture.pixels())
}

/// A photograph with an opacity for each pixel.
pub(crate) fn rgba_png(size: (usize, usize), pixels: &[u8]) -> Vec<u8> {
    png(size, ColorType::Rgba, None, pixels)
}

/// Ids as the indices of a palette of 256 colours: the file that Pascal VOC's tools write and read.
pub(crate) fn palette_png(map: &LabelMap, palette: &Palette) -> Vec<u8> {
    let colours = palette.colors().as_flattened();
    png(map.size(), ColorType::Indexed, Some(colours), map.ids())
}

/// Writes probabilities as an 8-bit grey PNG, atomically: 0 is black, 1 is white, anything outside (and NaN) the nearer end.
/// It is marked as a result ([`mark_result`]).
///
/// # Errors
/// A count of values that is not `width · height`, or a path that cannot be written.
pub fn save_probability(
    path: impl AsRef<Path>,
    width: usize,
    height: usize,
    probabilities: &[f32],
) -> Result<(), PictureError> {
    let path = path.as_ref();
    let png = probability_png(width, height, probabilities).map_err(|error| error.at(path))?;
    write_atomic(path, &png)
}

/// The bytes of the file that [`save_probability`] writes.
///
/// # Errors
/// A count of values that is not `width · height`.
pub fn probability_png(
    width: usize,
    height: usize,
    probabilities: &[f32],
) -> Result<Vec<u8>, PictureError> {
    if width == 0 || height == 0 || Some(probabilities.len()) != width.checked_mul(height) {
        let what = format!(
            "{} for {width}×{height} pixels",
            count(probabilities.len(), "probability")
        );
        let remedy = "give one value for each pixel";
        return Err(PictureError::new(
            ErrorKind::Mismatch,
            what,
            "probabilities",
            remedy,
        ));
    }
    // `as` saturates, and takes NaN to 0.
    let grey: Vec<u8> = probabilities
        .par_iter()
        .map(|p| (p * 255.0 + 0.5) as u8)
        .collect();
    let png = png((width, height), ColorType::Grayscale, None, &grey);
    Ok(mark_result(&png, "probability"))
}

/// The one PNG encoder.
///
/// Photographs, cut-outs and probabilities go through `Fast`: prediction from neighbours and a deflate made for
/// what that leaves, since time matters more here than bytes. Flat ids are not predicted, for the difference of two ids means
/// nothing; runs of equal bytes are what deflate is good at, and its first level finds them.
fn png(
    (width, height): (usize, usize),
    colour: ColorType,
    palette: Option<&[u8]>,
    pixels: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pixels.len() / 2 + 4096);
    let mut encoder = Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    if let Some(palette) = palette {
        encoder.set_palette(Cow::Borrowed(palette));
    }
    encoder.set_compression(Compression::Fast);
    if matches!(colour, ColorType::Indexed) {
        encoder.set_filter(png::Filter::NoFilter);
        encoder.set_deflate_compression(DeflateCompression::Level(1));
    }
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(pixels))
        .expect("the header is sound, the data has its size, and memory takes every byte");
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/a.png");
        let error = write_atomic(&missing, b"x").unwrap_err().to_string();
        assert!(error.contains("make its folder first"), "{error}");
        fs::create_dir(folder.path().join("taken")).unwrap();
        assert!(write_atomic(folder.path().join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_replaces_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_extensions_are_refused() {
        let error = Picture::filled(1, 1, [0; 3]).save("a.xyz").unwrap_err();
        assert!(error.to_string().contains(".png or .jpg"), "{error}");
    }
}
