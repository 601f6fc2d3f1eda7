//! TensorBoard's event files: scalars and pictures over steps.
//!
//! The format is TensorFlow's: records (`record.rs`) of protocol buffers (`proto.rs`) in files named
//! `events.out.tfevents.*`, which `tensorboard --logdir runs` finds by themselves.

mod proto;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use segmenta_image::Picture;

use crate::ReportError;
use proto::{Event, Image, SessionLog, Summary, Value};

const PREFIX: &str = "events.out.tfevents.";
/// The version of the format, which must be the first record's.
const FILE_VERSION: &str = "brain.Event:2";

/// Writes events at the end of a file. A record is there whole or not at all, and what was written stays readable
/// while the run goes on.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    /// Bytes of whole records.
    length: u64,
}

/// An event as a file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// The step that it belongs to.
    pub step: u64,
    /// Its name, such as `loss/train`; what stands before the first `/` groups charts.
    pub tag: String,
    /// What is logged.
    pub value: LoggedValue,
}

/// What an event holds.
#[derive(Debug, Clone, PartialEq)]
pub enum LoggedValue {
    /// A number.
    Scalar(f32),
    /// The bytes of a PNG file.
    Picture(Vec<u8>),
}

impl EventWriter {
    /// Starts a new file in `folder`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(next_name(folder)?);
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(ReportError::write(&path))?;
        let mut writer = Self {
            file,
            path,
            length: 0,
        };
        writer.write(&Event {
            file_version: Some(FILE_VERSION.into()),
            ..writer_event(0)
        })?;
        Ok(writer)
    }

    /// Goes on after `step`: events that come later in the folder's files are cut off, so that none is there twice,
    /// and a new file tells a TensorBoard that has read them to forget them.
    ///
    /// # Errors
    /// The folder or a file cannot be read or written.
    pub fn resume(folder: &Path, step: u64) -> Result<Self, ReportError> {
        for path in files(folder)? {
            truncate_after(&path, step)?;
        }
        let mut writer = Self::create(folder)?;
        let session_log = Some(SessionLog {
            status: SessionLog::START,
        });
        writer.write(&Event {
            session_log,
            ..writer_event(step + 1)
        })?;
        Ok(writer)
    }

    /// A number at a step.
    ///
    /// # Errors
    /// The file cannot be written; the record is not there then.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f64) -> Result<(), ReportError> {
        let value = Value {
            tag: tag.into(),
            simple_value: Some(value as f32),
            image: None,
        };
        self.value(step, value)
    }

    /// A picture at a step.
    ///
    /// # Errors
    /// As [`EventWriter::scalar`].
    pub fn picture(&mut self, step: u64, tag: &str, picture: &Picture) -> Result<(), ReportError> {
        let image = Image {
            height: picture.height() as i32,
            width: picture.width() as i32,
            colorspace: Image::RGB,
            png: picture.to_png(),
        };
        let value = Value {
            tag: tag.into(),
            simple_value: None,
            image: Some(image),
        };
        self.value(step, value)
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// The system cannot.
    pub fn sync(&mut self) -> Result<(), ReportError> {
        self.file
            .sync_data()
            .map_err(ReportError::write(&self.path))
    }

    fn value(&mut self, step: u64, value: Value) -> Result<(), ReportError> {
        let summary = Some(Summary { value: vec![value] });
        self.write(&Event {
            summary,
            ..writer_event(step)
        })
    }

    fn write(&mut self, event: &Event) -> Result<(), ReportError> {
        let record = record::framed(&event.encode_to_vec());
        if let Err(cause) = self.file.write_all(&record) {
            // A full disk takes a part; the next record must not follow a torn one.
            let _ = self.file.set_len(self.length);
            return Err(ReportError::write(&self.path)(cause));
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

/// Reads a file's events. A torn record at the end, which a kill leaves, is passed over.
///
/// # Errors
/// The file cannot be read, or is damaged before its end.
pub fn read(path: &Path) -> Result<Vec<LoggedEvent>, ReportError> {
    let bytes = fs::read(path).map_err(ReportError::read(path))?;
    let mut logged = Vec::new();
    for event in decoded(path, &bytes)? {
        let (_, event) = event?;
        for value in event
            .summary
            .map(|summary| summary.value)
            .unwrap_or_default()
        {
            let what = match (value.simple_value, value.image) {
                (Some(number), _) => LoggedValue::Scalar(number),
                (None, Some(image)) => LoggedValue::Picture(image.png),
                (None, None) => continue,
            };
            logged.push(LoggedEvent {
                step: event.step as u64,
                tag: value.tag,
                value: what,
            });
        }
    }
    Ok(logged)
}

/// A folder's event files, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let entries = fs::read_dir(folder).map_err(ReportError::read(folder))?;
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(ReportError::read(folder))?;
    paths.retain(|path| file_name(path).starts_with(PREFIX));
    paths.sort();
    Ok(paths)
}

/// Cuts a file off before its first event after `step`. Events stand in the order of their steps.
fn truncate_after(path: &Path, step: u64) -> Result<(), ReportError> {
    let bytes = fs::read(path).map_err(ReportError::read(path))?;
    let mut keep = 0;
    for event in decoded(path, &bytes)? {
        let (end, event) = event?;
        // The start of a session forgets what TensorBoard has read from its step on; that is gone anyway.
        if event.step > step as i64 && event.session_log.is_none() {
            break;
        }
        keep = end;
    }
    if keep < bytes.len() {
        let cut = || {
            OpenOptions::new()
                .write(true)
                .open(path)?
                .set_len(keep as u64)
        };
        cut().map_err(ReportError::write(path))?;
    }
    Ok(())
}

/// A file's events, each with the place where it ends.
fn decoded<'a>(
    path: &'a Path,
    bytes: &'a [u8],
) -> Result<impl Iterator<Item = Result<(usize, Event), ReportError>> + 'a, ReportError> {
    let records = record::unframed(bytes).map_err(|problem| ReportError::damaged(path, problem))?;
    Ok(records.into_iter().map(move |(end, data)| {
        let event = Event::decode(data);
        let event = event.map_err(|error| {
            ReportError::damaged(path, format!("no event before byte {end}: {error}"))
        })?;
        Ok((end, event))
    }))
}

