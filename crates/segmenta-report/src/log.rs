//! What a run says, kept: plain lines with times.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use crate::{ReportError, RunFolder};

/// `log.txt`: each line has its local time, as `2026-11-21 18:25:51+01:00  text`. A resumed run goes on after what
/// was said before, for that did happen.
#[derive(Debug)]
pub struct RunLog {
    file: File,
    path: PathBuf,
}

impl RunLog {
    /// Opens the log of a run to write at its end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(folder: &RunFolder) -> Result<Self, ReportError> {
        let path = folder.log();
        let open = || {
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create(true).open(&path)?;
            let length = file.metadata()?.len();
            // A killed run may leave a line without its end.
            let mut last = [b'\n'];
            if length > 0 {
                file.seek(SeekFrom::Start(length - 1))?;
                file.read_exact(&mut last)?;
            }
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
            Ok(file)
        };
        let file = open().map_err(ReportError::write(&path))?;
        Ok(Self { file, path })
    }

    /// Writes a line. Further lines of a text are set in below the first; control characters are escaped.
    ///
    /// # Errors
    /// The file cannot be written, such as for a full disk.
    pub fn line(&mut self, text: &str) -> Result<(), ReportError> {
        let time = jiff::Zoned::now()
            .strftime("%Y-%m-%d %H:%M:%S%:z")
            .to_string();
        let lines: Vec<String> = text.lines().map(plain).collect();
        let entry = format!("{time}  {}\n", lines.join("\n  "));
        // One write for the whole line, so that a kill leaves it out or leaves it whole.
        self.file
            .write_all(entry.as_bytes())
            .map_err(ReportError::write(&self.path))
    }
}

fn plain(line: &str) -> String {
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.to_string()
        }
    };
    line.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Existing;

    #[test]
    fn a_torn_line_is_ended_and_escapes_are_shown() {
        let home = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(home.path().join("a"), "", Existing::Refuse).unwrap();
        std::fs::write(folder.log(), "half a li").unwrap();
        let mut log = RunLog::open(&folder).unwrap();
        log.line("epoch 1\n\u{1b}[31mred").unwrap();
        let text = std::fs::read_to_string(folder.log()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[2]), ("half a li", "  \\u{1b}[31mred"));
        let (time, said) = lines[1].split_once("  ").unwrap();
        assert_eq!(said, "epoch 1");
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}
