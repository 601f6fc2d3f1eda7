//! `segmenta eval`: what it measures and what it refuses.

use segmenta_image::{LabelMap, Palette};
use serde_json::Value;

use crate::{Room, snapshot};

/// Two pictures whose masks are what `value` says of each pixel, beside a model of sky, tree and road.
fn with_masks(value: impl Fn(usize) -> u8) -> Room {
    let room = Room::with_model();
    for name in ["a", "b"] {
        room.picture(format!("set/images/{name}.png"), 24, 16);
        write(&room, name, &value);
    }
    room
}

fn write(room: &Room, name: &str, value: impl Fn(usize) -> u8) {
    let map = LabelMap::new(24, 16, (0..24 * 16).map(value).collect()).unwrap();
    room.write(format!("set/masks/{name}.png"), map.to_png(&Palette::voc()));
}

fn json(room: &Room, line: &str) -> Value {
    serde_json::from_str(&room.line(line).succeeded().stdout).unwrap()
}

const EVAL: &str = "eval --weights tiny.safetensors --data set";

#[test]
fn nothing_but_255_is_nothing_to_measure() {
    let room = with_masks(|_| 255);
    let answer = room.line(EVAL).succeeded();
    snapshot("eval-void", &answer);
    let folders = "eval --weights tiny.safetensors --images set/images --masks set/masks --json";
    let found = json(&room, folders);
    assert!(found["scores"]["mIoU"]["value"].is_null(), "{found}");
    assert_eq!(found["ignored_pixels"], 2 * 24 * 16);
}

#[test]
fn white_on_black_is_no_class_of_three_by_chance() {
    let room = with_masks(|i| (i % 2) as u8 * 255);
    let answer = room.line(EVAL);
    assert_eq!(answer.code, Some(2), "{}", answer.transcript());
    snapshot("eval-white", &answer);
    let void = json(&room, &format!("{EVAL} --masks ids --json"));
    assert_eq!(void["classes"][1]["pixels"], 0);
    let protocol = void["scores"]["mIoU"]["protocol"].as_str().unwrap();
    assert!(
        protocol.ends_with("pixels labelled 255 ignored; on all pictures, 2 pictures"),
        "{protocol}"
    );
    let counted = json(&room, &format!("{EVAL} --masks 0/255 --by-place --json"));
    assert_eq!(counted["classes"][1]["pixels"], 24 * 16);
    let protocol = counted["scores"]["mIoU"]["protocol"].as_str().unwrap();
    assert!(protocol.contains("; no pixel ignored;"), "{protocol}");
    // With --images the rule is said beside the folder.
    let folders =
        "eval --weights tiny.safetensors --images set/images --masks set/masks --masks ids --json";
    assert_eq!(json(&room, folders)["scores"], void["scores"]);
}

#[test]
fn classes_go_by_their_names() {
    let room = with_masks(|i| (i % 3) as u8);
    room.write("set/classes.txt", "sky\ntree\nroad\n");
    let straight = json(&room, &format!("{EVAL} --json"));
    assert_eq!(straight["matched_by"], "name");
    for name in ["a", "b"] {
        write(&room, name, |i| [2, 0, 1][i % 3]);
    }
    room.write("set/classes.txt", "Tree\nroad\nsky\n");
    let turned = json(&room, &format!("{EVAL} --json"));
    assert_eq!(turned["confusion"], straight["confusion"]);
    let by_place = json(&room, &format!("{EVAL} --by-place --json"));
    assert_ne!(by_place["confusion"], straight["confusion"]);
    room.write("set/classes.txt", "tree\nsea\nsand\n");
    let answer = room.line(EVAL);
    assert_eq!(answer.code, Some(2), "{}", answer.transcript());
    snapshot("eval-names", &answer);
    room.line(&format!("{EVAL} --by-place")).succeeded();
}

