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
    /// A `pytorch_model.bin.index.json` with its pickles beside it.
    PytorchSharded,
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
            Format::PytorchSharded => "PyTorch in shards",
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
const FOREIGN: [(&[u8], &str); 12] = [
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x89HDF", "an HDF5 file (Keras keeps weights so)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GGUF", "a GGUF model"),
    (b"%PDF", "a PDF document"),
];

/// What a JSON text is that names no shards.
pub(crate) const JSON: &str = "a JSON text without a `weight_map`";

/// How a `.tflite` file goes on after its first four bytes.
const TFLITE: &[u8] = b"TFL3";

/// Fields of ONNX's `ModelProto` that may follow its first, the version of the format (3 to 15 by now):
/// `producer_name`, `producer_version`, `domain`, `graph`, `opset_import`.
const ONNX_FIELDS: [u8; 5] = [0x12, 0x1a, 0x22, 0x3a, 0x42];

/// PyTorch's magic number 0x1950a86a20f9469cfc6c, as a binary and as a text pickle write it.
const LEGACY_MAGIC: [&[u8]; 2] = [
    b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
    b"119547037146038801333356",
];

/// Tells the format of a file by its first bytes; of a JSON text all of it is needed.
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
    match bytes {
        [0x08, 3..=15, field, ..] if ONNX_FIELDS.contains(field) => {
            return Err(Fault::Foreign("an ONNX model"));
        }
        [0x08, 1, 0x12, ..] => return Err(Fault::Foreign("a TensorFlow model (saved_model.pb)")),
        [0x0a, ..] if contains(1 << 12, b"Placeholder") => {
            return Err(Fault::Foreign("a TensorFlow graph"));
        }
        _ if bytes.get(4..8) == Some(TFLITE) => {
            return Err(Fault::Foreign("a TensorFlow Lite model"));
        }
        _ => {}
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
        Some(b'<') if contains(1 << 10, b"<net ") => Err(Fault::Foreign("an OpenVINO network")),
        Some(b'<') => Err(Fault::WebPage),
        Some(b'{') if contains(bytes.len(), b"\"weight_map\"") => Ok(Format::SafetensorsSharded),
        Some(b'{') => Err(Fault::Foreign(JSON)),
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
        for (bytes, word) in [
            (&b"\x08\x07\x12\x07pytorch\x1a"[..], "ONNX"),
            (b"\x08\x0a:\xff\x01", "ONNX"),
            (b"\x08\x01\x12\xff\x01", "saved_model.pb"),
            (
                b"\x0a\x21\x0a\x05input\x12\x0bPlaceholder",
                "TensorFlow graph",
            ),
            (b"\x1c\0\0\0TFL3", "Lite"),
            (b"\x89HDF\r\n\x1a\n", "Keras"),
            (b"<?xml version=\"1.0\"?><net name=\"a\">", "OpenVINO"),
            (b"\x93NUMPY\x01\0", ".npy"),
        ] {
            let said = detect(bytes).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
        assert!(matches!(detect(b"int main{"), Err(Fault::UnknownFormat)));
        assert!(matches!(detect(b"hello"), Err(Fault::UnknownFormat)));
    }
}
