//! `segmenta compare`: two models, and two precisions of one, on the same pictures.

use segmenta_image::{LabelMap, Palette, Picture};
use serde_json::Value;

use crate::Room;

fn with_data() -> Room {
    let room = Room::with_model();
    for n in 0..5 {
        room.picture(format!("set/images/{n}.png"), 40 + n, 30);
        let ids = (0..(40 + n) * 30).map(|i| (i / 7 % 3) as u8).collect();
        let map = LabelMap::new(40 + n, 30, ids).unwrap();
        room.write(format!("set/masks/{n}.png"), map.to_png(&Palette::voc()));
    }
    room.write("set/classes.txt", "sky\ntree\nroad\n");
    room
}

#[test]
fn a_model_is_as_good_as_itself() {
    let room = with_data();
    let line = "compare tiny.safetensors tiny.safetensors --data set --out differ --pictures 3";
    let answer = room.line(line).succeeded();
    for part in [
        "no difference in mIoU",
        "100.00 % of pixels labelled alike",
        "5 pictures",
        "10000 draws",
    ] {
        assert!(answer.stdout.contains(part), "{}", answer.stdout);
    }
    let told: Value =
        serde_json::from_str(&room.line(&format!("{line} --json")).succeeded().stdout).unwrap();
    assert_eq!(told["miou"]["a"], told["miou"]["b"]);
    assert_eq!(told["miou"]["interval"], serde_json::json!([0.0, 0.0]));
    assert_eq!(told["differ"].as_array().unwrap().len(), 5);
    // The scores are those of `eval`.
    let eval = room
        .line("eval --weights tiny.safetensors --data set --json")
        .succeeded();
    let eval: Value = serde_json::from_str(&eval.stdout).unwrap();
    assert_eq!(told["miou"]["a"], eval["scores"]["mIoU"]["value"]);
    assert_eq!(told["classes"][1]["a"], eval["classes"][1]["iou"]);
    assert_eq!(std::fs::read_dir(room.path("differ")).unwrap().count(), 3);
    let drawn = std::fs::read_dir(room.path("differ"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(Picture::open(drawn.path()).unwrap().width() > 4 * 40);
}

#[test]
fn two_precisions_differ_a_little() {
    let room = with_data();
    let line = "compare tiny.safetensors tiny.safetensors --precision-b bf16 --data set --json";
    let told: Value = serde_json::from_str(&room.line(line).succeeded().stdout).unwrap();
    // A network that has not learned is rarely sure, so that rounding turns many a pixel.
    let alike = told["alike"].as_f64().unwrap();
    assert!((0.5..1.0).contains(&alike), "{told}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let room = with_data();
    for (line, code, part) in [
        (
            "compare tiny.safetensors missing.safetensors --data set",
            2,
            "missing",
        ),
        ("compare tiny.safetensors tiny.safetensors", 2, "--data"),
        ("compare tiny.safetensors --data set", 2, "<B>"),
        (
            "compare tiny.safetensors tiny.safetensors --data nowhere",
            1,
            "nowhere",
        ),
        (
            "compare tiny.safetensors tiny.safetensors --data set --pictures 3",
            2,
            "--out",
        ),
    ] {
        let answer = room.line(line);
        assert_eq!(answer.code, Some(code), "{line}: {}", answer.transcript());
        assert!(answer.stderr.contains(part), "{line}: {}", answer.stderr);
    }
}
