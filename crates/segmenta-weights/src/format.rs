//! Which format a file has, by its first bytes: names and extensions lie too often.

use std::fmt;

use crate::error::Fault;

/// Where a state dict comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One `.safetensors` file.
    Safetensors,
    /// A `.safetensors.index.json` with its shards beside it.
    SafetensorsSharded,
    /// `torch.save` since PyTorch 1.6.
    PytorchZip,
    /// `torch.save` from PyTorch 0.1.10 to 1.5.
    PytorchLegacy,
    /// `torch.save` before PyTorch 0.1.10.
    PytorchTar,
    /// A pickle without PyTorch's frame; it cannot hold tensors.
    PytorchPickle,
    /// No file.
    Memory,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Safetensors => "safetensors",
            Format::SafetensorsSharded => "safetensors in shards",
            Format::PytorchZip => "PyTorch (zip)",
            Format::PytorchLegacy => "PyTorch (legacy, before 1.6)",
            Format::PytorchTar => "PyTorch (tar, before 0.1.10)",
            Format::PytorchPickle => "pickle",
            Format::Memory => "memory",
        })
    }
}

/// The longest header that the safetensors format allows, in bytes.
pub(crate) const MAX_HEADER: u64 = 100_000_000;

/// Files that are often taken for weights, and how they begin.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 (Keras) file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GGUF", "a GGUF model"),
    (b"%PDF", "a PDF document"),
];

/// PyTorch's magic number 0x1950a86a20f9469cfc6c, as a binary and as a text pickle write it.
const LEGACY_MAGIC: [&[u8]; 2] = [
    b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
    b"119547037146038801333356",
];

/// Tells the format of a file's bytes.
///
/// # Errors
///
/// [`Fault`] for what is known not to be weights, and for what is not known at all.
pub(crate) fn detect(bytes: &[u8]) -> Result<Format, Fault> {
    let contains = |range: usize, part: &[u8]| {
        bytes[..bytes.len().min(range)]
            .windows(part.len())
            .any(|window| window == part)
    };
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(Fault::LfsPointer);
    }
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Fault::Foreign(what));
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(Format::PytorchZip);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Ok(Format::PytorchTar);
    }
    if LEGACY_MAGIC.iter().any(|magic| contains(64, magic)) {
        return Ok(Format::PytorchLegacy);
    }
    let header = bytes
        .first_chunk()
        .map_or(0, |length| u64::from_le_bytes(*length));
    let before_json = bytes.get(8) == Some(&b'{');
    if before_json && header <= MAX_HEADER {
        return Ok(Format::Safetensors);
    }
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    match text.first() {
        Some(b'<') => Err(Fault::WebPage),
        Some(b'{') if contains(bytes.len(), b"\"weight_map\"") => Ok(Format::SafetensorsSharded),
        Some(b'{') => Err(Fault::Foreign("a JSON text without a `weight_map`")),
        Some(0x80 | b'(' | b'}' | b']' | b'c') => Ok(Format::PytorchPickle),
        // Eight letters before a brace are a text; anything else there is a length.
        _ if before_json && bytes[..8].iter().any(u8::is_ascii_control) => {
            Err(Fault::HeaderTooLarge(header))
        }
        _ => Err(Fault::UnknownFormat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_formats_by_content() {
        let detected = |bytes: &[u8]| detect(bytes).map_err(|fault| fault.to_string());
        assert_eq!(detected(b"\x02\0\0\0\0\0\0\0{}"), Ok(Format::Safetensors));
        assert_eq!(
            detected(b" {\"weight_map\": {}}"),
            Ok(Format::SafetensorsSharded)
        );
        assert_eq!(detected(b"PK\x03\x04..."), Ok(Format::PytorchZip));
        assert_eq!(detected(b"\x80\x02}."), Ok(Format::PytorchPickle));
        let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
        assert_eq!(detected(legacy), Ok(Format::PytorchLegacy));
    }

    #[test]
    fn names_common_accidents() {
        assert!(matches!(detect(b""), Err(Fault::Empty)));
        assert!(matches!(
            detect(b"\n <!DOCTYPE html><html>"),
            Err(Fault::WebPage)
        ));
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12";
        assert!(matches!(detect(pointer), Err(Fault::LfsPointer)));
        assert!(matches!(
            detect(b"\x1f\x8b\x08"),
            Err(Fault::Foreign("a gzip archive"))
        ));
        assert!(matches!(
            detect(b"{\"error\": \"404\"}"),
            Err(Fault::Foreign(_))
        ));
        assert!(matches!(
            detect(b"\0\0\0\x80\0\0\0\0{"),
            Err(Fault::HeaderTooLarge(_))
        ));
        assert!(matches!(detect(b"int main{"), Err(Fault::UnknownFormat)));
        assert!(matches!(detect(b"hello"), Err(Fault::UnknownFormat)));
    }
}
