//! Whether a file holds more than the one picture that is read.

use std::io::Cursor;

use image::ImageFormat;

/// Whether a GIF, PNG or WebP is an animation of more than one frame. No frame is decoded.
pub(crate) fn are_several(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        ImageFormat::Gif => gif_frames(bytes) > 1,
        ImageFormat::Png => png_frames(bytes) > 1,
        // The extended header's flags: bit 1 says that frames follow.
        ImageFormat::WebP => {
            bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & 2 != 0)
        }
        _ => false,
    }
}

/// The frames of a GIF, up to 2.
fn gif_frames(bytes: &[u8]) -> usize {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let Ok(mut decoder) = options.read_info(Cursor::new(bytes)) else {
        return 0;
    };
    (0..2)
        .take_while(|_| matches!(decoder.next_frame_info(), Ok(Some(_))))
        .count()
}

/// The frames that a PNG's animation control announces; it stands before the pixels.
fn png_frames(bytes: &[u8]) -> u32 {
    let number = |at: usize| {
        bytes
            .get(at..at + 4)?
            .first_chunk()
            .map(|&n| u32::from_be_bytes(n))
    };
    let mut at = 8;
    while let (Some(length), Some(kind)) = (number(at), bytes.get(at + 4..at + 8)) {
        match kind {
            b"acTL" => return number(at + 8).unwrap_or(0),
            b"IDAT" => return 0,
            // Length, kind and checksum are around the data.
            _ => at = at.saturating_add(length as usize).saturating_add(12),
        }
    }
    0
}
