//! Files of repositories: from the cache that Python's library shares, or from the hub into it.
//!
//! The cache has a folder a repository, `models--OWNER--NAME`: `blobs` holds each file once, under what the hub's ETag
//! calls it; `snapshots/COMMIT` has a link to it under its name; `refs` says which commit a branch is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use segmenta_weights::{
    Download, HubFault, Progress, agent, digest, lock_file, network, retry_after,
};
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use crate::environment::Environment;
use crate::error::{RepositoryError, RepositoryFault};
use crate::name::{RepositoryName, is_commit};

/// Redirects within the hub: a repository that was renamed.
const MOST_REDIRECTS: usize = 5;
/// Pauses before a question is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];

/// What fetches files of repositories.
#[derive(Debug)]
pub struct Client {
    environment: Environment,
    agent: Agent,
}

/// A file of a repository, in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Where it is, under its own name.
    pub path: PathBuf,
    /// The commit that it is of.
    pub commit: String,
    /// Why the hub was not asked whether there is a newer one.
    pub unasked: Option<String>,
}

/// What the hub says of a file.
struct Metadata {
    commit: String,
    etag: String,
    bytes: Option<u64>,
    /// Where the hub has it: after redirects within the hub, before those to where the content lies.
    url: String,
}

impl Client {
    /// A client that keeps files and asks as `environment` says.
    pub fn new(environment: Environment) -> Self {
        Self {
            environment,
            agent: agent(),
        }
    }

