//! How it behaves under load, with clients that go away or dawdle, and when it ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use segmenta::LabelMap;
use segmenta_serve::Batching;

use crate::client::{connect, get, head, post, read};
use crate::{Running, limits, photo};

/// Waits until something holds, for as long as a busy machine may take.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn value(address: SocketAddr, name: &str) -> u64 {
    let text = get(address, "/metrics").text();
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && line.as_bytes()[name.len()] == b' ');
    line.map_or(0, |line| line[name.len() + 1..].parse().unwrap())
}

#[test]
fn two_hundred_at_once_get_a_mask_or_when_to_come_again() {
    let server = Running::with(|options| options.limits = limits(|limits| limits.queue = 16));
    let png = photo(64, 64);
    let (done, later) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let answer = post(server.address, "/v1/segment", &png);
                match answer.status {
                    200 => {
                        assert_eq!(LabelMap::decode(&answer.body).unwrap().size(), (64, 64));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    503 => {
                        assert!(answer.headers["retry-after"].parse::<u64>().unwrap() >= 1);
                        assert!(answer.problem().contains("--queue"));
                        later.fetch_add(1, Ordering::Relaxed);
                    }
                    other => panic!("{other}: {}", answer.text()),
                }
            });
        }
    });
    assert_eq!(
        done.load(Ordering::Relaxed) + later.load(Ordering::Relaxed),
        200
    );
    assert!(done.load(Ordering::Relaxed) >= 18);
    assert_eq!(post(server.address, "/v1/segment", &png).status, 200);
    assert_eq!(value(server.address, "segmenta_queue_waiting"), 0);
}

#[test]
fn requests_of_one_network_go_through_it_together() {
    let server = Running::with(|options| {
        options.workers = 1;
        options.batching = Batching {
            most: Some(8),
            delay: Some(Duration::from_millis(400)),
        };
    });
    let alone = post(server.address, "/v1/segment", &photo(50, 40)).body;
    let before = get(server.address, "/v1/status").json()["models"][0]["runs"]
        .as_u64()
        .unwrap();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let alone = &alone;
            scope.spawn(move || {
                // One that cannot be read does not spoil it for the others; another size goes beside them.
                let broken = i == 3;
                let png = if broken {
                    b"nothing".to_vec()
                } else {
                    photo(50, 40)
                };
                let answer = post(server.address, "/v1/segment", &png);
                if broken {
                    assert_eq!(answer.status, 422);
                } else {
                    assert_eq!(answer.body, *alone);
                }
            });
        }
    });
    let runs = get(server.address, "/v1/status").json()["models"][0]["runs"]
        .as_u64()
        .unwrap()
        - before;
    assert!((1..7).contains(&runs), "{runs} runs for 7 pictures");
}

#[test]
fn clients_that_go_away_free_their_work() {
    let server = Running::with(|options| options.workers = 1);
    // Many tiles: seconds of work.
    let large = photo(1200, 900);
    let mut gone = connect(server.address);
    let length = large.len().to_string();
    gone.write_all(&head(
        "POST",
        "/v1/segment?tile=48",
        &[("content-length", &length)],
    ))
    .unwrap();
    gone.write_all(&large).unwrap();
    until("it is worked on", || {
        value(server.address, "segmenta_workers_busy") == 1
    });
    drop(gone);
    until("its work ends", || {
        value(server.address, "segmenta_workers_busy") == 0
    });
    let text = get(server.address, "/metrics").text();
    assert!(
        text.contains("route=\"/v1/segment\",status=\"499\"} 1"),
        "{text}"
    );
}

#[test]
fn what_takes_too_long_is_ended() {
    let server = Running::with(|options| {
        options.limits = limits(|limits| limits.deadline = Duration::from_millis(30));
        options.workers = 1;
    });
    let answer = post(server.address, "/v1/segment?tile=48", &photo(1200, 900));
    assert_eq!(answer.status, 504);
    assert!(answer.problem().contains("--deadline"));
    until("its work ends", || {
        value(server.address, "segmenta_workers_busy") == 0
    });
}

#[test]
fn slow_clients_are_told_or_closed() {
    let server = Running::with(|options| {
        options.limits = limits(|limits| limits.read = Duration::from_millis(300));
    });
    // A head that never ends.
    let mut slow = connect(server.address);
    slow.write_all(b"POST /v1/segment HTTP/1.1\r\nhost: loc")
        .unwrap();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    // A body that never ends.
    let mut slow = connect(server.address);
    slow.write_all(&head("POST", "/v1/segment", &[("content-length", "1000")]))
        .unwrap();
    slow.write_all(b"\x89PNG").unwrap();
    let answer = read(&mut slow).unwrap();
    assert_eq!(answer.status, 408);
    assert!(answer.problem().contains("not whole within"));
    // The same in a form.
    let mut slow = connect(server.address);
    let headers = [
        ("content-length", "1000"),
        ("content-type", "multipart/form-data; boundary=b"),
    ];
    slow.write_all(&head("POST", "/v1/segment/batch", &headers))
        .unwrap();
    slow.write_all(b"--b\r\nContent-Dis").unwrap();
    assert_eq!(read(&mut slow).unwrap().status, 408);
    assert_eq!(value(server.address, "segmenta_queue_waiting"), 0);
}

#[test]
fn half_a_connection_and_garbage_leave_nothing_behind() {
    let server = Running::with(|options| {
        options.limits = limits(|limits| {
            limits.queue = 1;
            limits.read = Duration::from_secs(2);
        });
    });
    for _ in 0..20 {
        let mut half = connect(server.address);
        half.write_all(&head("POST", "/v1/segment", &[("content-length", "1000")]))
            .unwrap();
        half.write_all(b"half").unwrap();
        half.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = half.read_to_end(&mut rest);
    }
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        &b"A".repeat(100_000),
    ] {
        let mut stream = connect(server.address);
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    // All places in the queue are free again.
    until("a place is free", || {
        post(server.address, "/v1/segment", &photo(20, 20)).status == 200
    });
    until("connections are closed", || {
        value(server.address, "segmenta_connections") <= 1
    });
}

#[test]
fn networks_are_swapped_under_load() {
    let server = Running::new();
    let is_over = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while is_over.load(Ordering::Relaxed) == 0 || done == 0 {
                    let answer = post(server.address, "/v1/segment", &photo(40, 40));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    done += 1;
                }
            });
        }
        for _ in 0..3 {
            let answer = post(server.address, "/v2/repository/models/roads/load", b"");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        server.state.reload();
        is_over.store(1, Ordering::Relaxed);
    });
    assert_eq!(
        post(server.address, "/v2/repository/models/roads/unload", b"").status,
        200
    );
    let answer = post(server.address, "/v1/segment", &photo(40, 40));
    assert_eq!(answer.status, 503);
    assert!(answer.problem().contains("/load"));
    assert_eq!(
        post(server.address, "/v1/segment?model=again", &photo(40, 40)).status,
        200
    );
    assert_eq!(get(server.address, "/ready").status, 503);
    assert_eq!(
        post(server.address, "/v2/repository/models/roads/load", b"{}").status,
        200
    );
    assert_eq!(get(server.address, "/ready").status, 200);
}

#[test]
fn what_has_begun_is_answered_before_it_ends() {
    let mut server = Running::with(|options| options.workers = 1);
    let address = server.address;
    let begun = std::thread::spawn(move || post(address, "/v1/segment?tile=48", &photo(500, 400)));
    until("it is worked on", || {
        value(address, "segmenta_workers_busy") == 1
    });
    server.end();
    let answer = begun.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(std::net::TcpStream::connect(address).is_err());
}
