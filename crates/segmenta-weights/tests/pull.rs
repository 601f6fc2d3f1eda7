//! Downloads from a server that cuts, lies and refuses.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use segmenta_weights::{Hub, HubFault, Progress, Published};

const LENGTH: usize = 300_000;

/// A megabyte's third of numbers; its SHA-256 begins with [`FILE`]'s digits.
fn content() -> Vec<u8> {
    (0..LENGTH as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

const FILE: Published = Published {
    file: "net-136f334d.pth",
    url: "http://nowhere.invalid/net-136f334d.pth",
    bytes: Some(LENGTH as u64),
    sha256: "136f334d",
};

/// What the server answers; without a status, it hangs up.
struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn whole(body: Vec<u8>) -> Answer {
        let headers = format!("Content-Length: {}\r\n", body.len());
        Answer {
            status: "200 OK",
            headers,
            body,
        }
    }

    /// `content` from `start` on, as an honest server gives it.
    fn range(start: usize) -> Answer {
        let body = content()[start..].to_vec();
        let headers = format!(
            "Content-Length: {}\r\nContent-Range: bytes {start}-{}/{LENGTH}\r\n",
            body.len(),
            LENGTH - 1
        );
        Answer {
            status: "206 Partial Content",
            headers,
            body,
        }
    }

    fn status(status: &'static str) -> Answer {
        Answer {
            status,
            headers: "Content-Length: 0\r\n".into(),
            body: vec![],
        }
    }

    /// The connection ends after `count` bytes of the body.
    fn cut(mut self, count: usize) -> Answer {
        self.body.truncate(count);
        self
    }
}

/// A server whose answers are given by the number of the request (from 0) and where its range
/// starts. Gives a hub in `folder` that takes files from it, and the count of requests.
fn serve(
    folder: &Path,
    answer: impl Fn(usize, Option<usize>) -> Answer + Send + 'static,
) -> (Hub, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub =
        Hub::at(folder).with_mirror(format!("http://{}/models", listener.local_addr().unwrap()));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let range = request(&stream);
            let answer = answer(counter.fetch_add(1, Ordering::SeqCst), range);
            if answer.status.is_empty() {
                continue;
            }
            let head = format!(
                "HTTP/1.1 {}\r\nConnection: close\r\n{}\r\n",
                answer.status, answer.headers
            );
            // Whoever asked may be gone.
            let _ = (&stream)
                .write_all(head.as_bytes())
                .and_then(|()| (&stream).write_all(&answer.body));
        }
    });
    (hub, count)
}

/// Reads a request, and gives where the range that it asks for starts.
fn request(stream: &TcpStream) -> Option<usize> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    assert_eq!(head[0], format!("GET /models/{} HTTP/1.1", FILE.file));
    let range = head.iter().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("range: bytes=")
            .map(|range| range.trim_end_matches('-').to_string())
    });
    range.map(|start| start.parse().unwrap())
}

/// Pulls, and tells the distinct steps that were reported.
fn pull(hub: &Hub, file: &Published) -> (Result<std::path::PathBuf, HubFault>, Vec<Progress>) {
    let mut steps = Vec::new();
    let result = hub.pull(file, &mut |step| steps.push(step));
    (result.map_err(|error| error.fault), steps)
}

fn part(folder: &Path) -> std::path::PathBuf {
    folder.join(format!("{}.part", FILE.file))
}

#[test]
fn a_file_is_downloaded_once() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, count) = serve(&folder.path().join("new/folder"), |_, _| {
        Answer::whole(content())
    });
    assert_eq!(hub.cached(&FILE), None);
    let (path, steps) = pull(&hub, &FILE);
    assert_eq!(fs::read(path.unwrap()).unwrap(), content());
    assert_eq!(steps.last(), Some(&Progress::Verifying));
    let end = Progress::Downloading {
        done: LENGTH as u64,
        total: Some(LENGTH as u64),
    };
    assert!(steps.contains(&end), "{steps:?}");
    assert!(hub.cached(&FILE).is_some());
    assert_eq!(pull(&hub, &FILE).1, []);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, count) = serve(folder.path(), |number, range| match (number, range) {
        (0, None) => Answer::whole(content()).cut(100_000),
        (_, Some(start)) => Answer::range(start),
        _ => Answer::status("400 Bad Request"),
    });
    let (path, steps) = pull(&hub, &FILE);
    assert_eq!(fs::read(path.unwrap()).unwrap(), content());
    assert!(
        steps.contains(&Progress::Resuming { from: 100_000 }),
        "{steps:?}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn what_an_earlier_run_left_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(part(folder.path()), &content()[..250_000]).unwrap();
    let (hub, _) = serve(folder.path(), |_, range| {
        Answer::range(range.expect("a range"))
    });
    let (path, steps) = pull(&hub, &FILE);
    assert_eq!(fs::read(path.unwrap()).unwrap(), content());
    assert_eq!(steps[0], Progress::Resuming { from: 250_000 });
    assert!(!part(folder.path()).exists());
}

