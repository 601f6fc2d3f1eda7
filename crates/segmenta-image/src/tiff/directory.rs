//! A TIFF's header and its directories of tags (TIFF 6.0, section 2; BigTIFF has the same with 64-bit numbers).
//!
//! Everything is looked up in the file's bytes: nothing that a file says about itself is believed beyond its end, and
//! no list is longer than the file.

use std::collections::HashSet;

use crate::PictureError;
use crate::decode::{damaged, truncated};

/// Numbers of the tags that are read here.
pub(super) mod tag {
    pub(in crate::tiff) const SUBFILE: u16 = 254;
    pub(in crate::tiff) const WIDTH: u16 = 256;
    pub(in crate::tiff) const HEIGHT: u16 = 257;
    pub(in crate::tiff) const BITS: u16 = 258;
    pub(in crate::tiff) const COMPRESSION: u16 = 259;
    pub(in crate::tiff) const PHOTOMETRIC: u16 = 262;
    pub(in crate::tiff) const FILL_ORDER: u16 = 266;
    pub(in crate::tiff) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::tiff) const ORIENTATION: u16 = 274;
    pub(in crate::tiff) const SAMPLES: u16 = 277;
    pub(in crate::tiff) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::tiff) const STRIP_BYTES: u16 = 279;
    pub(in crate::tiff) const PLANAR: u16 = 284;
    pub(in crate::tiff) const T4_OPTIONS: u16 = 292;
    pub(in crate::tiff) const PREDICTOR: u16 = 317;
    pub(in crate::tiff) const COLOUR_MAP: u16 = 320;
    pub(in crate::tiff) const TILE_WIDTH: u16 = 322;
    pub(in crate::tiff) const TILE_HEIGHT: u16 = 323;
    pub(in crate::tiff) const TILE_OFFSETS: u16 = 324;
    pub(in crate::tiff) const TILE_BYTES: u16 = 325;
    pub(in crate::tiff) const INK_SET: u16 = 332;
    pub(in crate::tiff) const EXTRA_SAMPLES: u16 = 338;
    pub(in crate::tiff) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::tiff) const JPEG_TABLES: u16 = 347;
    pub(in crate::tiff) const YCBCR_COEFFICIENTS: u16 = 529;
    pub(in crate::tiff) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(in crate::tiff) const REFERENCE_BLACK_WHITE: u16 = 532;
}

/// A file with what its first bytes say of it.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) bytes: &'a [u8],
    /// Numbers begin with their least byte.
    pub(super) little: bool,
    /// 64-bit offsets.
    big: bool,
}

/// The tags of one picture.
pub(super) struct Directory<'a> {
    file: File<'a>,
    entries: Vec<Entry>,
    next: u64,
}

struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where the values are: in the entry itself if they fit.
    at: u64,
}

impl<'a> File<'a> {
    /// A file and the place of its first directory.
    fn open(bytes: &'a [u8]) -> Result<(Self, u64), PictureError> {
        let little = match bytes.get(..2) {
            Some(b"II") => true,
            Some(b"MM") => false,
            _ => return Err(damaged("no TIFF file")),
        };
        let mut file = Self {
            bytes,
            little,
            big: false,
        };
        match file.number(2, 2)? {
            42 => Ok((file, file.number(4, 4)?)),
            43 => {
                file.big = true;
                if file.number(4, 2)? != 8 || file.number(6, 2)? != 0 {
                    return Err(damaged("a BigTIFF whose offsets have no 8 bytes"));
                }
                Ok((file, file.number(8, 8)?))
            }
            version => Err(damaged(format!("a TIFF of version {version}"))),
        }
    }

    pub(super) fn slice(&self, at: u64, length: u64) -> Result<&'a [u8], PictureError> {
        let end = at.checked_add(length).and_then(|end| end.try_into().ok());
        let range = usize::try_from(at).ok().zip(end);
        range
            .and_then(|(start, end)| self.bytes.get(start..end))
            .ok_or_else(truncated)
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes.
    fn number(&self, at: u64, length: u64) -> Result<u64, PictureError> {
        let bytes = self.slice(at, length)?;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Ok(if self.little {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        })
    }

