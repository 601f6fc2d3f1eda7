//! The book in `docs/book`: its commands are run, its links lead somewhere, its reference pages are what the code says.
//!
//! Blocks of `sh` are run line by line, a page in a folder of its own with the data that pages speak of: `photo.jpg`,
//! `bird.png`, `photos/`, `dataset/test_set/`, `persons/`, `pets/`, `mine/`, `VOCdevkit/VOC2012`, `tiny.safetensors`. What
//! would take a network or an hour is made small: published weights are a tiny network's, and runs get the settings of
//! [`SMALL`] where the command does not say them. Blocks of `sh no-run` are not run.
//!
//! `UPDATE_BOOK=1 cargo test -p segmenta-cli --test cli book` writes the reference pages again.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta_image::{LabelMap, Palette};

use crate::Room;

/// What makes any recipe's run one of a moment.
const SMALL: [(&str, &str); 8] = [
    ("train.epochs", "1"),
    ("train.batch", "2"),
    ("train.previews", "1"),
    ("input.size", "[32,32]"),
    ("augment", "[]"),
    ("model.encoder_weights", "none"),
    ("data.workers", "1"),
    ("train.drop_last", "true"),
];

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/book")
}

/// The book's pages, with their texts.
fn pages() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, pages: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, pages);
            } else if path.extension().is_some_and(|e| e == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.push((path, text));
            }
        }
    }
    let mut all = Vec::new();
    walk(&book(), &mut all);
    all.sort();
    all
}

/// The lines of a page's blocks of this kind.
fn lines(text: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(info) = line.strip_prefix("```") {
            inside = !inside && info == kind;
        } else if inside && !line.trim().is_empty() {
            found.push(line.to_owned());
        }
    }
    found
}

/// A folder with everything that pages speak of.
fn furnished() -> Room {
    let room = Room::with_model();
    for name in [
        "photo.jpg",
        "bird.png",
        "photos/a.jpg",
        "photos/b.jpg",
        "field.png",
    ] {
        room.picture(name, 300, 260);
    }
    for n in 0..3 {
        room.picture(format!("dataset/test_set/cats/{n}.jpg"), 48, 40);
        room.picture(format!("dataset/test_set/dogs/{n}.jpg"), 40, 48);
    }
    let masks = |folder: &str, pictures: &str, masks: &str, ids: [u8; 3], count: usize| {
        for n in 0..count {
            // Pictures of different content: one in two splits would be an error.
            let width = 48 + n;
            room.picture(format!("{folder}/{pictures}/{n}.jpg"), width, 40);
            let id = |i: usize| ids[(i % width / (14 + n)).min(2)];
            let map = LabelMap::new(width, 40, (0..width * 40).map(id).collect()).unwrap();
            room.write(
                format!("{folder}/{masks}/{n}.png"),
                map.to_png(&Palette::voc()),
            );
        }
    };
    masks("persons", "images", "masks", [0, 255, 0], 5);
    fs::remove_file(room.path("persons/images/0.jpg")).unwrap();
    room.picture("persons/images/0.png", 48, 40);
    masks("mine", "images", "masks", [0, 1, 2], 5);
    masks("pets", "images", "annotations/trimaps", [1, 2, 3], 5);
    let learned = "0 1 1 1\n1 1 1 1\n2 1 1 1\n";
    room.write("pets/annotations/trainval.txt", learned);
    room.write("pets/annotations/test.txt", "3 1 1 1\n4 1 1 1\n");
    masks(
        "VOCdevkit/VOC2012",
        "JPEGImages",
        "SegmentationClass",
        [0, 1, 15],
        4,
    );
    room.write(
        "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt",
        "0\n1\n",
    );
    room.write("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "2\n3\n");
    room.write(
        "mine.toml",
        "[model]\narch = \"unet\"\nencoder = \"resnet18\"\n[input]\nsize = [32, 32]\n[train]\nepochs = 20\n",
    );
    save_resnet18(&room.path("resnet18.pth"));
    room
}

/// A backbone as torchvision saves it, with the layer that classifies pictures.
fn save_resnet18(path: &Path) {
    let graph = segmenta_zoo::find("fcn_resnet18").unwrap();
    let graph = graph.build(&segmenta_zoo::Options::new(2)).unwrap();
    let entries = graph.parameters().iter();
    let backbone = entries.filter_map(|p| Some((p.name.strip_prefix("backbone.")?.to_owned(), p)));
    let mut entries: Vec<(String, Vec<usize>, Vec<f32>)> = backbone
        .map(|(name, p)| (name, p.shape.clone(), vec![0.01; p.len()]))
        .collect();
    entries.push(("fc.weight".into(), vec![10, 512], vec![0.0; 5120]));
    let views: Vec<_> = entries
        .iter()
        .map(|(n, s, v)| (&**n, &s[..], &v[..]))
        .collect();
    // The format is told by the bytes, whatever the file is called.
    segmenta_weights::save(path, &views, &[].into()).unwrap();
}

/// A command of the book as it is run here.
fn small(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let command = words.get(1).copied().unwrap_or_default();
    let mut more: Vec<String> = Vec::new();
    let has = |words: &[&str], flag: &str| words.contains(&flag);
    if ["predict", "eval"].contains(&command) && !has(&words, "--weights") {
        // Published weights are the tiny network's.
        for flag in ["--model", "-m"] {
            if let Some(at) = words.iter().position(|word| *word == flag) {
                words.drain(at..at + 2);
            }
        }
        more.push("--model deeplabv3_mobilenet_v2 --weights tiny.safetensors".into());
    }
    if command == "train" && !has(&words, "--resume") && !has(&words, "--explain") {
        for (key, value) in SMALL {
            let said = words
                .iter()
                .any(|word| word.starts_with(&format!("{key}=")));
            if !said {
                more.push(format!("--set {key}={value}"));
            }
        }
        if !line.contains("-o ") {
            more.push("--overwrite".into());
        }
    }
    if command == "quantize" {
        more.push("--max-drop 100 --pictures 2".into());
    }
    [words.join(" "), more.join(" ")].join(" ")
}

/// Pages whose commands need what another page's left.
const BEFORE: [(&str, &str); 2] = [
    (
        "coming-from.md",
        "segmenta train mine.toml --data mine -o runs/mine",
    ),
    (
        "scores.md",
        "segmenta train pets-segnet --data pets -o runs/pets",
    ),
];

#[cfg(unix)]
#[test]
fn book_commands_do_what_is_said() {
    let mut ran = 0;
    for (path, text) in pages() {
        let commands = lines(&text, "sh");
        if commands.is_empty() {
            continue;
        }
        let room = furnished();
        let before = BEFORE.iter().filter(|(page, _)| path.ends_with(page));
        let before: Vec<String> = before.map(|(_, line)| (*line).to_owned()).collect();
        for line in before.iter().chain(&commands) {
            let answer = room.shell(&small(line));
            assert_eq!(
                answer.code,
                Some(0),
                "{}: {line}\n{}",
                path.display(),
                answer.transcript()
            );
            ran += 1;
        }
    }
    assert!(ran > 40, "{ran} commands of the book");
}

#[test]
fn book_links_lead_somewhere() {
    let pages = pages();
    let summary = fs::read_to_string(book().join("SUMMARY.md")).unwrap();
    for (path, text) in &pages {
        let name = path
            .strip_prefix(book())
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "{name} is not in SUMMARY.md"
        );
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let file = link.split('#').next().unwrap_or_default();
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", path.display());
        }
    }
}

