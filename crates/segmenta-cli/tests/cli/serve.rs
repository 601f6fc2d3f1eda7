//! `segmenta serve`: how it begins, what it refuses, how it ends. What it answers is tested in `segmenta-serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::Room;

fn begin(room: &Room, arguments: &[&str]) -> (Child, String) {
    let mut child = room.command();
    let mut child = child
        .args(["serve", "--port", "0", "--max-batch", "1"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .trim()
        .strip_prefix("http://")
        .expect("an address")
        .to_owned();
    (child, address)
}

fn ask(address: &str, request: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([name, &id])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_server_begins_is_told_to_load_anew_and_ends() {
    let room = Room::with_model();
    room.picture("photo.png", 60, 40);
    // A run's folder goes by its own name.
    std::fs::create_dir_all(room.path("runs/pets")).unwrap();
    std::fs::copy(
        room.path("tiny.safetensors"),
        room.path("runs/pets/model.safetensors"),
    )
    .unwrap();
    let (mut child, address) = begin(
        &room,
        &[
            "tiny.safetensors",
            "runs/pets/model.safetensors",
            "third=runs/pets",
        ],
    );
    let models = ask(&address, "GET /v1/models", b"");
    for name in ["\"tiny\"", "\"pets\"", "\"third\""] {
        assert!(models.contains(name), "{models}");
    }
    let photo = std::fs::read(room.path("photo.png")).unwrap();
    let answer = ask(&address, "POST /v1/segment?output=json", &photo);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    signal(&child, "-HUP");
    let answer = ask(&address, "POST /v1/segment?output=json&model=pets", &photo);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    signal(&child, "-TERM");
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{told}");
    let lines = told
        .lines()
        .filter(|line| line.contains("path=\"/v1/segment\" status=200"));
    assert_eq!(lines.count(), 2, "{told}");
}

#[test]
fn what_cannot_be_served_is_refused() {
    let room = Room::with_model();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    room.write("token", "  \n");
    for (arguments, code, part) in [
        (String::new(), 2, "required"),
        (
            "tiny.safetensors tiny=tiny.safetensors".into(),
            2,
            "two networks of the name “tiny”",
        ),
        ("a!b=tiny.safetensors".into(), 2, "is no name for a network"),
        ("nothing_of_the_kind".into(), 2, "nothing_of_the_kind"),
        ("missing.safetensors".into(), 2, "missing"),
        (
            "tiny.safetensors --token-file none".into(),
            1,
            "cannot read the token",
        ),
        (
            "tiny.safetensors --token-file token".into(),
            2,
            "no token in the file",
        ),
        (
            "tiny.safetensors --host 8.8.8.8 --port 0 --max-batch 1".into(),
            1,
            "cannot listen",
        ),
        (
            format!("tiny.safetensors --max-batch 1 --port {port}"),
            1,
            "choose another --port",
        ),
        ("tiny.safetensors --host example.org".into(), 2, "--host"),
        ("tiny.safetensors --precision int4".into(), 2, "int4"),
        ("tiny.safetensors --max-pixels 0".into(), 2, "--max-pixels"),
    ] {
        let answer = room.line(&format!("serve {arguments}"));
        assert_eq!(
            answer.code,
            Some(code),
            "{arguments}: {}",
            answer.transcript()
        );
        assert!(
            answer.stderr.contains(part),
            "{arguments}: {}",
            answer.stderr
        );
    }
}