    /// What it goes by.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A file of a repository, downloaded if it is not in the cache; `None` if the repository has none of that name.
    /// If the hub cannot be reached, what the cache has is taken.
    ///
    /// A download goes to `blobs/ETAG.incomplete`, which survives a cut and is gone on with the next time; what the
    /// hub keeps as a large file has its SHA-256 checked before it becomes `blobs/ETAG`.
    ///
    /// # Errors
    /// No network and nothing in the cache, a refusal of the hub, a full disk, another content than the hub says.
    pub fn file(
        &self,
        repository: &RepositoryName,
        file: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Cached>, Box<RepositoryError>> {
        let known = self.known(repository, file);
        if let Some((path, commit)) = &known
            && (repository.is_commit() || self.environment.offline.is_some())
        {
            return Ok(Some(Cached {
                path: path.clone(),
                commit: commit.clone(),
                unasked: None,
            }));
        }
        if self.is_known_to_lack(repository, file) {
            return Ok(None);
        }
        let fail = |fault| self.failed(repository, file, fault);
        if let Some(variable) = self.environment.offline {
            let file = file.into();
            return Err(fail(RepositoryFault::Offline { file, variable }));
        }
        let metadata = match (self.ask(repository, file), known) {
            (Ok(metadata), _) => metadata,
            (Err(RepositoryFault::Transfer(fault)), Some((path, commit))) => {
                let unasked = Some(fault.to_string());
                return Ok(Some(Cached {
                    path,
                    commit,
                    unasked,
                }));
            }
            (Err(RepositoryFault::NoFile(_)), _) => {
                self.note_lack(repository, file);
                return Ok(None);
            }
            (Err(fault), _) => return Err(fail(fault)),
        };
        let path = self.fetch(repository, file, &metadata, progress);
        let path = path.map_err(|fault| fail(RepositoryFault::Transfer(fault)))?;
        Ok(Some(Cached {
            path,
            commit: metadata.commit,
            unasked: None,
        }))
    }

    /// The file in the cache, if it is there; the hub is not asked.
    pub fn cached(&self, repository: &RepositoryName, file: &str) -> Option<PathBuf> {
        Some(self.known(repository, file)?.0)
    }

    /// The error of a file that a repository must have.
    pub(crate) fn failed(
        &self,
        repository: &RepositoryName,
        file: &str,
        fault: RepositoryFault,
    ) -> Box<RepositoryError> {
        let commit = self.commit(repository);
        let commit = commit.as_deref().unwrap_or(repository.revision());
        let path = self.snapshot(repository, commit).join(file);
        let url = self.url(repository, file);
        let place = match &fault {
            RepositoryFault::Transfer(HubFault::DiskFull { .. } | HubFault::Disk(_)) => {
                self.folder(repository).display().to_string()
            }
            RepositoryFault::Transfer(_) | RepositoryFault::NotAHub(_) => url.clone(),
            _ => repository.to_string(),
        };
        Box::new(RepositoryError {
            fault,
            repository: repository.clone(),
            url,
            path,
            nearest: crate::catalogue::nearest(repository.id()),
            place,
        })
    }

    fn folder(&self, repository: &RepositoryName) -> PathBuf {
        self.environment.cache.join(repository.folder())
    }

    pub(crate) fn snapshot(&self, repository: &RepositoryName, commit: &str) -> PathBuf {
        self.folder(repository).join("snapshots").join(commit)
    }

    /// The commit of the revision, as far as the cache knows.
    fn commit(&self, repository: &RepositoryName) -> Option<String> {
        if repository.is_commit() {
            return Some(repository.revision().into());
        }
        let reference = self
            .folder(repository)
            .join("refs")
            .join(repository.revision());
        let commit = fs::read_to_string(reference).ok()?;
        let commit = commit.trim();
        is_commit(commit).then(|| commit.into())
    }

    /// The file in the cache, and its commit.
    fn known(&self, repository: &RepositoryName, file: &str) -> Option<(PathBuf, String)> {
        let commit = self.commit(repository)?;
        let path = self.snapshot(repository, &commit).join(file);
        path.is_file().then_some((path, commit))
    }

    /// Where the cache notes that a commit has no such file.
    fn lack(&self, repository: &RepositoryName, file: &str) -> Option<PathBuf> {
        let commit = self.commit(repository)?;
        let folder = self.folder(repository).join(".no_exist").join(commit);
        Some(folder.join(file))
    }

    /// A commit never gets a file that it does not have.
    fn is_known_to_lack(&self, repository: &RepositoryName, file: &str) -> bool {
        let settled = repository.is_commit() || self.environment.offline.is_some();
        settled && self.lack(repository, file).is_some_and(|p| p.is_file())
    }

    /// A note that cannot be made costs a question the next time, and no more.
    fn note_lack(&self, repository: &RepositoryName, file: &str) {
        if let Some(path) = self.lack(repository, file)
            && let Some(folder) = path.parent()
        {
            let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, []));
        }
    }

    fn url(&self, repository: &RepositoryName, file: &str) -> String {
        let (endpoint, id) = (&self.environment.endpoint, repository.id());
        let revision = repository.revision().replace('/', "%2F");
        format!("{endpoint}/{id}/resolve/{revision}/{file}")
    }

    fn authorization(&self) -> Option<String> {
        let token = self.environment.token.as_ref()?;
        Some(format!("Bearer {token}"))
    }

    /// Asks what a file is, without its content.
    fn ask(&self, repository: &RepositoryName, file: &str) -> Result<Metadata, RepositoryFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let fault = match self.ask_once(repository, file) {
                Err(RepositoryFault::Transfer(fault)) if fault.may_pass() => fault,
                other => return other,
            };
            match pauses.next() {
                Some(pause) => thread::sleep(fault.pause().unwrap_or(*pause)),
                None => return Err(RepositoryFault::Transfer(fault)),
            }
        }
    }

    fn ask_once(
        &self,
        repository: &RepositoryName,
        file: &str,
    ) -> Result<Metadata, RepositoryFault> {
        let mut url = self.url(repository, file);
        for _ in 0..=MOST_REDIRECTS {
            let response = self.head(&url).map_err(RepositoryFault::Transfer)?;
            let status = response.status().as_u16();
            let redirect = text(response.headers(), LOCATION.as_str());
            match (status, redirect) {
                // Within the hub: it is asked there. What leads elsewhere is where the content lies.
                (300..=399, Some(path)) if path.starts_with('/') => {
                    url = format!("{}{path}", origin(&self.environment.endpoint));
                }
                (200..=399, _) => return metadata(response.headers(), url),
                _ => return Err(self.refusal(&response, repository, file)),
            }
        }
        let problem = "it redirects without end".into();
        Err(RepositoryFault::NotAHub(problem))
    }

    fn head(&self, url: &str) -> Result<Response<Body>, HubFault> {
        let mut request = self
            .agent
            .head(url)
            .header("Accept-Encoding", "identity")
            .config()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        if let Some(value) = self.authorization() {
            request = request.header(AUTHORIZATION, value);
        }
        request.call().map_err(|error| network(&error))
    }

    /// What a status other than success means.
    fn refusal(
        &self,
        response: &Response<Body>,
        repository: &RepositoryName,
        file: &str,
    ) -> RepositoryFault {
        let with_token = self.environment.token.is_some();
        let code = text(response.headers(), "x-error-code");
        match (response.status().as_u16(), code.as_deref()) {
            (_, Some("GatedRepo")) => RepositoryFault::Gated { with_token },
            (_, Some("RepoNotFound")) => RepositoryFault::NoRepository,
            (_, Some("RevisionNotFound")) => {
                RepositoryFault::NoRevision(repository.revision().into())
            }
            (_, Some("EntryNotFound")) => RepositoryFault::NoFile(file.into()),
            // The hub hides from strangers which private repositories there are.
            (401, _) if with_token => RepositoryFault::Token,
            (401, _) => RepositoryFault::NoRepository,
            (403, _) => RepositoryFault::Forbidden,
            (404, _) => RepositoryFault::NoRepository,
            (429, _) => RepositoryFault::Transfer(HubFault::Busy(retry_after(response))),
            (status, _) => RepositoryFault::Transfer(HubFault::Status(status)),
        }
    }

    /// Brings a file into the cache; gives its path in the commit's snapshot.
    fn fetch(
        &self,
        repository: &RepositoryName,
        file: &str,
        metadata: &Metadata,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, HubFault> {
        let disk = |error| HubFault::disk(error, None);
        let folder = self.folder(repository);
        if !repository.is_commit() {
            let reference = folder.join("refs").join(repository.revision());
            if fs::read_to_string(&reference).ok().as_deref() != Some(&metadata.commit) {
                let write = |to: &mut dyn io::Write| to.write_all(metadata.commit.as_bytes());
                with_folder(&reference).map_err(disk)?;
                segmenta_files::write(&reference, write).map_err(disk)?;
            }
        }
        let link = self.snapshot(repository, &metadata.commit).join(file);
        if link.is_file() {
            return Ok(link);
        }
        let blob = folder.join("blobs").join(&metadata.etag);
        with_folder(&blob).map_err(disk)?;
        let locks = self
            .environment
            .cache
            .join(".locks")
            .join(repository.folder());
        fs::create_dir_all(&locks).map_err(disk)?;
        let lock = locks.join(format!("{}.lock", metadata.etag));
        let _lock = lock_file(&lock, progress)?;
        // Whoever held the lock before may have brought the file.
        if !blob.is_file() {
            self.download(metadata, &blob, progress)?;
        }
        with_folder(&link).map_err(disk)?;
        let steps = file.split('/').count();
        place(&blob, &metadata.etag, &link, steps).map_err(disk)?;
        Ok(link)
    }

    fn download(
        &self,
        metadata: &Metadata,
        blob: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), HubFault> {
        let disk = |error| HubFault::disk(error, None);
        let part = blob.with_file_name(format!("{}.incomplete", metadata.etag));
        let authorization = self.authorization();
        let download = Download {
            agent: self.agent.clone(),
            url: &metadata.url,
            authorization: authorization.as_deref(),
            part: &part,
            bytes: metadata.bytes,
        };
        // Large files go by their SHA-256; small ones by what git calls them, and have their length to go by.
        let is_digest = metadata.etag.len() == 64;
        let check = |part: &Path| {
            if !is_digest {
                return Ok(());
            }
            let found = digest(part).map_err(disk)?;
            if found == metadata.etag.to_ascii_lowercase() {
                return Ok(());
            }
            let expected = metadata.etag.clone();
            Err(HubFault::WrongDigest { expected, found })
        };
        download.complete(&check, progress)?;
        segmenta_files::rename(&part, blob).map_err(disk)
    }
}

