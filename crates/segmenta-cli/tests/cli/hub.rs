//! Models of the Hugging Face hub: from a folder, and from a hub on this machine.

#[expect(dead_code, reason = "what was asked is looked at elsewhere")]
#[path = "../../../segmenta-hub/tests/hub/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use server::{File, Server};

use super::*;

const NAME: &str = "owner/streets";

/// A small SegFormer, as a repository has it.
fn repository() -> BTreeMap<&'static str, Vec<u8>> {
    let fields = json!({
        "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32], "num_attention_heads": [1, 2, 3, 4],
        "decoder_hidden_size": 16,
    });
    let mut options = Options::new(3);
    for (field, value) in fields.as_object().unwrap() {
        options.config.set(field, value.clone());
    }
    let class = "SegformerForSemanticSegmentation";
    let graph = find(class).unwrap().build(&options).unwrap();
    let values: Vec<Vec<f32>> = graph.parameters().iter().map(|p| p.initial(1)).collect();
    let entries = graph.parameters().iter().zip(&values);
    let views: Vec<TensorView<'_>> = entries
        .map(|(p, v)| (&*p.name, &p.shape[..], &v[..]))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights");
    save(&weights, &views, &[].into()).unwrap();
    let mut config = fields;
    config["architectures"] = json!([class]);
    config["id2label"] = json!({"0": "road", "1": "sky", "2": "car"});
    let processor = json!({"image_processor_type": "SegformerImageProcessor", "size": 64});
    BTreeMap::from([
        ("config.json", config.to_string().into_bytes()),
        (
            "preprocessor_config.json",
            processor.to_string().into_bytes(),
        ),
        ("README.md", b"---\nlicense: cc-by-nc-4.0\n---\n".to_vec()),
        ("model.safetensors", fs::read(weights).unwrap()),
    ])
}

fn write(room: &Room) {
    let folder = room.path("net");
    fs::create_dir(&folder).unwrap();
    for (name, content) in repository() {
        fs::write(folder.join(name), content).unwrap();
    }
}

#[test]
fn a_folder_is_a_model() {
    let room = Room::new();
    room.picture("photo.png", 50, 30);
    write(&room);
    let answer = room.line("predict photo.png -m ./net -o out").succeeded();
    assert!(
        answer
            .stderr
            .contains("licence: cc-by-nc-4.0 · NOT FOR COMMERCIAL USE"),
        "{}",
        answer.stderr
    );
    assert!(room.path("out/photo.mask.png").is_file());
    let same = room
        .line("predict photo.png -w net -o again --quiet")
        .succeeded();
    assert!(!same.stderr.contains("licence"), "{}", same.stderr);
    let [one, other] =
        ["out", "again"].map(|folder| fs::read(room.path(format!("{folder}/photo.mask.png"))));
    assert_eq!(one.unwrap(), other.unwrap());
    let show = room.line("models show ./net --input 1x3x64x64").succeeded();
    for word in ["3: road, sky, car", "cc-by-nc-4.0", "64x64"] {
        assert!(show.stdout.contains(word), "{}", show.stdout);
    }
    room.line("bench forward -m ./net --input 1x3x64x64 --runs 1 --warmup 0")
        .succeeded();
}

#[test]
fn a_repository_is_a_model() {
    let room = Room::new();
    room.picture("photo.png", 50, 30);
    let files = repository().into_iter().map(|(name, content)| {
        let large = name.ends_with("safetensors");
        let path = room.path("content");
        fs::write(&path, &content).unwrap();
        let etag = segmenta_weights::digest(&path).unwrap();
        let etag = if large { etag } else { etag[..40].into() };
        (
            name.to_owned(),
            File {
                content,
                etag,
                large,
            },
        )
    });
    let server = Server::start(NAME, &files.collect(), |_, answer| answer);
    let run = |line: &str, offline: &str| {
        let cache = room.path("cache");
        let mut command = room.command();
        command
            .args(line.split(' '))
            .env_remove("SEGMENTA_OFFLINE")
            .env("HF_ENDPOINT", &server.endpoint)
            .env("HF_HUB_CACHE", &cache)
            .env("HF_HUB_OFFLINE", offline);
        room.answer(command.output().unwrap())
    };
    let line = format!("predict photo.png -m {NAME} -o out");
    let offline = run(&line, "1");
    assert_eq!(offline.code, Some(1));
    assert!(
        offline.stderr.contains("HF_HUB_OFFLINE is set"),
        "{}",
        offline.stderr
    );
    let first = run(&line, "0").succeeded();
    assert!(
        first.stderr.contains(&format!("· {NAME} at 01234567")),
        "{}",
        first.stderr
    );
    run(&line, "1").succeeded();
    let typo = run("predict photo.png -m owner/steets -o out", "0");
    assert_eq!(typo.code, Some(1));
    assert!(
        typo.stderr.contains("no such repository"),
        "{}",
        typo.stderr
    );
}

#[test]
fn names_are_found_or_said_to_be_none() {
    let room = Room::new();
    room.picture("a.png", 50, 30);
    let found = room.line("models search face").succeeded();
    assert!(
        found.stdout.contains("jonathandinu/face-parsing"),
        "{}",
        found.stdout
    );
    let json = room.line("models search driving --json").succeeded();
    let rows: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(
        rows.as_array()
            .unwrap()
            .iter()
            .any(|row| row["loaded"] == true)
    );
    let none = room.line("models search zzz");
    assert_eq!(none.code, Some(2));
    let short = room.line("predict a.png -m resnet34");
    assert!(!short.stderr.contains("repository"), "{}", short.stderr);
    let wrong = room.line("predict a.png -m a/b/c");
    assert_eq!(wrong.code, Some(2));
}
