//! One class id for every pixel.

use std::io::Cursor;
use std::path::Path;

use png::{ColorType, Transformations};
use rayon::prelude::*;
use segmenta_files::count;

use crate::guard::guarded;
use crate::{
    ErrorKind, MAX_DECODER_BYTES, MAX_PIXELS, Palette, PictureError, Rect, decode, mark_result,
    resize, save, tiff,
};

const TEACH: &str = "save masks as PNG with class ids: palette or 8-bit grey";

/// A map of class ids, row by row from the top left, at least 1×1. 255 ([`crate::VOID`]) marks pixels without a class.
#[derive(Clone, PartialEq, Eq)]
pub struct LabelMap {
    width: usize,
    height: usize,
    ids: Vec<u8>,
}

impl LabelMap {
    /// Takes ids as they are: `width · height` of them.
    ///
    /// # Errors
    /// A side of 0, or a count that does not fit the sides.
    pub fn new(width: usize, height: usize, ids: Vec<u8>) -> Result<Self, PictureError> {
        if width == 0 || height == 0 || width.checked_mul(height) != Some(ids.len()) {
            return Err(PictureError::new(
                ErrorKind::Mismatch,
                format!(
                    "{} for a label map of {width}×{height}",
                    count(ids.len(), "id")
                ),
                "ids given by the program",
                "give width · height ids, at least one",
            ));
        }
        Ok(Self { width, height, ids })
    }

    /// For ids whose count is right by construction.
    pub(crate) fn from_parts(width: usize, height: usize, ids: Vec<u8>) -> Self {
        debug_assert!(width > 0 && height > 0 && ids.len() == width * height);
        Self { width, height, ids }
    }

    /// Reads a mask: the indices of a palette PNG or TIFF, or the values of a grey one, as they are in the file.
    ///
    /// # Errors
    /// A file that cannot be read, is neither PNG nor TIFF, has colours or transparency instead of ids, or ids above
    /// 255.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        let path = path.as_ref();
        let bytes = segmenta_files::read(path).map_err(|e| PictureError::read(path, &e))?;
        Self::decode(&bytes).map_err(|e| e.at(path))
    }

    /// As [`LabelMap::open`], from bytes.
    ///
    /// # Errors
    /// As [`LabelMap::open`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        if decode::is_tiff(bytes) {
            return guarded("TIFF", || tiff::mask(bytes));
        }
        if !bytes.starts_with(b"\x89PNG") {
            let (kind, what) = match image::guess_format(bytes) {
                Ok(image::ImageFormat::Jpeg) => (
                    ErrorKind::Unsupported,
                    "a JPEG cannot be a mask: its compression changes ids".into(),
                ),
                Ok(other) => (
                    ErrorKind::Unsupported,
                    format!("{other:?} masks are not read"),
                ),
                Err(_) => (ErrorKind::Damaged, "no PNG or TIFF mask".into()),
            };
            return Err(PictureError::new(kind, what, "the bytes given", TEACH));
        }
        guarded("PNG", || Self::decode_png(bytes))
    }

    fn decode_png(bytes: &[u8]) -> Result<Self, PictureError> {
        // Transformations would turn indices into colours and scale grey.
        let mut decoder = png::Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(Transformations::IDENTITY);
        decoder.set_limits(png::Limits {
            bytes: MAX_DECODER_BYTES as usize,
        });
        let mut reader = decoder.read_info().map_err(|e| explain(&e))?;
        let info = reader.info();
        let (width, height) = (info.width as usize, info.height as usize);
        if width as u64 * height as u64 > MAX_PIXELS {
            return Err(PictureError::new(
                ErrorKind::TooLarge,
                format!("a mask of {width}×{height} has more than {MAX_PIXELS} pixels"),
                "the bytes given",
                "cut it into tiles first",
            ));
        }
        let (colour, depth) = reader.output_color_type();
        if !matches!(colour, ColorType::Indexed | ColorType::Grayscale) {
            return Err(PictureError::new(
                ErrorKind::Unsupported,
                format!("a mask of {colour:?} colours, where class ids are wanted"),
                "the bytes given",
                "save it with class ids (palette or 8-bit grey PNG), or make such masks of it: segmenta data convert rgb",
            ));
        }
        let size = reader.output_buffer_size().unwrap_or(0);
        let mut packed = vec![0; size];
        reader.next_frame(&mut packed).map_err(|e| explain(&e))?;
        let ids = unpack(packed, width, height, depth as usize)?;
        Self::new(width, height, ids)
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// `(width, height)`.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The ids, row by row.
    pub fn ids(&self) -> &[u8] {
        &self.ids
    }

    /// The ids, to change.
    pub fn ids_mut(&mut self) -> &mut [u8] {
        &mut self.ids
    }

    /// The ids, without a copy.
    pub fn into_ids(self) -> Vec<u8> {
        self.ids
    }

    /// How many pixels each id has.
    pub fn counts(&self) -> [u64; 256] {
        let count = |ids: &[u8]| {
            let mut counts = [0u64; 256];
            for &id in ids {
                counts[usize::from(id)] += 1;
            }
            counts
        };
        let add = |mut a: [u64; 256], b: [u64; 256]| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        self.ids
            .par_chunks(1 << 18)
            .map(count)
            .reduce(|| [0; 256], add)
    }

    /// Writes an 8-bit palette PNG, atomically: ids are the indices, all 256 colours are in the file. It is
    /// marked as a result ([`mark_result`]).
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>, palette: &Palette) -> Result<(), PictureError> {
        save::write_atomic(path, &mark_result(&self.to_png(palette), "mask"))
    }

    /// The map as the bytes of a palette PNG.
    pub fn to_png(&self, palette: &Palette) -> Vec<u8> {
        save::palette_png(self, palette)
    }

    /// The map at another size, each pixel the nearest of this one, exactly as Pillow's `NEAREST`. Sides of 0 become 1.
    #[must_use]
    pub fn resize_nearest(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self {
            width,
            height,
            ids: resize::nearest(&self.ids, self.size(), (width, height)),
        }
    }

    /// The part of the map inside `area`.
    ///
    /// # Errors
    /// An area that is empty or reaches out of the map.
    pub fn crop(&self, area: Rect) -> Result<Self, PictureError> {
        area.check_inside(self.size())?;
        let rows = self
            .ids
            .chunks_exact(self.width)
            .skip(area.y)
            .take(area.height);
        let ids = rows
            .flat_map(|row| &row[area.x..area.right()])
            .copied()
            .collect();
        Self::new(area.width, area.height, ids)
    }

    /// The map with left and right exchanged.
    #[must_use]
    pub fn flip_horizontal(&self) -> Self {
        let mut flipped = self.clone();
        flipped
            .ids
            .par_chunks_exact_mut(self.width)
            .for_each(<[u8]>::reverse);
        flipped
    }

    /// The map with top and bottom exchanged.
    #[must_use]
    pub fn flip_vertical(&self) -> Self {
        let rows = self.ids.chunks_exact(self.width).rev();
        Self::from_parts(self.width, self.height, rows.flatten().copied().collect())
    }
}