    fn directory(self, at: u64) -> Result<Directory<'a>, PictureError> {
        let (count_bytes, entry_bytes, offset_bytes) =
            if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(at, count_bytes)?;
        let first = at + count_bytes;
        // One look at the whole says that it is there, before anything is listed.
        let length = count.checked_mul(entry_bytes).ok_or_else(truncated)?;
        self.slice(first, length)?;
        let mut entries = Vec::with_capacity(count as usize);
        for i in 0..count {
            let entry = first + i * entry_bytes;
            let kind = self.number(entry + 2, 2)? as u16;
            let values = self.number(entry + 4, offset_bytes)?;
            let place = entry + 4 + offset_bytes;
            let fits = values
                .checked_mul(size_of_kind(kind))
                .is_some_and(|n| n <= offset_bytes);
            entries.push(Entry {
                tag: self.number(entry, 2)? as u16,
                kind,
                count: values,
                at: if fits {
                    place
                } else {
                    self.number(place, offset_bytes)?
                },
            });
        }
        // A file cut right behind its last entry has no next directory.
        let next = self.number(first + length, offset_bytes).unwrap_or(0);
        Ok(Directory {
            file: self,
            entries,
            next,
        })
    }
}

/// Bytes of a value of each type; 0 for a type that there is not.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 0,
    }
}

impl<'a> Directory<'a> {
    /// The tags of the first picture of a file.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Self, PictureError> {
        let (file, at) = File::open(bytes)?;
        file.directory(at)
    }

    pub(super) fn file(&self) -> File<'a> {
        self.file
    }

    /// How many pictures the file has, smaller versions of one (overviews) and masks not counted.
    pub(super) fn pages(&self) -> usize {
        const REDUCED_OR_MASK: u64 = 0b101;
        let mut seen = HashSet::new();
        let (mut pages, mut next) = (1, self.next);
        while next != 0 && seen.insert(next) {
            let Ok(directory) = self.file.directory(next) else {
                break;
            };
            let kind = directory.number(tag::SUBFILE).ok().flatten().unwrap_or(0);
            pages += usize::from(kind & REDUCED_OR_MASK == 0);
            next = directory.next;
        }
        pages
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    fn values(&self, entry: &Entry) -> Result<&'a [u8], PictureError> {
        let size = size_of_kind(entry.kind);
        let length = entry.count.checked_mul(size).ok_or_else(truncated)?;
        self.file.slice(entry.at, length)
    }

    /// All values of a tag as they lie.
    pub(super) fn bytes(&self, tag: u16) -> Result<Option<&'a [u8]>, PictureError> {
        self.entry(tag).map(|entry| self.values(entry)).transpose()
    }

    /// All values of a tag of whole numbers. `None` if there is no such tag.
    pub(super) fn numbers(&self, tag: u16) -> Result<Option<Vec<u64>>, PictureError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        let size = match entry.kind {
            // Bytes, shorts, longs; IFD pointers are longs.
            1 | 3 | 4 | 13 | 16 | 18 => size_of_kind(entry.kind),
            kind => return Err(damaged(format!("a TIFF whose tag {tag} is of type {kind}"))),
        };
        self.values(entry)?;
        let values = (0..entry.count).map(|i| self.file.number(entry.at + i * size, size));
        values.collect::<Result<_, _>>().map(Some)
    }

    /// The first value of a tag.
    pub(super) fn number(&self, tag: u16) -> Result<Option<u64>, PictureError> {
        let values = self.numbers(tag)?;
        Ok(values.and_then(|values| values.first().copied()))
    }

    /// All values of a tag of fractions.
    pub(super) fn fractions(&self, tag: u16) -> Result<Option<Vec<f32>>, PictureError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        if entry.kind != 5 {
            let whole = self.numbers(tag)?;
            return Ok(whole.map(|all| all.into_iter().map(|n| n as f32).collect()));
        }
        self.values(entry)?;
        let fraction = |i: u64| {
            let above = self.file.number(entry.at + i * 8, 4)?;
            let below = self.file.number(entry.at + i * 8 + 4, 4)?;
            Ok(above as f32 / below.max(1) as f32)
        };
        (0..entry.count)
            .map(fraction)
            .collect::<Result<_, _>>()
            .map(Some)
    }
}
