//! What goes wrong is said in one line that says what, where and how to mend it.

use std::fs;

use segmenta_image::Picture;

use crate::{Answer, Room, snapshot};

/// Runs a line that must fail with `code`, and looks at what it says.
#[track_caller]
fn fails(room: &Room, name: &str, code: i32, line: &str) -> Answer {
    let answer = room.line(line);
    assert_eq!(answer.code, Some(code), "{}", answer.transcript());
    snapshot(name, &answer);
    answer
}

const PREDICT: &str = "predict a.png --weights tiny.safetensors";

#[test]
fn settings_that_cannot_be_are_wrong_usage() {
    let room = Room::with_model();
    room.picture("a.png", 20, 10);
    for (name, arguments) in [
        ("alpha", "--alpha 2"),
        ("resize", "--resize 0"),
        ("center-crop", "--center-crop 0x5"),
        ("mean", "--mean 1,2"),
        ("mean-in-bytes", "--mean 123.7,116.3,103.5"),
        ("std", "--std 0,1,1"),
        ("what", "--what masks"),
        ("batch", "--batch 0"),
        ("tile-and-crop", "--tile 64 --center-crop 5"),
        ("overlap", "--tile 90 --overlap 40"),
        ("overlap-without-tile", "--overlap 40"),
        ("unknown-flag", "--aplha 0.5"),
        ("model-of-another-name", "--model fcn_resnet50"),
    ] {
        fails(
            &room,
            &format!("usage-{name}"),
            2,
            &format!("{PREDICT} {arguments}"),
        );
    }
    assert!(!room.exists("segmentation/a.mask.png"));
}

#[test]
fn a_model_must_be_named_and_known() {
    let room = Room::new();
    room.picture("a.png", 20, 10);
    // Of the commands, `predict` alone takes a default.
    fails(&room, "model-none", 2, "bench forward");
    fails(
        &room,
        "model-misspelt",
        2,
        "predict a.png --model fcn_resnet5",
    );
    fails(&room, "model-unknown", 2, "models show yolo");
    fails(
        &room,
        "model-unpublished",
        2,
        "models pull deeplabv3_mobilenet_v2",
    );
    fails(
        &room,
        "model-encoder",
        2,
        "bench forward --model fcn_resnet50 --encoder resnet34",
    );
    fails(
        &room,
        "model-width",
        2,
        "models show fcn_resnet50 --width 0.5",
    );
}

#[test]
fn an_instruction_set_that_is_not_there() {
    let room = Room::with_model();
    room.picture("a.png", 20, 10);
    let output = room
        .command()
        .env("SEGMENTA_ISA", "sse9")
        .args(PREDICT.split(' '))
        .output();
    let answer = room.answer(output.unwrap());
    assert_eq!(answer.code, Some(2));
    snapshot("isa-unknown", &answer);
}

#[test]
fn without_a_network_the_message_says_which_file_to_put_where() {
    let room = Room::new();
    room.picture("a.png", 20, 10);
    fails(
        &room,
        "offline-predict",
        1,
        "predict a.png --model fcn_resnet50",
    );
    fails(
        &room,
        "offline-pull",
        1,
        "models pull fcn_resnet50 lraspp_mobilenet_v3_large",
    );
}

#[test]
fn inputs_that_are_not_there() {
    let room = Room::with_model();
    fs::create_dir(room.path("empty")).unwrap();
    room.write("notes/a.txt", "no picture");
    let line = "predict missing.jpg empty notes nothing/*.jpg *.gif --weights tiny.safetensors";
    fails(&room, "inputs-missing", 1, line);
}

