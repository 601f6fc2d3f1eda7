//! Weights of encoders by their names: listed, pulled from a hub on this machine, begun from.

use std::collections::BTreeMap;
use std::fs;

use segmenta_graph::Scope;
use segmenta_weights::{TensorView, save};
use segmenta_zoo::find_encoder;

use crate::hub::server::{File, Server};
use crate::{Answer, Room, snapshot};

const ENCODER: &str = "mobilenet_v2";

/// The weights of an encoder as SMP's hub has them, with entries of a classifier beside.
fn weights(room: &Room) -> Vec<u8> {
    let parameters = find_encoder(ENCODER)
        .unwrap()
        .parameters(&Scope::root(), 3)
        .unwrap();
    let values: Vec<Vec<f32>> = parameters.iter().map(|p| p.initial(7)).collect();
    let mut views: Vec<TensorView<'_>> = parameters
        .iter()
        .zip(&values)
        .map(|(p, v)| (&*p.name, &p.shape[..], &v[..]))
        .collect();
    let bias = [0.5_f32; 10];
    views.push(("classifier.1.bias", &[10], &bias));
    let path = room.path("weights");
    save(&path, &views, &[].into()).unwrap();
    fs::read(path).unwrap()
}

/// A hub that has the encoder's weights `imagenet`.
fn hub(room: &Room) -> Server {
    let small = |content: &str| File {
        content: content.into(),
        etag: format!("{:040x}", content.len()),
        large: false,
    };
    let content = weights(room);
    let file = File {
        etag: segmenta_weights::digest(&room.path("weights")).unwrap(),
        content,
        large: true,
    };
    let config = r#"{"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "input_space": "RGB"}"#;
    let files = BTreeMap::from([
        ("config.json".into(), small(config)),
        (
            "README.md".into(),
            small("---\nlicense: cc-by-nc-4.0\n---\n"),
        ),
        ("model.safetensors".into(), file),
    ]);
    let repository = format!("smp-hub/{ENCODER}.imagenet");
    Server::start(&repository, &files, |_, answer| answer)
}

/// With the network of a server.
fn online(room: &Room, server: &Server, line: &str) -> Answer {
    let mut command = room.command();
    command
        .args(line.split(' '))
        .env_remove("SEGMENTA_OFFLINE")
        .env("HF_ENDPOINT", &server.endpoint);
    room.answer(command.output().unwrap())
}

#[test]
fn an_encoder_s_weights_are_listed() {
    let room = Room::new();
    let listed = room.line("models encoders resnet50").succeeded();
    snapshot("models-encoders-one", &listed);
    let json = room.line("models encoders --json").succeeded().stdout;
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    let named = |row: &&serde_json::Value| row["name"] == "mit_b2";
    let mit = all.as_array().unwrap().iter().find(named).unwrap();
    assert_eq!(mit["weights"][0]["repository"], "smp-hub/mit_b2.imagenet");
    let licence = mit["weights"][0]["licence"].as_str().unwrap();
    assert!(licence.contains("non-commercial"), "{licence}");
}

#[test]
fn an_encoder_s_weights_are_pulled_once() {
    let room = Room::new();
    let server = hub(&room);
    let line = format!("models pull {ENCODER}");
    let offline = room.line(&line);
    assert_eq!(offline.code, Some(1));
    for word in [
        "/resolve/",
        "model.safetensors",
        "put it at",
        "SEGMENTA_OFFLINE is set",
    ] {
        assert!(offline.stderr.contains(word), "{}", offline.stderr);
    }
    let pulled = online(&room, &server, &line).succeeded();
    assert!(
        pulled
            .stderr
            .contains("smp-hub/mobilenet_v2.imagenet · licence: BSD-3-Clause"),
        "{}",
        pulled.stderr
    );
    let again = room.line(&line).succeeded();
    assert_eq!(again.stdout, pulled.stdout);
    assert!(again.stderr.is_empty(), "{}", again.stderr);
    let listed = room.line("models encoders mobilenet_v2 --json").succeeded();
    let rows: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(rows[0]["path"], again.stdout.trim());
    assert!(rows[1]["path"].is_null());

    let wrong = room.line("models pull resnet34 --weights swsl");
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("imagenet, IMAGENET1K_V1"),
        "{}",
        wrong.stderr
    );
    let no_encoder = room.line("models pull fcn_resnet50 --weights imagenet");
    assert_eq!(no_encoder.code, Some(2), "{}", no_encoder.stderr);
}

