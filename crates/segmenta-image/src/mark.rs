//! The mark in every PNG that is a result: by it a folder of photographs is told from what was written about them.
//!
//! A `tEXt` chunk `Software: Segmenta (KIND)` after the header. Names are no mark: `street.mask.png` may be a
//! photograph, and a result may be renamed or copied.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// The signature and the header, which every PNG begins with: 8 bytes, then length, type, 13 bytes and checksum.
const HEADER: usize = 8 + 4 + 4 + 13 + 4;
const KEYWORD: &[u8] = b"Software\0";
const PREFIX: &str = "Segmenta (";
/// Chunks looked at before the pixels; a file with more of them is somebody else's.
const MOST_CHUNKS: usize = 64;
/// No text of ours is longer.
const LONGEST: u32 = 80;

/// Marks a PNG as a result of Segmenta: `kind` says what it is in a word, as `mask` or `overlay`. Its pixels stay
/// as they are. Bytes that are no PNG come back as they went in.
#[must_use]
pub fn mark_result(png: &[u8], kind: &str) -> Vec<u8> {
    if png.len() < HEADER || !png.starts_with(SIGNATURE) {
        return png.to_vec();
    }
    let mut chunk = b"tEXt".to_vec();
    chunk.extend(KEYWORD);
    chunk.extend(format!("{PREFIX}{kind})").bytes());
    let length = (chunk.len() - 4) as u32;
    let mut marked = Vec::with_capacity(png.len() + chunk.len() + 8);
    marked.extend(&png[..HEADER]);
    marked.extend(length.to_be_bytes());
    marked.extend(&chunk);
    marked.extend(crc32fast::hash(&chunk).to_be_bytes());
    marked.extend(&png[HEADER..]);
    marked
}

/// The kind of result that a file says it is ([`mark_result`]); `None` for any other file, whatever it is called,
/// and for one that cannot be read. Reads its first bytes alone.
pub fn result_mark(path: impl AsRef<Path>) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let mut signature = [0; 8];
    file.read_exact(&mut signature).ok()?;
    if signature != *SIGNATURE {
        return None;
    }
    for _ in 0..MOST_CHUNKS {
        let (kind, length) = chunk(&mut file).ok()?;
        match &kind {
            b"tEXt" if length <= LONGEST => {
                let mut text = vec![0; length as usize];
                file.read_exact(&mut text).ok()?;
                let mark = text.strip_prefix(KEYWORD).map(String::from_utf8_lossy);
                if let Some(kind) = mark.and_then(|mark| {
                    let kind = mark.strip_prefix(PREFIX)?.strip_suffix(')')?;
                    Some(kind.to_owned())
                }) {
                    return Some(kind);
                }
                file.seek(SeekFrom::Current(4)).ok()?;
            }
            b"IDAT" | b"IEND" => return None,
            _ => {
                file.seek(SeekFrom::Current(i64::from(length) + 4)).ok()?;
            }
        }
    }
    None
}

/// The type of the next chunk and the length of its data.
fn chunk(file: &mut File) -> io::Result<([u8; 4], u32)> {
    let mut head = [0; 8];
    file.read_exact(&mut head)?;
    let [a, b, c, d, kind @ ..] = head;
    Ok((kind, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{LabelMap, Palette, Picture};

    #[test]
    fn a_mark_is_found_again_and_changes_no_pixel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let picture = Picture::filled(7, 5, [1, 2, 3]);
        fs::write(&path, picture.to_png()).unwrap();
        assert_eq!(result_mark(&path), None);
        fs::write(&path, mark_result(&picture.to_png(), "overlay")).unwrap();
        assert_eq!(result_mark(&path).as_deref(), Some("overlay"));
        assert_eq!(Picture::open(&path).unwrap(), picture);
        // Whatever it is called.
        let other = folder.path().join("holiday.jpg");
        fs::rename(&path, &other).unwrap();
        assert_eq!(result_mark(&other).as_deref(), Some("overlay"));
    }

    #[test]
    fn label_maps_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let map = LabelMap::new(2, 1, vec![1, 255]).unwrap();
        map.save(&path, &Palette::voc()).unwrap();
        assert_eq!(result_mark(&path).as_deref(), Some("mask"));
        assert_eq!(LabelMap::open(&path).unwrap(), map);
    }

    #[test]
    fn what_is_no_png_has_no_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let whole = mark_result(&Picture::filled(3, 3, [9; 3]).to_png(), "mask");
        for cut in [0, 7, 8, 20, HEADER, HEADER + 9] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(result_mark(&path), None, "{cut} bytes");
        }
        // A length that lies leads past the end.
        let mut lies = whole[..8].to_vec();
        lies.extend([0xff, 0xff, 0xff, 0xff, b'a', b'b', b'c', b'd']);
        fs::write(&path, lies).unwrap();
        assert_eq!(result_mark(&path), None);
        assert_eq!(result_mark(folder.path().join("none.png")), None);
        assert_eq!(mark_result(b"GIF89a", "mask"), b"GIF89a");
    }
}