#[test]
fn pictures_that_are_damaged_are_listed_and_the_good_ones_done() {
    let room = Room::with_model();
    room.picture("in/good.jpg", 40, 30);
    room.picture("in/cut.jpg", 40, 30);
    let bytes = fs::read(room.path("in/cut.jpg")).unwrap();
    room.write("in/cut.jpg", &bytes[..bytes.len() / 2]);
    room.write("in/empty.png", "");
    room.write("in/text.png", "this is a text");
    room.write("page.html", "<html>");
    fails(
        &room,
        "pictures-damaged",
        1,
        "predict in page.html --weights tiny.safetensors",
    );
    let report = room.report("segmentation");
    assert_eq!(report["pictures"].as_array().unwrap().len(), 1);
    let failed: Vec<_> = report["failed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["file"])
        .collect();
    assert_eq!(
        failed,
        ["in/cut.jpg", "in/empty.png", "in/text.png", "page.html"]
    );
}

#[test]
fn weights_that_are_none_or_another_networks() {
    let room = Room::with_model();
    room.picture("a.png", 20, 10);
    room.write("page.pth", "<!DOCTYPE html>");
    let whole = fs::read(room.path("tiny.safetensors")).unwrap();
    room.write("cut.safetensors", &whole[..whole.len() / 2]);
    fails(
        &room,
        "weights-missing",
        1,
        "predict a.png --model fcn_resnet50 --weights none.pth",
    );
    fails(
        &room,
        "weights-page",
        1,
        "predict a.png --model fcn_resnet50 --weights page.pth",
    );
    fails(
        &room,
        "weights-cut",
        1,
        "predict a.png --weights cut.safetensors",
    );
    fails(
        &room,
        "weights-classes",
        1,
        "predict a.png --weights tiny.safetensors --classes 5",
    );
    fails(&room, "weights-is-a-folder", 1, "weights .");
    fails(
        &room,
        "weights-filter",
        2,
        "weights tiny.safetensors --filter decoder",
    );
}

/// The network's own error is said of the picture that it came with.
#[test]
fn outputs_that_cannot_be_written_are_known_before_the_model_is_loaded() {
    let room = Room::new();
    room.picture("a.png", 20, 10);
    room.write("taken", "a file");
    // There is no such model, but the folder is what is looked at first.
    fails(
        &room,
        "out-is-a-file",
        1,
        "predict a.png --weights none.pth -o taken",
    );
    fails(
        &room,
        "out-below-a-file",
        1,
        "predict a.png --weights none.pth -o taken/out",
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written() {
    let room = Room::new();
    let run = |stdout: std::process::Stdio| {
        let output = room
            .command()
            .args(["models", "--json"])
            .stdout(stdout)
            .output()
            .unwrap();
        room.answer(output)
    };
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    snapshot("stdout-full", &run(full.into()));
    // A reader that has seen enough is no error.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()).succeeded().stderr, "");
}

#[test]
fn huge_settings_end_in_a_message() {
    let room = Room::with_model();
    Picture::filled(8, 8, [9; 3])
        .save(room.path("a.png"))
        .unwrap();
    fails(
        &room,
        "size-too-large",
        2,
        "bench forward --model fcn_resnet50 --input 1x3x99999x99999",
    );
    fails(
        &room,
        "size-of-a-feature-map",
        2,
        "models show fcn_resnet50 --input 1x3x0x5",
    );
    fails(
        &room,
        "channels",
        1,
        "bench forward --weights tiny.safetensors --input 1x4x32x32",
    );
}

/// Each line has an input that is not there, which would be told first if the output were looked at later.
#[test]
fn outputs_that_cannot_be_written_are_known_before_the_work() {
    let room = Room::with_model();
    room.write("taken", "a file");
    let mut cases = vec![
        (
            "forward --weights tiny.safetensors --input x.npy --output none/y.npy",
            "make its folder first",
        ),
        (
            "forward --weights tiny.safetensors --input x.npy --output taken/y.npy",
            "a part of the path is a file",
        ),
        (
            "quantize tiny.safetensors --images none.png -o none/m.safetensors",
            "no such folder",
        ),
        ("data preview none -o none/p.png", "make its folder first"),
        ("data preview none -o p.gif", "end the name in .png or .jpg"),
        (
            "data split none --train 0.5 -o taken/lists",
            "cannot write to the output folder",
        ),
        ("data convert rgb none -o taken", "is a file"),
        (
            "data convert coco none.json -o taken/masks",
            "cannot write to the output folder",
        ),
        (
            "predict none.png --weights tiny.safetensors -o taken",
            "is a file",
        ),
    ];
    // Folders that Linux refuses to everyone, the superuser too.
    if cfg!(target_os = "linux") {
        cases.extend([
            (
                "forward --weights tiny.safetensors --input x.npy --output /proc/self/y.npy",
                "cannot write the file",
            ),
            (
                "quantize tiny.safetensors --images none.png -o /proc/self/m.safetensors",
                "cannot write the file",
            ),
            (
                "data preview none -o /proc/self/p.png",
                "cannot write the file",
            ),
            (
                "data split none --train 0.5 -o /proc/self/lists",
                "cannot write to the output folder",
            ),
            (
                "data convert cvat none.xml -o /proc/self/masks",
                "cannot write to the output folder",
            ),
            (
                "predict none.png --weights tiny.safetensors -o /proc/self/out",
                "cannot write to the output folder",
            ),
        ]);
    }
    for (line, words) in cases {
        let answer = room.line(line);
        assert!(
            answer.code != Some(0) && answer.stderr.contains(words),
            "{}",
            answer.transcript()
        );
    }
}

/// The check of all pictures, which finds the missing mask, comes after the look at the folder.
#[cfg(feature = "train")]
#[test]
fn a_run_that_has_no_place_is_refused_before_the_data_is_looked_at() {
    let room = Room::new();
    room.picture("d/images/a.png", 16, 16);
    room.picture("d/images/b.png", 16, 16);
    room.write("d/masks/a.png", "no mask");
    room.write("other/notes.txt", "mine");
    room.write("taken", "a file");
    room.write("run/config.toml", "");
    let mut cases = vec![("other", "other"), ("taken", "taken"), ("run", "a run is")];
    if cfg!(target_os = "linux") {
        cases.push(("/proc/self/run", "/proc/self/run"));
    }
    for (folder, words) in cases {
        let answer = room.line(&format!("train voc-unet --data d -o {folder}"));
        assert!(
            answer.code == Some(1)
                && answer.stderr.contains(words)
                && !answer.stderr.contains("a.png"),
            "{}",
            answer.transcript()
        );
    }
}