/// A page that is made: compared, or written where that is asked for.
fn is_made(page: &str, text: &str) {
    let path = book().join("reference").join(page);
    if std::env::var_os("UPDATE_BOOK").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "{page} is not what the code says: UPDATE_BOOK=1 cargo test -p segmenta-cli --test cli book"
    );
}

#[test]
fn book_reference_is_what_the_code_says() {
    let mut recipes = String::from(
        "# Reference: recipes\n\n<!-- Made from the code: see crates/segmenta-cli/tests/cli/book.rs -->\n\n\
         A recipe is a TOML file that says what a run is to do. It says only what differs from the defaults; `--set \
         key=value` says it on the command line. What follows is what `segmenta train --explain` prints.\n\n```toml\n",
    );
    recipes += segmenta::train::explained().trim_end();
    recipes += "\n```\n\n## Recipes that come along\n";
    for (name, text) in segmenta::recipes::TRAIN
        .iter()
        .chain(segmenta::recipes::PREDICT)
    {
        let _ = write!(
            recipes,
            "\n### {name}\n\n```toml\n{}\n```\n",
            text.trim_end()
        );
    }
    is_made("recipes.md", &recipes);

    let card = crate::tiny_card().to_metadata().unwrap();
    let (key, json) = card.iter().next().unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    let json = serde_json::to_string_pretty(&json).unwrap();
    let file = format!(
        "# Reference: the model file\n\n<!-- Made from the code: see crates/segmenta-cli/tests/cli/book.rs -->\n\n\
         A model file is safetensors: the weights under their state-dict names, and in the metadata, under `{key}`, a card \
         in JSON that says all that is needed to use them. Python's `safetensors.safe_open(file).metadata()` shows it. This \
         is version {}; unknown keys are refused, keys that are not needed may be left out.\n\n```json\n{json}\n```\n\n\
         | key | meaning |\n|---|---|\n\
         | `architecture`, `encoder`, `options` | the network, as `segmenta models` lists it; options under SMP's names |\n\
         | `classes` | names, the place of each being its id; one name is a network of one channel |\n\
         | `palette` | red, green and blue of each class |\n\
         | `preprocessing` | how a picture becomes the input: resize, crop, mean, deviation, room around it |\n\
         | `answer` | what the numbers are (`logits` if not said), and a threshold of one class |\n\
         | `int8` | ranges of the values, in files of `segmenta quantize` |\n\
         | `training` | the run: epoch, steps, scores with their protocols, configuration, weights that it began with, and the \
         digest of its `lists/` |\n\
         | `source`, `licence` | where the weights come from, and under which licence they are |\n",
        segmenta_weights::CARD_VERSION,
    );
    is_made("model-file.md", &file);
}
