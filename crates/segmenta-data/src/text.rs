//! Text files as people have them: UTF-8 with or without a byte order mark, or UTF-16 with one.
//!
//! Every text that a person gives (lists, JSON, XML, TOML) is read here, so that what an editor on Windows or
//! PowerShell wrote is read alike everywhere.

use std::path::Path;

use crate::DataError;

/// Reads a text file as [`decode`] does.
///
/// # Errors
/// A file that cannot be read, or is no text in UTF-8 or UTF-16.
pub fn read(path: &Path) -> Result<String, DataError> {
    let bytes = segmenta_files::read(path).map_err(|cause| DataError::read(path, &cause))?;
    decode(bytes).map_err(|what| DataError::at(what, path, "save it as UTF-8"))
}

/// Bytes as text: UTF-8, whose byte order mark is dropped, or UTF-16 that begins with one.
///
/// # Errors
/// What the bytes are instead: UTF-32, UTF-16 without a mark, or another encoding, with the line of its first byte
/// that is no UTF-8.
pub fn decode(bytes: Vec<u8>) -> Result<String, String> {
    match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Err("text in UTF-32".into()),
        [0xff, 0xfe, units @ ..] => utf_16(units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => utf_16(units, u16::from_be_bytes),
        // No text has a zero, but UTF-16 has one in every letter of ASCII.
        [0, _, ..] | [_, 0, ..] => Err("text in UTF-16 without a byte order mark".into()),
        _ => utf_8(bytes),
    }
}

fn utf_8(mut bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = bytes[..at].split(|&byte| byte == b'\n').count();
        format!("no text in UTF-8 (byte {:#04x} in line {line})", bytes[at])
    })
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("text in UTF-16 that ends in the middle of a letter".into());
    }
    char::decode_utf16(units.iter().map(|&pair| unit(pair)))
        .collect::<Result<String, _>>()
        .map_err(|_| "damaged text in UTF-16".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}"
            .encode_utf16()
            .chain(text.encode_utf16())
            .flat_map(unit)
            .collect()
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let text = "straße 🛣\r\n";
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            utf_16(text, u16::to_le_bytes),
            utf_16(text, u16::to_be_bytes),
        ] {
            assert_eq!(decode(bytes).unwrap(), text);
        }
        assert_eq!(decode(Vec::new()).unwrap(), "");
        assert_eq!(decode(b"\xef\xbb\xbf".to_vec()).unwrap(), "");
        assert_eq!(decode(b"x".to_vec()).unwrap(), "x");
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        for (bytes, said) in [
            (&b"a\nstra\xdfe"[..], "byte 0xdf in line 2"),
            (b"{\0}\0", "UTF-16 without"),
            (b"\0{\0}", "UTF-16 without"),
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
            (b"\xff\xfea", "the middle of a letter"),
            (b"\xff\xfe\x00\xd8", "damaged"),
        ] {
            let error = decode(bytes.to_vec()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
