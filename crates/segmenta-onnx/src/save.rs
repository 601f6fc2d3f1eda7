//! The file, and the file of weights beside it.

use std::path::{Path, PathBuf};

use prost::Message;

use crate::proto::{Entry, ModelProto};

/// Protocol buffers hold 2 GB; from here on weights lie beside.
const INSIDE: usize = (1 << 31) - (1 << 24);
/// Weights from this many bytes on lie beside; smaller ones are what readers fold.
const BESIDE: usize = 1024;

/// A network as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Network(pub ModelProto);

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The system refused.
    #[error("cannot write it: {why} · {} · check the folder", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// A name that cannot stand in the file.
    #[error("weights beside need a name in Unicode · {} · give another name", .0.display())]
    Name(PathBuf),
}

impl Network {
    /// Writes `path`, whole or not at all; `beside`, or where there are more than 2 GB, the weights go to
    /// `NAME.data` in the same folder, which is written first. The name of that file, if there is one.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn save(mut self, path: &Path, beside: bool) -> Result<Option<PathBuf>, SaveError> {
        let mut data_path = None;
        if beside || self.0.encoded_len() > INSIDE {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| SaveError::Name(path.into()))?;
            let name = format!("{name}.data");
            let other = path.with_file_name(&name);
            let bytes = self.take_weights(&name);
            write(&other, &bytes)?;
            data_path = Some(other);
        }
        write(path, &self.0.encode_to_vec())?;
        Ok(data_path)
    }

    /// The weights' bytes; in their place stands where they are in the file of that name.
    fn take_weights(&mut self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let tensors = self.0.graph.iter_mut().flat_map(|g| &mut g.initializer);
        for tensor in tensors {
            let Some(data) = tensor.raw_data.take_if(|data| data.len() >= BESIDE) else {
                continue;
            };
            // Offsets that pages can be mapped at.
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            let entry = |key: &str, value: String| Entry {
                key: key.into(),
                value,
            };
            tensor.external_data = vec![
                entry("location", name.into()),
                entry("offset", bytes.len().to_string()),
                entry("length", data.len().to_string()),
            ];
            tensor.data_location = Some(1);
            bytes.extend(data);
        }
        bytes
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
    segmenta_files::write(path, |file| file.write_all(bytes)).map_err(|error| SaveError::Io {
        path: path.into(),
        why: segmenta_files::reason(&error),
    })
}
