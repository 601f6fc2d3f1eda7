//! What can be wrong with a weight file, said so that it can be mended.

use segmenta_files::{count, reason, write_remedy};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A weight file that cannot be read or written.
///
/// Its `Display` is one line, `what · where · how to mend`.
#[derive(Debug)]
pub struct WeightsError {
    /// The file (or `<memory>` for bytes that are in none).
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a weight file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing lies at the path.
    #[error("no such file")]
    NotFound,
    /// The system denies access.
    #[error("access is denied")]
    Permission,
    /// The path is a folder.
    #[error("this is a folder, not a weight file")]
    Directory,
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// A web page was saved under the name of a weight file.
    #[error("this is a web page, not a weight file")]
    WebPage,
    /// The small text that git leaves in place of a large file.
    #[error("this is a git-lfs pointer, not the file it points to")]
    LfsPointer,
    /// Another known kind of file, named.
    #[error("this is {0}, not a weight file")]
    Foreign(&'static str),
    /// An archive around a weight file, whose name it is.
    #[error("this is a zip archive around `{0}`")]
    Packed(String),
    /// A program with its weights, as `torch.jit.save` writes it.
    #[error("this is a TorchScript program, not a state dict")]
    TorchScript,
    /// Tensors of a quantised network.
    #[error("the file holds a quantised network, whose numbers are integers with a scale")]
    Quantised,
    /// None of the formats that are read.
    #[error("the format is not known (neither safetensors nor PyTorch)")]
    UnknownFormat,
    /// The file ends before the data that it declares.
    #[error("the file is cut short: it has {found} of {}", count(*.expected, "byte"))]
    Truncated {
        /// The length that the file's own header calls for, in bytes.
        expected: u64,
        /// The length that it has, in bytes.
        found: u64,
    },
    /// A safetensors header beyond the format's limit of 100 MB.
    #[error("the safetensors header is said to be {0} bytes, above the limit of 100 MB")]
    HeaderTooLarge(u64),
    /// The file contradicts itself; the text says where.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// A whole file that holds what cannot be read here.
    #[error("the PyTorch file cannot be read: {0}")]
    Unreadable(String),
    /// A whole file without one tensor.
    #[error("the file holds no tensors")]
    NoTensors,
    /// A tensor that would take far more memory than the file can account for.
    #[error("tensor `{name}` claims {}, far more than the file holds", count(*.bytes, "byte"))]
    TooLarge {
        /// The tensor's name.
        name: String,
        /// What it would take in memory.
        bytes: u64,
    },
    /// A number type that cannot be turned into `f32`.
    #[error("tensor `{name}` has numbers of type {dtype}, which cannot be read")]
    NumberType {
        /// The tensor's name.
        name: String,
        /// Its number type.
        dtype: String,
    },
    /// No tensor has this name.
    #[error("there is no tensor `{0}`")]
    NoSuchTensor(String),
    /// A sharded index that cannot be followed.
    #[error("the index of shards is wrong: {0}")]
    Index(String),
    /// What was to be saved contradicts itself.
    #[error("cannot be saved: {0}")]
    Unsavable(String),
    /// The system refuses to write.
    #[error("cannot write the file: {}; it takes {}", reason(cause), count(*.needed, "byte"))]
    Write {
        /// What the system says.
        cause: io::Error,
        /// The length of the whole file that was being written, in bytes.
        needed: u64,
    },
    /// Any other refusal of the system.
    #[error("cannot read the file: {}", reason(.0))]
    Io(io::Error),
}

impl Fault {
    /// What to do about it.
    fn remedy(&self) -> &'static str {
        match self {
            Fault::NotFound => "check the path",
            Fault::Permission => "check who may read and write it, and its folder",
            Fault::Directory => {
                "give the .pth or .safetensors file (or .safetensors.index.json) inside it"
            }
            Fault::Empty | Fault::Truncated { .. } | Fault::Damaged(_) => {
                "download or copy it again and compare the size"
            }
            Fault::WebPage => "download the file itself, not the page that links to it",
            Fault::LfsPointer => "run `git lfs pull` where it was cloned, or download the file",
            Fault::Foreign(_) | Fault::UnknownFormat => {
                "give a .safetensors file, or a .pth file written by torch.save"
            }
            Fault::Unreadable(_) | Fault::NoTensors => {
                "in Python, write the weights alone: torch.save(model.state_dict(), \"weights.pth\")"
            }
            Fault::Packed(_) => "unpack it, and give the file inside",
            Fault::TorchScript => {
                "in Python, keep its weights: torch.save(torch.jit.load(FILE).state_dict(), \"weights.pth\")"
            }
            Fault::Quantised => "give the network's weights from before it was quantised",
            Fault::HeaderTooLarge(_) | Fault::TooLarge { .. } => {
                "the file is damaged or made to harm: get it from its source again"
            }
            Fault::NumberType { .. } => "in Python, convert it first: model.float()",
            Fault::NoSuchTensor(_) => "list the file's names with `segmenta weights FILE`",
            Fault::Index(_) => "put the index and all its shards side by side, as published",
            Fault::Unsavable(_) => "this is a mistake in the program that saves",
            Fault::Write { cause, .. } => write_remedy(cause),
            Fault::Io(_) => "check the disk and the path",
        }
    }

    /// Puts a name to what the system refused.
    pub(crate) fn from_io(error: io::Error) -> Fault {
        match error.kind() {
            io::ErrorKind::NotFound => Fault::NotFound,
            io::ErrorKind::PermissionDenied => Fault::Permission,
            io::ErrorKind::IsADirectory => Fault::Directory,
            _ => Fault::Io(error),
        }
    }

    /// Says which file it is about.
    pub(crate) fn at(self, path: &Path) -> WeightsError {
        WeightsError {
            path: path.to_path_buf(),
            fault: self,
        }
    }
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} · {} · {}",
            self.fault,
            self.path.display(),
            self.fault.remedy()
        )
    }
}

impl std::error::Error for WeightsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Io(error) | Fault::Write { cause: error, .. } => Some(error),
            _ => None,
        }
    }
}