#[cfg(feature = "train")]
#[test]
fn a_new_network_begins_with_imagenet_s_weights() {
    use segmenta_weights::{ModelCard, StateDict};

    let room = crate::train::with_data();
    let server = hub(&room);
    let recipe = "[model]\nencoder = \"mobilenet_v2\"\nclasses = 1\n\
                  settings = { encoder_depth = 3, decoder_channels = [8, 8, 8] }\n\
                  [input]\nsize = [32, 32]\n[train]\nepochs = 1\nbatch = 4\npreviews = 1\n";
    room.write("my.toml", recipe);
    let line = "train my.toml --data set -o run";

    // Without a network and without the file the run does not begin, and leaves nothing.
    let offline = room.line(line);
    assert_eq!(offline.code, Some(1));
    for word in [
        "mobilenet_v2 cannot begin with the weights `imagenet`",
        "put it at",
        "models--smp-hub--mobilenet_v2.imagenet",
        "--set model.encoder_weights=none",
    ] {
        assert!(offline.stderr.contains(word), "{}", offline.stderr);
    }
    assert!(!room.exists("run"));

    let begun = online(&room, &server, line).succeeded();
    for word in [
        "mobilenet_v2 begins with the weights `imagenet` · smp-hub/mobilenet_v2.imagenet at e67aa804",
        "cc-by-nc-4.0 · NOT FOR COMMERCIAL USE",
        "to begin fresh: model.encoder_weights = \"none\"",
        "the classifier `classifier` among them",
    ] {
        assert!(begun.stderr.contains(word), "{word}: {}", begun.stderr);
    }
    let config = fs::read_to_string(room.path("run/config.toml")).unwrap();
    assert!(
        config.contains("encoder_weights = \"imagenet\""),
        "{config}"
    );
    assert!(config.contains("0.25"), "{config}");

    // It goes on without a network, and whose weights they were stays known.
    room.line("train my.toml --data set -o run --resume --set train.epochs=2")
        .succeeded();
    let dict = StateDict::open(&room.path("run/model.safetensors")).unwrap();
    let card = ModelCard::from_metadata(dict.metadata()).unwrap().unwrap();
    assert_eq!(card.preprocessing.std, [0.25; 3]);
    let licence = card.licence.unwrap();
    assert!(
        licence.starts_with("cc-by-nc-4.0 (trained from"),
        "{licence}"
    );
    let predict = room
        .line("predict set/images/0.png -w run/model.safetensors -o out")
        .succeeded();
    assert!(
        predict.stderr.contains("NOT FOR COMMERCIAL USE"),
        "{}",
        predict.stderr
    );

    // What is there already is taken without a network; a word that means nothing is wrong usage.
    room.line(
        "train my.toml --data set -o other --max-steps 1 --set model.encoder_weights=imagenet",
    );
    assert!(room.exists("other/config.toml"));
    let unknown =
        room.line("train my.toml --data set -o third --set model.encoder_weights=advprop");
    assert_eq!(unknown.code, Some(2));
    assert!(
        unknown
            .stderr
            .contains("mobilenet_v2 has imagenet, IMAGENET1K_V1, IMAGENET1K_V2"),
        "{}",
        unknown.stderr
    );

    // torchvision's file, put where it was asked for.
    let other = "train my.toml --data set -o fourth --max-steps 1 --set model.encoder_weights=IMAGENET1K_V2";
    let missing = room.line(other);
    assert!(
        missing.stderr.contains("mobilenet_v2-7ebf99e0.pth"),
        "{}",
        missing.stderr
    );
    room.write(
        "home/mobilenet_v2-7ebf99e0.pth",
        fs::read(room.path("weights")).unwrap(),
    );
    let taken = room.line(other);
    assert!(
        taken.stderr.contains("licence: BSD-3-Clause"),
        "{}",
        taken.stderr
    );
}