#[test]
fn a_server_without_ranges_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(part(folder.path()), &content()[..250_000]).unwrap();
    let (hub, _) = serve(folder.path(), |_, _| Answer::whole(content()));
    assert_eq!(fs::read(pull(&hub, &FILE).0.unwrap()).unwrap(), content());
}

#[test]
fn a_range_that_cannot_be_given_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = Published {
        bytes: None,
        ..FILE
    };
    for refusal in ["416 Range Not Satisfiable", "206 Partial Content"] {
        fs::write(part(folder.path()), vec![7; 2 * LENGTH]).unwrap();
        let (hub, _) = serve(folder.path(), move |_, range| match range {
            // With 206 and no Content-Range, nobody knows what the bytes are.
            Some(_) => Answer::status(refusal),
            None => Answer::whole(content()),
        });
        let path = pull(&hub, &unknown).0.unwrap();
        assert_eq!(fs::read(&path).unwrap(), content());
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn halves_of_two_different_files_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(part(folder.path()), vec![7; 1000]).unwrap();
    let (hub, count) = serve(folder.path(), |_, range| match range {
        Some(start) => Answer::range(start),
        None => Answer::whole(content()),
    });
    assert_eq!(fs::read(pull(&hub, &FILE).0.unwrap()).unwrap(), content());
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_file_with_the_wrong_digest_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, count) = serve(folder.path(), |_, _| Answer::whole(vec![1; LENGTH]));
    let error = hub.pull(&FILE, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error.fault, HubFault::WrongDigest { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("{} expected", FILE.sha256)),
        "{error}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert!(!part(folder.path()).exists() && hub.cached(&FILE).is_none());
}

#[test]
fn a_file_of_another_length_is_refused_before_it_is_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, _) = serve(folder.path(), |_, _| Answer::whole(b"<html>".to_vec()));
    let fault = pull(&hub, &FILE).0.unwrap_err();
    assert!(
        matches!(fault, HubFault::WrongLength { found: 6, .. }),
        "{fault}"
    );
    assert!(!part(folder.path()).exists());
}

#[test]
fn a_refusal_says_what_to_put_where() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, count) = serve(folder.path(), |_, _| Answer::status("404 Not Found"));
    let error = hub.pull(&FILE, &mut |_| {}).unwrap_err();
    assert!(matches!(error.fault, HubFault::Status(404)));
    let text = error.to_string();
    assert!(text.contains(&hub.url_for(&FILE)), "{text}");
    assert!(
        text.contains(&hub.path_for(&FILE).display().to_string()),
        "{text}"
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_busy_server_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, _) = serve(folder.path(), |number, _| match number {
        0 => Answer::status("503 Service Unavailable"),
        _ => Answer::whole(content()),
    });
    assert!(pull(&hub, &FILE).0.is_ok());
}

#[test]
fn a_server_that_hangs_up_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, _) = serve(folder.path(), |number, _| match number {
        0 => Answer::status(""),
        _ => Answer::whole(content()),
    });
    pull(&hub, &FILE).0.unwrap();
}

#[test]
fn without_a_network_the_message_tells_what_to_put_where() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let hub = Hub::at(folder.path()).with_mirror(format!("http://127.0.0.1:{port}"));
    let error = hub.pull(&FILE, &mut |_| {}).unwrap_err();
    assert!(matches!(error.fault, HubFault::Network(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains(&hub.url_for(&FILE)), "{text}");
    assert!(
        text.contains(&hub.path_for(&FILE).display().to_string()),
        "{text}"
    );
}

#[test]
fn of_two_pulls_at_once_one_downloads_and_the_other_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (release, released) = mpsc::channel();
    let (hub, count) = serve(folder.path(), move |_, _| {
        released.recv_timeout(Duration::from_secs(20)).unwrap();
        Answer::whole(content())
    });
    let start = Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                // The server answers the one when it has been told that the other waits.
                let mut tell = |step| {
                    if step == Progress::Waiting {
                        release.send(()).unwrap();
                    }
                };
                assert_eq!(hub.pull(&FILE, &mut tell).unwrap(), hub.path_for(&FILE));
            });
        }
    });
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(fs::read(hub.path_for(&FILE)).unwrap(), content());
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_says_how_much_is_needed_and_where() {
    let folder = tempfile::tempdir().unwrap();
    // The device that has room for nothing stands where the download goes.
    std::os::unix::fs::symlink("/dev/full", part(folder.path())).unwrap();
    let (hub, _) = serve(folder.path(), |_, _| Answer::whole(content()));
    let error = hub.pull(&FILE, &mut |_| {}).unwrap_err();
    assert!(
        matches!(
            error.fault,
            HubFault::DiskFull {
                needed: Some(300_000)
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("it needs room for 300000 bytes more"),
        "{text}"
    );
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    assert!(text.contains("SEGMENTA_HOME"), "{text}");
}
