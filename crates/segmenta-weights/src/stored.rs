//! The bytes of a file, read where they lie when they are asked for.
//!
//! Positioned reads instead of a memory map: a map needs `unsafe`, and a file that another program cuts short
//! while it is mapped ends the process by a signal, where a read is an error that can be told.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes that stay where they are.
#[derive(Debug)]
pub(crate) enum Stored {
    /// An open file; one read at a time.
    File { file: Mutex<File>, length: u64 },
    /// Bytes in memory.
    Memory(Arc<[u8]>),
}

impl Stored {
    /// Opens the file at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Stored> {
        let file = File::open(path)?;
        let known = file.metadata()?;
        if known.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Stored::File {
            length: known.len(),
            file: Mutex::new(file),
        })
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Stored::File { length, .. } => *length,
            Stored::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes of `range`; an error of kind `UnexpectedEof` where it ends beyond them.
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self {
            Stored::Memory(bytes) => Ok(bytes[range.start as usize..range.end as usize].to_vec()),
            Stored::File { file, .. } => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(range.start))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// The first bytes, at most `length` of them.
    pub(crate) fn head(&self, length: u64) -> io::Result<Vec<u8>> {
        self.read(0..length.min(self.len()))
    }

    /// The last bytes, at most `length` of them.
    pub(crate) fn tail(&self, length: u64) -> io::Result<Vec<u8>> {
        self.read(self.len().saturating_sub(length)..self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_of_files_and_of_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, b"0123456789").unwrap();
        let memory = Stored::Memory(Arc::from(&b"0123456789"[..]));
        for stored in [Stored::open(&path).unwrap(), memory] {
            assert_eq!(stored.len(), 10);
            assert_eq!(stored.read(3..6).unwrap(), b"345");
            assert_eq!(stored.head(99).unwrap(), b"0123456789");
            assert_eq!(stored.tail(2).unwrap(), b"89");
            let beyond = stored.read(8..11).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
        }
        let folder = Stored::open(folder.path()).unwrap_err();
        assert_eq!(folder.kind(), io::ErrorKind::IsADirectory);
    }

    /// What a memory map answers with a signal that ends the process.
    #[test]
    fn a_file_that_is_cut_short_while_it_is_open_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        std::fs::write(&path, vec![7; 1 << 16]).unwrap();
        let stored = Stored::open(&path).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(9)
            .unwrap();
        let error = stored.read(1 << 10..1 << 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
