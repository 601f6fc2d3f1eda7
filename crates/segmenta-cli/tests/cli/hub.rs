//! Models of the Hugging Face hub: from a folder, and from a hub on this machine.

#[expect(dead_code, reason = "what was asked is looked at elsewhere")]
#[path = "../../../segmenta-hub/tests/hub/server.rs"]
pub(crate) mod server;

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
    write_as(room, "net");
}

fn write_as(room: &Room, name: &str) {
    let folder = room.path(name);
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

#[test]
fn a_model_is_saved_as_a_folder_of_its_library() {
    let room = Room::with_model();
    room.picture("photo.png", 50, 30);
    write(&room);
    let saved = room.line("models save net -o folder").succeeded();
    assert!(saved.stderr.contains("transformers"), "{}", saved.stderr);
    assert_eq!(
        room.files("folder"),
        [
            "README.md",
            "config.json",
            "model.safetensors",
            "preprocessor_config.json"
        ]
    );
    // It is the same network, under the same licence.
    room.line("predict photo.png -m ./net -o one").succeeded();
    let said = room
        .line("predict photo.png -m ./folder -o two")
        .succeeded()
        .stderr;
    assert!(
        said.contains("cc-by-nc-4.0 · NOT FOR COMMERCIAL USE"),
        "{said}"
    );
    let [one, two] = ["one", "two"].map(|out| fs::read(room.path(format!("{out}/photo.mask.png"))));
    assert_eq!(one.unwrap(), two.unwrap());
    let again = room.line("models save net -o folder");
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("holds a model already"),
        "{}",
        again.stderr
    );
    let neither = room.line("models save tiny.safetensors -o other");
    assert_eq!(neither.code, Some(1), "{}", neither.transcript());
    assert!(!room.exists("other"));
}

/// A folder of SMP learns classes of one's own.
#[cfg(feature = "train")]
#[test]
fn a_model_is_trained_on_to_other_classes() {
    let room = crate::train::with_data();
    let recipe = "[model]\nencoder = \"mobilenet_v2\"\nencoder_weights = \"none\"\nclasses = 1\n\
                  settings = { encoder_depth = 3, decoder_channels = [8, 8, 8] }\n\
                  [input]\nsize = [32, 32]\nstd = [0.5, 0.5, 0.5]\n[train]\nepochs = 1\nbatch = 4\n";
    room.write("first.toml", recipe);
    room.line("train first.toml --data set -o first")
        .succeeded();
    let saved = room
        .line("models save first/model.safetensors -o net")
        .succeeded();
    assert!(
        saved.stderr.contains("no words for classes"),
        "{}",
        saved.stderr
    );
    room.write("net/README.md", "---\nlicense: cc-by-nc-4.0\n---\n");

    let recipe =
        "[model]\narch = \"./net\"\n[input]\nsize = [32, 32]\n[train]\nepochs = 1\nbatch = 4\n";
    room.write("my.toml", recipe);
    let line = "train my.toml --data set -o run";
    let begun = room.line(line).succeeded();
    for word in [
        "unet begins with ./net",
        "cc-by-nc-4.0 · NOT FOR COMMERCIAL USE",
        "have another shape there (`segmentation_head.0.weight`, …): begin fresh",
    ] {
        assert!(begun.stderr.contains(word), "{word}: {}", begun.stderr);
    }
    let config = fs::read_to_string(room.path("run/config.toml")).unwrap();
    assert!(config.contains("hub = \"./net\""), "{config}");

    // It goes on by the recipe that names the folder, and without the folder, too.
    fs::rename(room.path("net"), room.path("moved")).unwrap();
    room.line(&format!("{line} --resume --set train.epochs=2"))
        .succeeded();
    let predict = "predict set/images/0.png -w run/model.safetensors -o one";
    let said = room.line(predict).succeeded().stderr;
    assert!(said.contains("trained from the weights ./net"), "{said}");
}