fn writer_event(step: u64) -> Event {
    let wall_time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Event {
        wall_time: wall_time.as_secs_f64(),
        step: step as i64,
        ..Event::default()
    }
}

/// A name that sorts after those of the files that there are: TensorBoard reads them in this order.
fn next_name(folder: &Path) -> Result<String, ReportError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let last = files(folder)?.into_iter().filter_map(|path| {
        let name = file_name(&path);
        name.strip_prefix(PREFIX)?
            .split('.')
            .next()?
            .parse::<u64>()
            .ok()
    });
    let seconds = last
        .max()
        .map_or(now, |last| now.max(last.saturating_add(1)));
    Ok(format!("{PREFIX}{seconds:010}.segmenta"))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(folder: &Path) -> Vec<u64> {
        let events = files(folder)
            .unwrap()
            .into_iter()
            .flat_map(|path| read(&path).unwrap());
        events.map(|event| event.step).collect()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::filled(3, 2, [10, 200, 30]);
        let mut writer = EventWriter::create(folder.path()).unwrap();
        writer.scalar(1, "loss/train", 0.25).unwrap();
        writer.scalar(2, "loss/train", f64::NAN).unwrap();
        writer.picture(2, "preview", &picture).unwrap();
        let events = read(&files(folder.path()).unwrap()[0]).unwrap();
        assert_eq!(events[0].value, LoggedValue::Scalar(0.25));
        assert!(matches!(events[1].value, LoggedValue::Scalar(number) if number.is_nan()));
        let LoggedValue::Picture(png) = &events[2].value else {
            panic!("no picture")
        };
        assert_eq!((events[2].step, events[2].tag.as_str()), (2, "preview"));
        assert_eq!(Picture::decode(png).unwrap(), picture);
    }

    #[test]
    fn resuming_twice_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        (1..=10).for_each(|step| writer.scalar(step, "loss", 1.0).unwrap());
        let mut writer = EventWriter::resume(folder.path(), 5).unwrap();
        assert_eq!(steps(folder.path()), [1, 2, 3, 4, 5]);
        (6..=8).for_each(|step| writer.scalar(step, "loss", 1.0).unwrap());
        let mut writer = EventWriter::resume(folder.path(), 3).unwrap();
        (4..=5).for_each(|step| writer.scalar(step, "loss", 1.0).unwrap());
        assert_eq!(steps(folder.path()), [1, 2, 3, 4, 5]);
        assert_eq!(files(folder.path()).unwrap().len(), 3);
    }

    #[test]
    fn a_file_that_a_kill_has_torn_is_read_and_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        (1..=3).for_each(|step| writer.scalar(step, "loss", 1.0).unwrap());
        let path = writer.path.clone();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let left = read(&path).unwrap().len();
            assert!(left < 3, "{left} of 3 events in {cut} bytes");
            truncate_after(&path, 9).unwrap();
            assert_eq!(read(&path).unwrap().len(), left);
        }
        let mut damaged = whole.clone();
        damaged[20] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(matches!(read(&path), Err(ReportError::Damaged { .. })));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = EventWriter::create(Path::new("/dev/null/runs"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/dev/null/runs"), "{error}");
    }
}
