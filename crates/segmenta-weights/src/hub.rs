//! The cache of published weights: each file is downloaded once, checked, and kept.

use std::{
    env,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    path::{Path, PathBuf},
};

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use sha2::{Digest, Sha256};

use crate::{
    download::{Download, agent},
    hub_error::{HubError, HubFault},
    published::Published,
};

/// What a [`Hub::pull`] is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process or thread is downloading the same file; its end is awaited.
    Waiting,
    /// An earlier download was cut; it goes on after this many bytes.
    Resuming {
        /// Bytes that are there already.
        from: u64,
    },
    /// Bytes are coming in.
    Downloading {
        /// Bytes that are there, resumed ones included.
        done: u64,
        /// Bytes of the whole file, where the server says so.
        total: Option<u64>,
    },
    /// Everything is there and its SHA-256 is being computed.
    Verifying,
}

/// A folder of downloaded weights, and the way to fill it.
#[derive(Debug, Clone)]
pub struct Hub {
    folder: PathBuf,
    mirror: Option<String>,
    offline: bool,
}

impl Hub {
    /// A hub that keeps its files in `folder`, which need not exist yet.
    pub fn at(folder: impl Into<PathBuf>) -> Hub {
        Hub {
            folder: folder.into(),
            mirror: None,
            offline: false,
        }
    }

    /// Takes every file from `base/FILE` in place of where it was published.
    #[must_use]
    pub fn with_mirror(self, base: impl Into<String>) -> Hub {
        Hub {
            mirror: Some(base.into()),
            ..self
        }
    }

    /// Never touches the network when `offline`.
    #[must_use]
    pub fn offline(self, offline: bool) -> Hub {
        Hub { offline, ..self }
    }