impl std::fmt::Debug for LabelMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LabelMap({}×{})", self.width, self.height)
    }
}

/// Samples of 1, 2, 4, 8 or 16 bits, each row starting at a whole byte, to one byte each.
fn unpack(
    packed: Vec<u8>,
    width: usize,
    height: usize,
    depth: usize,
) -> Result<Vec<u8>, PictureError> {
    match depth {
        8 => Ok(packed),
        16 => {
            let (samples, _) = packed.as_chunks::<2>();
            if let Some([high, low]) = samples.iter().find(|sample| sample[0] != 0) {
                let id = u16::from_be_bytes([*high, *low]);
                return Err(too_great(id));
            }
            Ok(samples.iter().map(|sample| sample[1]).collect())
        }
        _ => {
            let row_bytes = (width * depth).div_ceil(8);
            let sample = |i: usize| {
                let bit = i % width * depth;
                let byte = packed[i / width * row_bytes + bit / 8];
                byte >> (8 - depth - bit % 8) & ((1 << depth) - 1)
            };
            Ok((0..width * height).map(sample).collect())
        }
    }
}

/// The error for an id of a 16-bit mask that is none.
pub(crate) fn too_great(id: u16) -> PictureError {
    PictureError::new(
        ErrorKind::Unsupported,
        format!("id {id} in a 16-bit mask; ids go to 255"),
        "the bytes given",
        "renumber its classes (instance ids are no class ids)",
    )
}

fn explain(error: &png::DecodingError) -> PictureError {
    let ends = matches!(error, png::DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof);
    let (kind, what) = if ends {
        (
            ErrorKind::Truncated,
            "the file ends before the mask does".into(),
        )
    } else {
        (ErrorKind::Damaged, format!("a damaged PNG file ({error})"))
    };
    PictureError::new(kind, what, "the bytes given", "copy or download it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rows_start_at_whole_bytes() {
        let ids = unpack(
            vec![0b0001_1011, 0b1100_0000, 0b1110_0100, 0b0100_0000],
            5,
            2,
            2,
        );
        assert_eq!(ids.unwrap(), [0, 1, 2, 3, 3, 3, 2, 1, 0, 1]);
        assert_eq!(unpack(vec![0, 7, 0, 255], 2, 1, 16).unwrap(), [7, 255]);
        assert!(unpack(vec![1, 0], 1, 1, 16).is_err());
    }

    #[test]
    fn counts_add_up() {
        let map = LabelMap::new(3, 1, vec![0, 255, 255]).unwrap();
        assert_eq!(
            (map.counts()[0], map.counts()[1], map.counts()[255]),
            (1, 0, 2)
        );
    }
}