/// A COCO document with a shape outside its picture and one without an outline, in a folder of three pictures.
pub(crate) fn with_faulty_annotations() -> Room {
    let room = Room::with_model();
    let mut images = Vec::new();
    let mut annotations = Vec::new();
    for id in 0..3 {
        room.picture(format!("coco/{id}.png"), 64, 48);
        images.push(format!(
            r#"{{"id":{id},"file_name":"{id}.png","width":64,"height":48}}"#
        ));
        annotations.push(format!(
            r#"{{"id":{id},"image_id":{id},"category_id":1,"segmentation":[[4,4,40,4,40,30]]}}"#
        ));
    }
    annotations.push(r#"{"id":7,"image_id":1,"category_id":1,"bbox":[0,0,1,1]}"#.into());
    annotations.push(
        r#"{"id":8,"image_id":2,"category_id":1,"segmentation":[[900,4,940,4,940,30]]}"#.into(),
    );
    let (images, annotations) = (images.join(","), annotations.join(","));
    room.write(
        "coco/annotations.json",
        format!(
            r#"{{"images":[{images}],"categories":[{{"id":1,"name":"tree"}}],"annotations":[{annotations}]}}"#
        ),
    );
    room
}

#[test]
fn faults_of_annotations_are_told_in_the_words_of_convert() {
    let room = with_faulty_annotations();
    let warnings = |line: &str| -> Vec<String> {
        let said = room.line(line).succeeded().stderr;
        let warnings = said.lines().filter(|line| line.starts_with("warning: "));
        let words = |line: &str| line.replace("coco/annotations.json", "coco");
        warnings.map(words).collect()
    };
    let converted = warnings("data convert coco coco/annotations.json -o masks");
    assert_eq!(converted.len(), 2, "{converted:?}");
    assert!(converted[0].contains("1 annotation without a segmentation"));
    assert!(converted[1].contains("1 shape outside the picture"));
    assert_eq!(
        warnings("eval --weights tiny.safetensors --data coco --by-place -q"),
        converted
    );
}

#[test]
fn tiles_and_mirrored_averages_are_measured_and_said() {
    let room = with_masks(|i| (i % 3) as u8);
    let tiled = room.line(&format!("{EVAL} --tile 16 --overlap 4 --tta flip"));
    let (stdout, plain) = (tiled.succeeded().stdout, room.line(EVAL).succeeded().stdout);
    let how = "averaged with mirror images, in tiles of 16 pixels that overlap by 4";
    assert_eq!(
        stdout.matches(how).count(),
        5,
        "each score says it: {stdout}"
    );
    assert!(
        !plain.contains("tiles") && !plain.contains("mirror"),
        "{plain}"
    );
    let found = json(&room, &format!("{EVAL} --tile 16 --json"));
    let settings = &found["settings"];
    assert_eq!(
        (&settings["tile"], &settings["overlap"]),
        (&16.into(), &2.into())
    );
    assert!(settings["tta"].is_null() && settings["threshold"].is_null());
    let protocol = found["scores"]["mIoU"]["protocol"].as_str().unwrap();
    assert!(
        protocol.contains("in tiles of 16 pixels that overlap by 2;"),
        "{protocol}"
    );
    for (wrong, part) in [
        ("--tile 8", "from 16 on"),
        ("--tile 16 --overlap 9", "cannot overlap by 9"),
        ("--overlap 4", "--tile"),
        ("--tta scale", "flip"),
    ] {
        let answer = room.line(&format!("{EVAL} {wrong}"));
        assert_eq!(answer.code, Some(2), "{}", answer.transcript());
        assert!(answer.stderr.contains(part), "{}", answer.stderr);
    }
}

#[test]
fn what_breaks_the_rule_or_is_left_out_is_said() {
    let room = with_masks(|i| u8::from(i % 2 == 0));
    write(
        &room,
        "b",
        |i| if i == 7 { 200 } else { u8::from(i % 2 == 0) },
    );
    let answer = room.line(EVAL);
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
    snapshot("eval-broken", &answer);
    write(&room, "b", |i| (i % 2) as u8);
    room.picture("set/images/alone.png", 24, 16);
    let answer = room.line(EVAL).succeeded();
    assert!(
        answer.stderr.contains("left out") && answer.stderr.contains("alone.png"),
        "{}",
        answer.stderr
    );
    let wrong = room.line(&format!("{EVAL} --masks white"));
    assert_eq!(wrong.code, Some(2), "{}", wrong.transcript());
    snapshot("eval-rule", &wrong);
}

#[test]
fn classes_that_are_nowhere_have_no_row_unless_asked_for() {
    // Nothing but the class that the tiny network never names would be luck: masks of one class, all classes asked for.
    let room = with_masks(|_| 1);
    let rows = |flags: &str| {
        let said = room
            .line(&format!("{EVAL} --masks ids {flags}"))
            .succeeded()
            .stdout;
        let names = ["sky", "tree", "road"];
        let is_row = |line: &&str| names.iter().any(|name| line.starts_with(name));
        (said.lines().filter(is_row).count(), said)
    };
    let (all, _) = rows("--all-classes");
    let (some, said) = rows("");
    assert_eq!(all, 3);
    assert_eq!(some < 3, said.contains("neither there nor found"), "{said}");
    assert!(said.contains("pixels right"), "{said}");
}

#[test]
fn the_worst_pictures_are_written() {
    let room = with_masks(|i| (i % 3) as u8);
    let answer = room.line(&format!("{EVAL} --worst 1 -o bad")).succeeded();
    assert!(answer.stderr.contains("1 picture"), "{}", answer.stderr);
    let files = room.files("bad");
    assert_eq!(files.len(), 1, "{files:?}");
    let drawn = segmenta_image::Picture::open(room.path(format!("bad/{}", files[0]))).unwrap();
    assert_eq!(
        drawn.size(),
        (3 * 24 + 4 * 4, 16 + 2 * 4),
        "three side by side"
    );
}

/// A page in one file, and the same numbers for programs.
#[test]
fn a_report_says_where_errors_lie() {
    let room = with_masks(|i| {
        if i % 24 < 12 {
            0
        } else {
            1 + (i / 24 % 2) as u8
        }
    });
    room.write("set/classes.txt", "sky\ntree\nroad\n");
    let plain = json(&room, &format!("{EVAL} --json"));
    let told = json(&room, &format!("{EVAL} --json --report out"));
    assert_eq!(told["scores"], plain["scores"]);
    let page = std::fs::read_to_string(room.path("out/index.html")).unwrap();
    for part in [
        "Where errors lie",
        "By size",
        "Reliability",
        "The worst pictures",
        "default-src 'none'",
        "sky",
        "set",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Nothing is loaded from elsewhere.
    assert!(
        !page.contains("src=\"http") && !page.contains("href="),
        "{page}"
    );
    let scores = std::fs::read_to_string(room.path("out/scores.json")).unwrap();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!(scores["scores"], plain["scores"]);
    let right = |of: &Value| of["right"].as_u64().unwrap();
    let all = right(&scores["boundary"]["near"]) + right(&scores["boundary"]["elsewhere"]);
    let bins = scores["calibration"]["bins"].as_array().unwrap();
    assert_eq!(bins.iter().map(right).sum::<u64>(), all);
    let pixels = |of: &Value| of["pixels"].as_u64().unwrap();
    assert_eq!(bins.iter().map(pixels).sum::<u64>(), 2 * 24 * 16);
    assert_eq!(
        scores["sizes"]
            .as_array()
            .unwrap()
            .iter()
            .map(pixels)
            .sum::<u64>(),
        2 * 24 * 16
    );
    let pictures = std::fs::read_to_string(room.path("out/pictures.csv")).unwrap();
    assert_eq!(pictures.lines().count(), 3);
    // What cannot be written is told before the work.
    room.write("file", "");
    let answer = room.line(&format!("{EVAL} --report file"));
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
}