    /// The hub that the environment asks for: files in `SEGMENTA_HOME`, or in `segmenta` in the
    /// system's folder for caches; from the mirror `SEGMENTA_HUB`, if set; without the network
    /// if `SEGMENTA_OFFLINE` is set to other than `0`.
    ///
    /// # Errors
    ///
    /// When neither `SEGMENTA_HOME` nor a home folder is set.
    pub fn from_env() -> Result<Hub, HubError> {
        Hub::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(get: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Hub, HubError> {
        let cache = || choose_native_strategy().map(|folders| folders.cache_dir().join("segmenta"));
        let folder = get("SEGMENTA_HOME").map_or_else(cache, |folder| Ok(folder.into()));
        let folder = folder.map_err(|_| HubError::no_home())?;
        let mirror = get("SEGMENTA_HUB").map(|base| base.to_string_lossy().into_owned());
        let offline = get("SEGMENTA_OFFLINE").is_some_and(|value| value != "0");
        Ok(Hub {
            folder,
            mirror,
            offline,
        })
    }

    /// Where the file is kept, whether it is there or not.
    pub fn path_for(&self, published: &Published) -> PathBuf {
        self.folder.join(published.file)
    }

    /// The file, when it is there and complete. It was verified when it was downloaded.
    pub fn cached(&self, published: &Published) -> Option<PathBuf> {
        let path = self.path_for(published);
        let found = fs::metadata(&path)
            .ok()
            .filter(fs::Metadata::is_file)?
            .len();
        published
            .bytes
            .is_none_or(|bytes| bytes == found)
            .then_some(path)
    }

    /// The URL that a file is downloaded from.
    pub fn url_for(&self, published: &Published) -> String {
        match &self.mirror {
            Some(base) => format!("{}/{}", base.trim_end_matches('/'), published.file),
            None => published.url.to_string(),
        }
    }

    /// Gives the file's path, after downloading it if it is not there.
    ///
    /// A download goes to `FILE.part`, which survives a cut and is gone on with the next time; only
    /// when its SHA-256 is right does it become `FILE`. Of several pulls at once, in any processes,
    /// one downloads and the others wait for it.
    ///
    /// # Errors
    ///
    /// No network, a server's refusal, a full disk, another content than was published.
    pub fn pull(
        &self,
        published: &Published,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, HubError> {
        if let Some(path) = self.cached(published) {
            return Ok(path);
        }
        let fail = |fault| HubError::new(fault, self.url_for(published), self.path_for(published));
        if self.offline {
            return Err(fail(HubFault::Offline));
        }
        fs::create_dir_all(&self.folder).map_err(|error| fail(HubFault::disk(error, None)))?;
        let lock = self.folder.join(format!("{}.lock", published.file));
        let _lock = lock_file(&lock, progress).map_err(fail)?;
        // Whoever held the lock before may have brought the file.
        match self.cached(published) {
            Some(path) => Ok(path),
            None => self.download(published, progress).map_err(fail),
        }
    }

    /// Downloads, verifies and names the file.
    fn download(
        &self,
        published: &Published,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, HubFault> {
        let path = self.path_for(published);
        let part = self.folder.join(format!("{}.part", published.file));
        let url = self.url_for(published);
        let download = Download {
            agent: agent(),
            url: &url,
            authorization: None,
            part: &part,
            bytes: published.bytes,
        };
        let disk = |error| HubFault::disk(error, None);
        let check = |part: &Path| {
            let found = digest(part).map_err(disk)?;
            if published.is_digest(&found) {
                return Ok(());
            }
            Err(HubFault::WrongDigest {
                expected: published.sha256.into(),
                found,
            })
        };
        download.complete(&check, progress)?;
        segmenta_files::rename(&part, &path).map_err(disk)?;
        Ok(path)
    }
}

/// Holds a file's lock until dropped. The lock file stays: to remove it would let two in.
///
/// # Errors
///
/// If the lock file cannot be made.
pub fn lock_file(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<File, HubFault> {
    let mut lock = || {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                progress(Progress::Waiting);
                file.lock()?;
            }
            // A network folder without locks: two pulls would only be wasteful, as what both
            // of them wrote into would not have the right digest.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            other => other?,
        }
        Ok(file)
    };
    lock().map_err(|error: io::Error| HubFault::disk(error, None))
}

/// A file's SHA-256, in lowercase hexadecimal; the file is on the disk for good afterwards.
///
/// # Errors
///
/// If it cannot be read or kept.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    file.sync_all()?;
    Ok(hasher
        .finalize()
        .iter()
        .fold(String::new(), |digits, byte| format!("{digits}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Published = Published {
        file: "net-01234567.pth",
        url: "https://models.example/a/net-01234567.pth",
        bytes: Some(3),
        sha256: "01234567",
    };

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let get = |name: &str| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.into())
        };
        Hub::from_variables(get).unwrap()
    }

    #[test]
    fn the_environment_says_where_from_and_where_to() {
        let hub = hub(&[
            ("SEGMENTA_HOME", "weights"),
            ("SEGMENTA_HUB", "http://127.0.0.1:8000/models/"),
        ]);
        assert_eq!(hub.path_for(&FILE), Path::new("weights/net-01234567.pth"));
        assert_eq!(
            hub.url_for(&FILE),
            "http://127.0.0.1:8000/models/net-01234567.pth"
        );
        assert_eq!(Hub::at("x").url_for(&FILE), FILE.url);
    }

    #[test]
    fn offline_names_the_file_its_source_and_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let hub = hub(&[("SEGMENTA_HOME", home), ("SEGMENTA_OFFLINE", "1")]);
        let error = hub.pull(&FILE, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains(FILE.url) && error.contains(home), "{error}");
        // A file of the right length is taken without a question; one of another length is not.
        fs::write(hub.path_for(&FILE), b"ab").unwrap();
        assert!(hub.pull(&FILE, &mut |_| {}).is_err());
        fs::write(hub.path_for(&FILE), b"abc").unwrap();
        assert_eq!(hub.pull(&FILE, &mut |_| {}).unwrap(), hub.path_for(&FILE));
    }

    #[test]
    fn a_digest_of_a_known_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let found = digest(&path).unwrap();
        assert_eq!(
            found,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let with = |sha256| Published { sha256, ..FILE }.is_digest(&found);
        assert!(
            with("BA7816BF")
                && with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert!(!with("") && !with("ba7816") && !with("ba7816be"));
    }
}
