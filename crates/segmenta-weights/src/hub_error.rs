//! What can go wrong on the way to a published file.

use segmenta_files::{count, reason, write_remedy};
use std::{io, path::PathBuf, time::Duration};

/// A file that could not be pulled.
///
/// Its `Display` is one line, `what · where · how to mend`.
#[derive(Debug, thiserror::Error)]
#[error("{fault} · {place} · {}", self.remedy())]
pub struct HubError {
    /// What went wrong.
    #[source]
    pub fault: HubFault,
    /// From where the file was to be downloaded.
    pub url: String,
    /// Where it was to be put.
    pub path: PathBuf,
    /// The URL or the path, whichever the fault lies at.
    place: String,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubFault {
    /// There is no folder to keep files in.
    #[error("there is no folder for downloaded weights")]
    NoHome,
    /// The file is not in the cache and the network is not to be used.
    #[error("the file is not in the cache and SEGMENTA_OFFLINE is set")]
    Offline,
    /// The server cannot be reached.
    #[error("the download failed: {0}")]
    Network(String),
    /// The server was reached, and then went silent or hung up.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The connection ended before the file did.
    #[error("the download was cut after {done} of {}", count(*.total, "byte"))]
    Cut {
        /// Bytes that came.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// The server refuses; the number is HTTP's.
    #[error("the server answers {0}")]
    Status(u16),
    /// The server asks to be left alone for a while.
    #[error("the server has had too many requests{}", waited(*.0))]
    Busy(Option<Duration>),
    /// The server's file is not as long as the published one.
    #[error("the server has a file of {}, but {expected} were published", count(*.found, "byte"))]
    WrongLength {
        /// The published length.
        expected: u64,
        /// The server's.
        found: u64,
    },
    /// The server's file is not the published one.
    #[error("the file's SHA-256 is wrong: {expected} expected, {found} found; nothing was kept")]
    WrongDigest {
        /// The published digest or its beginning.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// The disk is full.
    #[error("the disk is full{}", .needed.map_or_else(String::new, |n| format!(": it needs room for {} more", count(n, "byte"))))]
    DiskFull {
        /// Bytes that were still to come, where that is known.
        needed: Option<u64>,
    },
    /// Any other refusal of the disk.
    #[error("the cache cannot be written: {}", reason(.0))]
    Disk(io::Error),
}

impl HubFault {
    /// Puts a name to what the disk refused while `needed` bytes were to come.
    pub fn disk(error: io::Error, needed: Option<u64>) -> HubFault {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                HubFault::DiskFull { needed }
            }
            _ => HubFault::Disk(error),
        }
    }

    /// Whether the same request may well succeed in a moment.
    pub fn may_pass(&self) -> bool {
        if self.pause().is_some_and(|pause| pause > PATIENCE) {
            return false;
        }
        matches!(
            self,
            HubFault::Cut { .. }
                | HubFault::Lost(_)
                | HubFault::Busy(_)
                | HubFault::Status(408 | 416 | 500 | 502 | 503 | 504)
        )
    }
}

impl HubFault {
    /// For how long the server asks to be left alone.
    pub fn pause(&self) -> Option<Duration> {
        match self {
            HubFault::Busy(pause) => *pause,
            _ => None,
        }
    }
}

/// For how long a server that asks to be left alone is waited for; beyond, the user decides.
const PATIENCE: Duration = Duration::from_secs(20);

fn waited(pause: Option<Duration>) -> String {
    pause.map_or_else(String::new, |pause| {
        format!(" and asks to be left alone for {} s", pause.as_secs())
    })
}

impl HubError {
    pub(crate) fn new(fault: HubFault, url: String, path: PathBuf) -> HubError {
        let place = match fault {
            HubFault::DiskFull { .. } | HubFault::Disk(_) => path.display().to_string(),
            _ => url.clone(),
        };
        HubError {
            fault,
            url,
            path,
            place,
        }
    }

    pub(crate) fn no_home() -> HubError {
        HubError {
            fault: HubFault::NoHome,
            url: String::new(),
            path: PathBuf::new(),
            place: "neither SEGMENTA_HOME nor a home folder is set".into(),
        }
    }

    fn remedy(&self) -> String {
        let path = self.path.display();
        match &self.fault {
            HubFault::NoHome => "set SEGMENTA_HOME to a folder".into(),
            HubFault::Offline | HubFault::Network(_) | HubFault::Status(_) => {
                format!("try again later, or download it by other means and put it at {path}")
            }
            HubFault::Busy(_) => "try again later: what has come is kept and gone on with".into(),
            HubFault::Cut { .. } | HubFault::Lost(_) => {
                "try again: what has come is kept and gone on with".into()
            }
            HubFault::WrongLength { .. } | HubFault::WrongDigest { .. } => {
                "check the network (a proxy may answer in the server's place) and SEGMENTA_HUB, \
                 then try again"
                    .into()
            }
            HubFault::DiskFull { .. } => {
                "make room and try again (what has come is kept), or set SEGMENTA_HOME to a folder \
                 on another disk"
                    .into()
            }
            HubFault::Disk(refusal) => {
                format!(
                    "{}, or set SEGMENTA_HOME to another folder",
                    write_remedy(refusal)
                )
            }
        }
    }
}
