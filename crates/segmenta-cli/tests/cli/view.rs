//! `segmenta view`: how it begins, over data and over predictions, and what it refuses. What it answers is tested in `segmenta-serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Room;

/// Looks at a folder, asks until the answer has a part, and ends it.
fn look(room: &Room, folder: &str, path: &str, part: &str) {
    let mut command = room.command();
    let mut child = command
        .args(["view", folder, "--no-open"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").expect("an address");
    let end = Instant::now() + Duration::from_secs(60);
    let told = loop {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.contains(part) || Instant::now() > end {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told.contains(part), "{folder}: {told}");
}

#[test]
fn data_and_predictions_are_looked_at() {
    let room = Room::with_model();
    for name in ["a ö.png", "b.png"] {
        room.picture(format!("photos/{name}"), 24, 16);
    }
    // Pictures alone are a data set, too.
    look(&room, "photos", "/v1/data", "\"problem\":\"no-masks\"");
    room.line("predict photos --weights tiny.safetensors -o out")
        .succeeded();
    look(&room, "out", "/v1/data", "\"done\":true");
    look(&room, "out", "/v1/data/items", "\"masked\":true");
    look(&room, "out", "/v1/data/items?name=%C3%B6", "\"total\":1");
}

#[test]
fn what_cannot_be_looked_at_is_refused() {
    let room = Room::new();
    room.write("empty/note.txt", "");
    room.write("broken/predictions.json", "{\"model\": 3}");
    room.write(
        "moved/predictions.json",
        r#"{"model": {"classes": []}, "pictures": [{"file": "gone.png", "written": []}]}"#,
    );
    for (folder, part) in [
        ("empty", "no data set is recognised"),
        ("nowhere", "nowhere"),
        ("broken", "these are no predictions"),
        (
            "moved",
            "a picture is not where it was segmented · gone.png",
        ),
    ] {
        let answer = room.line(&format!("view {folder} --no-open"));
        assert_ne!(answer.code, Some(0), "{folder}");
        assert!(answer.stderr.contains(part), "{folder}: {}", answer.stderr);
    }
}
