//! A file read as a slice of bytes, without copying it: what weights are read through.
//!
//! It lives in this crate because mapping is `unsafe` and this is the only crate that may use it.

#![allow(unsafe_code)]

use std::{fs::File, io, ops::Deref, path::Path};

use memmap2::Mmap;

/// The bytes of a file, mapped read-only; pages are read from disk as they are touched.
#[derive(Debug)]
pub struct MappedFile {
    /// `None` for an empty file, which some systems refuse to map.
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    ///
    /// What the system says when the file cannot be opened or mapped (a folder cannot).
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(MappedFile { map: None });
        }
        // SAFETY: the map is private to this value and only ever read. The bytes could change under
        // us only if another process wrote into the very same file; weight files are replaced by
        // renaming a new file over them (this is how Segmenta itself writes), which leaves the mapped
        // one as it was. Whatever the bytes are, every reader above treats them as untrusted.
        let map = unsafe { Mmap::map(&file)? };
        Ok(MappedFile { map: Some(map) })
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_files_bytes() {
        let path = std::env::temp_dir().join(format!("segmenta-mapped-{}", std::process::id()));
        for bytes in [&b"seven b"[..], b""] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(&*MappedFile::open(&path).unwrap(), bytes);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            MappedFile::open(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