/// What the hub's headers say of a file.
fn metadata(headers: &HeaderMap, url: String) -> Result<Metadata, RepositoryFault> {
    let lacking = |what: &str| RepositoryFault::NotAHub(format!("no {what} in the headers"));
    let commit = text(headers, "x-repo-commit").filter(|commit| is_commit(commit));
    let etag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
    let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
    // It becomes a file's name.
    let plain = |etag: &String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        !etag.is_empty() && etag.len() <= 128 && etag.chars().all(is_plain)
    };
    let bytes = text(headers, "x-linked-size").or_else(|| {
        // Of a redirect it is the length of the page that says so.
        let whole = text(headers, LOCATION.as_str()).is_none();
        text(headers, CONTENT_LENGTH.as_str()).filter(|_| whole)
    });
    Ok(Metadata {
        commit: commit.ok_or_else(|| lacking("commit (X-Repo-Commit)"))?,
        etag: etag.filter(plain).ok_or_else(|| lacking("ETag"))?,
        bytes: bytes.and_then(|bytes| bytes.parse().ok()),
        url,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(Into::into)
}

/// Scheme and host of an address: what a redirect to a path begins at.
fn origin(endpoint: &str) -> &str {
    let host = endpoint.find("://").map_or(0, |at| at + 3);
    let end = endpoint[host..].find('/');
    &endpoint[..end.map_or(endpoint.len(), |end| host + end)]
}

fn with_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Gives a blob its name in a snapshot, `steps` deep: a link as Python makes it.
#[cfg(unix)]
fn place(_: &Path, etag: &str, link: &Path, steps: usize) -> io::Result<()> {
    let blob: PathBuf = [".."].repeat(steps + 1).iter().collect();
    let linked = std::os::unix::fs::symlink(blob.join("blobs").join(etag), link);
    match linked {
        // Of an older blob, or one that is gone.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(link)?;
            std::os::unix::fs::symlink(blob.join("blobs").join(etag), link)
        }
        other => other,
    }
}

/// Where links need a privilege, Python copies, too.
#[cfg(not(unix))]
fn place(blob: &Path, _: &str, link: &Path, _: usize) -> io::Result<()> {
    fs::copy(blob, link).map(|_| ())
}