/// A network of transformers learns classes of one's own: masks are of the picture's size, its logits are not.
#[cfg(feature = "train")]
#[test]
fn a_network_of_transformers_is_trained_on() {
    let room = crate::train::with_data();
    write(&room);
    let recipe = "[model]\narch = \"./net\"\n[train]\nepochs = 1\nbatch = 4\n";
    room.write("my.toml", recipe);
    let line = "train my.toml --data set -o run";
    let begun = room.line(line).succeeded();
    for word in [
        "SegformerForSemanticSegmentation begins with ./net",
        "cc-by-nc-4.0 · NOT FOR COMMERCIAL USE",
        "resized to 64x64",
        "have another shape there (`decode_head.classifier.weight`, …): begin fresh",
    ] {
        assert!(begun.stderr.contains(word), "{word}: {}", begun.stderr);
    }
    room.line(&format!("{line} --resume --set train.epochs=2"))
        .succeeded();
    room.line("eval --data set -w run/model.safetensors")
        .succeeded();
    let predict = |model: &str, out: &str| {
        let line = format!("predict set/images/0.png -w {model} -o {out}");
        let said = room.line(&line).succeeded().stderr;
        assert!(said.contains("trained from the weights ./net"), "{said}");
        fs::read(room.path(format!("{out}/0.mask.png"))).unwrap()
    };
    let mask = predict("run/model.safetensors", "one");
    // As a folder of transformers it is the same network, with the data's classes.
    room.line("models save run/model.safetensors -o folder")
        .succeeded();
    let config = fs::read_to_string(room.path("folder/config.json")).unwrap();
    assert!(config.contains("\"1\": \"foreground\""), "{config}");
    let processor = fs::read_to_string(room.path("folder/preprocessor_config.json")).unwrap();
    assert!(processor.contains("\"height\": 64"), "{processor}");
    assert_eq!(predict("folder", "two"), mask);
}

/// An encoder by itself, as image classification leaves it, begins a network whose head is fresh.
#[cfg(feature = "train")]
#[test]
fn an_encoder_alone_begins_a_network() {
    let room = crate::train::with_data();
    write(&room);
    let dict = StateDict::open(&room.path("net/model.safetensors")).unwrap();
    let whole = find("SegformerForSemanticSegmentation").unwrap();
    let config = fs::read_to_string(room.path("net/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    // More classes than label maps hold, which are the classifier's.
    let labels = (0..1000).map(|id| (id.to_string(), json!(format!("LABEL_{id}"))));
    config["id2label"] = labels.collect::<serde_json::Map<_, _>>().into();
    let recipe = "[input]\nsize = [32, 32]\n[train]\nepochs = 1\nbatch = 4\n";
    room.write("my.toml", recipe);
    for (name, class, prefix) in [
        ("mit", "SegformerForImageClassification", ""),
        ("bare", "SegformerModel", "segformer."),
    ] {
        let names = dict.names().filter(|name| name.starts_with("segformer."));
        let entries: Vec<(String, Vec<usize>, Vec<f32>)> = names
            .map(|name| {
                let shape = dict.get(name).unwrap().shape.clone();
                let old = whole.former_name(name).unwrap_or_else(|| name.into());
                let old = old.strip_prefix(prefix).unwrap().to_owned();
                (old, shape, dict.read_f32(name).unwrap())
            })
            .collect();
        let mut views: Vec<TensorView<'_>> = entries
            .iter()
            .map(|(name, shape, values)| (&**name, &shape[..], &values[..]))
            .collect();
        let head = vec![0.5; 32 * 1000];
        views.push(("classifier.weight", &[1000, 32], &head));
        fs::create_dir(room.path(name)).unwrap();
        config["architectures"] = json!([class]);
        room.write(format!("{name}/config.json"), config.to_string());
        save(
            &room.path(format!("{name}/model.safetensors")),
            &views,
            &[].into(),
        )
        .unwrap();
        let line = format!("train my.toml --data set -o run-{name} --set model.arch=./{name}");
        let begun = room.line(&line).succeeded();
        let taken = format!("{} entries from", entries.len());
        for word in [
            "an encoder alone: the head begins fresh",
            "the classifier `classifier` among them",
            &taken,
        ] {
            assert!(begun.stderr.contains(word), "{word}: {}", begun.stderr);
        }
        assert!(!begun.stderr.contains("not there"), "{}", begun.stderr);
        let refused = room.line(&format!("predict set/images/0.png -m ./{name}"));
        assert_eq!(refused.code, Some(1));
        assert!(
            refused.stderr.contains("an encoder alone"),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains("model.arch"), "{}", refused.stderr);
    }
}
