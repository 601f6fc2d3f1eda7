//! JPEG pixels to the bit as libjpeg-turbo decodes them, and with it Pillow, torchvision and OpenCV.
//!
//! A JPEG does not say how its chroma is to be enlarged; decoders differ by a few of 255, and a network
//! answers differently along edges (up to 0.4 % of the pixels of Pascal VOC photographs). What
//! weights were trained on and measured with came from libjpeg-turbo, so its arithmetic is taken: a port
//! in Rust, without its vector code, which has `unsafe` of its own.

use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use crate::MAX_DECODER_BYTES;
use crate::cmyk;
use crate::guard::quietly;

/// The RGB pixels of a JPEG of `width`×`height` in grey, colour or inks; inks that are stored at half the size
/// differ from libjpeg-turbo's along edges (by 12 of 255 on noise), since the port enlarges them otherwise. `None` for what is left to the general
/// decoder: damage (its messages are ours), and whatever else this one does not take.
pub(crate) fn pixels(bytes: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
    let limits = DecodeLimits {
        max_pixels: u64::from(width) * u64::from(height),
        max_memory: Some(MAX_DECODER_BYTES),
        ..DecodeLimits::default()
    };
    // A panic of this decoder leaves the file to the other one.
    let pixels = quietly(|| decode(bytes, limits))?.ok()??;
    (pixels.len() as u64 == 3 * u64::from(width) * u64::from(height)).then_some(pixels)
}

fn decode(bytes: &[u8], limits: DecodeLimits) -> Result<Option<Vec<u8>>, JpegError> {
    let mut decoder = Decoder::new_with_limits(bytes, limits)?;
    let components = decoder.header().components.len();
    if decoder.header().precision != 8 || components > 4 {
        return Ok(None);
    }
    let inks = components == 4;
    decoder.set_output_format(if inks {
        PixelFormat::Cmyk
    } else {
        PixelFormat::Rgb
    });
    let image = decoder.decode_image()?;
    if !image.warnings.is_empty() {
        return Ok(None);
    }
    Ok(Some(if inks {
        // JPEG's inks are stored as Adobe does it, 255 for none; Pillow takes them so whoever wrote them.
        let (pixels, _) = image.data.as_chunks::<4>();
        let rgb = pixels
            .iter()
            .flat_map(|pixel| cmyk::rgb(pixel.map(|ink| 255 - ink)));
        rgb.collect()
    } else {
        image.data
    }))
}
