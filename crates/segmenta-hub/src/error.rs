//! What can go wrong between the name of a repository and its files.

use std::path::PathBuf;

use segmenta_files::write_remedy;
use segmenta_weights::HubFault;

use crate::name::RepositoryName;

/// A file of a repository that cannot be had.
///
/// Its `Display` is one line, `what · where · how to mend`.
#[derive(Debug, thiserror::Error)]
#[error("{} · {place} · {}", .fault, self.remedy())]
pub struct RepositoryError {
    /// What went wrong.
    #[source]
    pub fault: RepositoryFault,
    /// Which repository.
    pub repository: RepositoryName,
    /// From where the file was to be downloaded.
    pub url: String,
    /// Where it was to be put.
    pub path: PathBuf,
    /// A repository that may have been meant.
    pub nearest: Option<String>,
    /// The name, the URL or the path, whichever the fault lies at.
    pub(crate) place: String,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryFault {
    /// The file is not in the cache and the network is not to be used.
    #[error("`{file}` is not in the cache and {variable} is set")]
    Offline {
        /// The file.
        file: String,
        /// The variable that says so.
        variable: &'static str,
    },
    /// There is no such repository, or none that is shown to everybody.
    #[error("there is no such repository, or it is private")]
    NoRepository,
    /// The token is not one that the hub knows.
    #[error("the hub does not accept the token")]
    Token,
    /// Its owner asks for conditions to be accepted.
    #[error("the repository's owner asks who downloads it (it is gated)")]
    Gated {
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The token may not read it.
    #[error("the hub refuses access")]
    Forbidden,
    /// The repository has no such branch, tag or commit.
    #[error("the repository has no revision `{0}`")]
    NoRevision(String),
    /// The repository has no such file.
    #[error("the repository has no {0}")]
    NoFile(String),
    /// An answer that no hub gives.
    #[error("the server answers as no hub does: {0}")]
    NotAHub(String),
    /// Anything on the way.
    #[error(transparent)]
    Transfer(HubFault),
}

impl RepositoryError {
    fn remedy(&self) -> String {
        let (url, path) = (&self.url, self.path.display());
        let page = url.split("/resolve/").next().unwrap_or(url);
        match &self.fault {
            RepositoryFault::Offline { .. } => format!(
                "download {url} by other means and put it at {path}, or put the repository's files \
                 (config.json, preprocessor_config.json, model.safetensors) into a folder and name that"
            ),
            RepositoryFault::NoRepository => {
                let nearest = self.nearest.as_deref();
                let nearest = nearest.map(|name| format!(" (did you mean {name}?)"));
                format!(
                    "check the name{}; for a private one set HF_TOKEN",
                    nearest.unwrap_or_default()
                )
            }
            RepositoryFault::Token => {
                "set HF_TOKEN to a token that is valid (the hub's page: Settings, Access Tokens), or unset \
                 it"
                    .into()
            }
            RepositoryFault::Gated { with_token } => {
                let token = if *with_token {
                    "with the account whose token HF_TOKEN is"
                } else {
                    "and set HF_TOKEN to a token of the account that did"
                };
                format!("accept its conditions at {page}, {token}")
            }
            RepositoryFault::Forbidden => {
                "give HF_TOKEN a token that may read this repository".into()
            }
            RepositoryFault::NoRevision(_) => {
                format!("see the branches and commits at {page}/tree/main, or name none")
            }
            RepositoryFault::NoFile(_) => {
                format!("see its files at {page}/tree/main: it may be of another kind")
            }
            RepositoryFault::NotAHub(_) => {
                "check HF_ENDPOINT and the network (a proxy may answer in the hub's place)".into()
            }
            RepositoryFault::Transfer(fault) => match fault {
                HubFault::DiskFull { .. } => "make room and try again (what has come is kept), or set \
                     HF_HUB_CACHE to a folder on another disk"
                    .into(),
                HubFault::Disk(refusal) => {
                    format!(
                        "{}, or set HF_HUB_CACHE to another folder",
                        write_remedy(refusal)
                    )
                }
                HubFault::Cut { .. } | HubFault::Lost(_) | HubFault::Busy(_) => {
                    "try again later: what has come is kept and gone on with".into()
                }
                HubFault::WrongLength { .. } | HubFault::WrongDigest { .. } => {
                    "check the network (a proxy may answer in the hub's place) and HF_ENDPOINT, \
                     then try again"
                        .into()
                }
                _ => format!(
                    "check the network and HF_ENDPOINT and try again, or download it by other means and put it \
                     at {path}"
                ),
            },
        }
    }
}

/// A folder that holds no model that can be loaded.
///
/// Its `Display` is one line, `what · where · how to mend`.
#[derive(Debug, thiserror::Error)]
#[error("{what} · {} · {remedy}", .path.display())]
pub struct FolderError {
    /// What is wrong.
    pub what: String,
    /// The folder, or the file in it.
    pub path: PathBuf,
    /// How to mend it.
    pub remedy: String,
}

impl FolderError {
    pub(crate) fn new(
        what: impl Into<String>,
        path: impl Into<PathBuf>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            path: path.into(),
            remedy: remedy.into(),
        }
    }
}
