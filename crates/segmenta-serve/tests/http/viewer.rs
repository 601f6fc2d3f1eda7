//! A data set looked at: its list, its pictures and masks, what the check finds, and that nothing else can be had.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use segmenta::data::Dataset;
use segmenta::image::{LabelMap, Palette, Picture};
use segmenta_serve::{ServeOptions, Server, Stop, Viewed};
use serde_json::Value;

use crate::client::{Answer, get};

struct View {
    _folder: tempfile::TempDir,
    address: SocketAddr,
    stop: Stop,
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl View {
    /// Twelve pictures; mask `05` is of another size, `07` has a value of no class, `09` cannot be read as a picture.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for part in ["images", "masks"] {
            fs::create_dir(root.join(part)).unwrap();
        }
        fs::write(root.join("classes.txt"), "ground\ncell\nwall\n").unwrap();
        fs::write(root.join("secret.png"), "not of the list").unwrap();
        for i in 0..12u8 {
            let picture = Picture::filled(40, 20, [i, 90, 200]);
            let name = root.join(format!("images/{i:02} é.png"));
            picture.save(&name).unwrap();
            if i == 9 {
                fs::write(&name, &fs::read(&name).unwrap()[..60]).unwrap();
            }
            let side = if i == 5 { 10 } else { 20 };
            let id = if i == 7 { 9 } else { i % 3 };
            let mask = LabelMap::new(40, side, vec![id; 40 * side]).unwrap();
            let name = root.join(format!("masks/{i:02} é.png"));
            mask.save(name, &Palette::voc()).unwrap();
        }
        let viewed = Viewed::new(Dataset::open(root).unwrap(), "cells").unwrap();
        let options = ServeOptions {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 1,
            ..ServeOptions::default()
        };
        let server = Server::bind_view(&options, viewed).unwrap();
        let (address, stop) = (server.address().unwrap(), server.stopper());
        std::thread::spawn(move || server.run(false).unwrap());
        Self {
            _folder: folder,
            address,
            stop,
        }
    }

    fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    /// What it says of the data set once the check is done.
    fn checked(&self) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let told = self.get("/v1/data").json();
            if told["check"]["done"] == true {
                return told;
            }
            assert!(Instant::now() < end, "{told}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The names that a query gives.
    fn names(&self, query: &str) -> Vec<String> {
        let told = self.get(&format!("/v1/data/items?{query}")).json();
        let names = told["items"].as_array().unwrap().iter();
        names
            .map(|item| item["name"].as_str().unwrap()[..2].to_owned())
            .collect()
    }
}

#[test]
fn a_data_set_is_listed_filtered_and_drawn() {
    let view = View::new();
    let told = view.checked();
    assert_eq!(told["title"], "cells");
    assert_eq!(told["pictures"], 12);
    assert_eq!(told["classes"][1]["name"], "cell");
    let place = |problem: &str| {
        let findings = told["findings"].as_array().unwrap();
        findings
            .iter()
            .position(|finding| finding["problem"] == problem)
            .unwrap()
    };
    for (problem, name) in [
        ("sizes-differ", "05"),
        ("ids-out-of-range", "07"),
        ("unreadable-picture", "09"),
    ] {
        assert_eq!(view.names(&format!("problem={}", place(problem))), [name]);
    }
    assert_eq!(view.names("problem=any"), ["05", "07", "09"]);
    assert_eq!(view.names("problem=none").len(), 9);
    assert_eq!(view.names("class=1&problem=none"), ["01", "04", "10"]);
    assert_eq!(view.names("from=10&count=5"), ["10", "11"]);
    assert_eq!(view.names("name=08%20%C3%89"), ["08"]);
    assert!(view.names("split=val").is_empty());

    let sent = view.get("/v1/data/items/4/picture");
    assert_eq!(sent.headers["content-type"], "image/png");
    assert_eq!(Picture::decode(&sent.body).unwrap().size(), (40, 20));
    let small = view.get("/v1/data/items/4/picture?side=10");
    assert_eq!(Picture::decode(&small.body).unwrap().size(), (10, 5));
    // Browsers see grey of the ids' values.
    let mask = view.get("/v1/data/items/4/mask?side=10");
    let grey = Picture::decode(&mask.body).unwrap();
    assert_eq!(grey.size(), (10, 5));
    assert!(grey.pixels().iter().all(|&value| value == 1));
}

#[test]
fn what_is_broken_or_not_of_the_list_is_said() {
    let view = View::new();
    let wrong = view.get("/v1/data/items/5/mask");
    assert_eq!(wrong.status, 422);
    assert!(wrong.problem().contains("40×10 for a picture of 40×20"));
    assert_eq!(view.get("/v1/data/items/9/picture").status, 422);
    for (path, status) in [
        ("/v1/data/items/12/picture", 404),
        ("/v1/data/items/-1/mask", 404),
        ("/v1/data/items/secret.png/picture", 404),
        ("/v1/data/items/..%2f..%2fsecret.png/picture", 404),
        ("/secret.png", 404),
        ("/v1/models", 404),
        ("/v1/data/items/0/picture?side=0", 400),
        ("/v1/data/items/0/picture?side=100000", 400),
        ("/v1/data/items?path=secret.png", 400),
    ] {
        let answer = view.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(!answer.problem().is_empty());
    }
    let page = view.get("/");
    assert!(page.headers["content-security-policy"].contains("default-src 'none'"));
    for path in ["/page.css", "/view.js"] {
        assert_eq!(view.get(path).status, 200);
    }
}
