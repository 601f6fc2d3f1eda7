//! A hub on this machine: two hosts, as the real one has, of which the second holds large files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The commit of the branch `main` of every repository.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request, as far as a hub looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    /// Where the range begins that is asked for.
    pub(crate) start: Option<usize>,
    /// Whether it came to the host of large files.
    pub(crate) large: bool,
}

/// An answer. Its body may be shorter than its length says: then the connection is cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) length: Option<usize>,
}

impl Answer {
    pub(crate) fn of(status: &'static str) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A file of the repository.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    /// Of a large file its SHA-256; small ones go by anything.
    pub(crate) etag: String,
    pub(crate) large: bool,
}

type Twist = dyn Fn(&Request, Answer) -> Answer + Send + Sync;

/// A running hub with one repository.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves `files` of `repository`; `twist` may answer otherwise.
    pub(crate) fn start(
        repository: &str,
        files: &BTreeMap<String, File>,
        twist: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (front, back) = (listen(), listen());
        let store = back.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let endpoint = format!("http://{}", front.local_addr().unwrap());
        let twist: Arc<Twist> = Arc::new(twist);
        for (listener, large) in [(front, false), (back, true)] {
            let hub = Hub {
                repository: repository.into(),
                files: files.clone(),
                store,
                requests: Arc::clone(&requests),
                twist: Arc::clone(&twist),
                large,
            };
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    hub.serve(&stream);
                }
            });
        }
        Self { endpoint, requests }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

struct Hub {
    repository: String,
    files: BTreeMap<String, File>,
    store: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    twist: Arc<Twist>,
    large: bool,
}

impl Hub {
    fn serve(&self, stream: &TcpStream) {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let first: Vec<&str> = head
            .iter()
            .take(1)
            .flat_map(|line| line.split(' '))
            .collect();
        let [method, path, ..] = first[..] else {
            return;
        };
        let header = |name: &str| {
            head.iter().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found
                    .eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let range = header("range");
        let start =
            range.and_then(|r| r.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok());
        let request = Request {
            method: method.into(),
            path: path.into(),
            authorization: header("authorization"),
            start,
            large: self.large,
        };
        self.requests.lock().unwrap().push(request.clone());
        let answer = (self.twist)(&request, self.answer(&request));
        if answer.status.is_empty() {
            return;
        }
        let length = answer.length.unwrap_or(answer.body.len());
        let mut text = format!(
            "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {length}\r\n",
            answer.status
        );
        for (name, value) in &answer.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text += "\r\n";
        let mut to = stream;
        let body: &[u8] = if request.method == "HEAD" {
            &[]
        } else {
            &answer.body
        };
        // Whoever asked may be gone.
        let _ = to
            .write_all(text.as_bytes())
            .and_then(|()| to.write_all(body));
    }

    /// What an honest hub says.
    fn answer(&self, request: &Request) -> Answer {
        if self.large {
            let found = self
                .files
                .values()
                .find(|file| request.path == format!("/{}", file.etag));
            return found.map_or_else(
                || Answer::of("404 Not Found"),
                |file| content(file, request),
            );
        }
        let parts: Vec<&str> = request
            .path
            .trim_start_matches('/')
            .split("/resolve/")
            .collect();
        let [id, rest] = parts[..] else {
            return Answer::of("404 Not Found");
        };
        let code = "X-Error-Code";
        if id != self.repository {
            return Answer::of("401 Unauthorized").with(code, "RepoNotFound");
        }
        let (revision, name) = rest.split_once('/').unwrap();
        // Any commit is one of the repository's; branches and tags there are none but `main`.
        let is_commit = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
        if revision != "main" && !is_commit {
            return Answer::of("404 Not Found").with(code, "RevisionNotFound");
        }
        let Some(file) = self.files.get(name) else {
            return Answer::of("404 Not Found")
                .with(code, "EntryNotFound")
                .with("X-Repo-Commit", COMMIT);
        };
        let answer = if file.large {
            let store = format!("http://{}/{}", self.store, file.etag);
            Answer {
                body: b"Found. Redirecting".to_vec(),
                ..Answer::of("302 Found")
            }
            .with("Location", store)
            .with("X-Linked-Etag", format!("\"{}\"", file.etag))
            .with("X-Linked-Size", file.content.len().to_string())
            .with("ETag", "\"of-the-pointer\"")
        } else {
            content(file, request).with("ETag", format!("W/\"{}\"", file.etag))
        };
        let commit = if is_commit { revision } else { COMMIT };
        answer.with("X-Repo-Commit", commit)
    }
}

fn content(file: &File, request: &Request) -> Answer {
    let Some(start) = request.start else {
        return Answer {
            body: file.content.clone(),
            ..Answer::of("200 OK")
        };
    };
    let length = file.content.len();
    let range = format!("bytes {start}-{}/{length}", length - 1);
    Answer {
        body: file.content[start..].to_vec(),
        ..Answer::of("206 Partial Content")
    }
    .with("Content-Range", range)
}
