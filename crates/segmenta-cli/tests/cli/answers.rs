//! What a network answers, as the command line meets it: coarse maps, activations, thresholds, a label of the whole
//! picture, numbers that are none.

use std::collections::BTreeMap;
use std::fs;

use segmenta_graph::Role;
use segmenta_image::{LabelMap, Palette};
use segmenta_weights::{TensorView, save};
use segmenta_zoo::{Options, find, find_encoder};

use crate::tensors::npy;
use crate::{Room, save_random, snapshot};

/// FPN on MobileNetV2 with narrow maps: a state dict that says nothing of what follows its logits.
fn fpn(room: &Room, classes: usize) {
    let mut options = Options {
        encoder: Some(find_encoder("mobilenet_v2").unwrap()),
        ..Options::new(classes)
    };
    for (name, value) in [
        ("decoder_pyramid_channels", "32"),
        ("decoder_segmentation_channels", "32"),
        ("aux_params", "{\"classes\": 4}"),
    ] {
        options.set(name, value).unwrap();
    }
    let graph = find("fpn").unwrap().build(&options).unwrap();
    save_random(&room.path("fpn.safetensors"), &graph, &BTreeMap::new());
}

fn mask(room: &Room, folder: &str) -> LabelMap {
    LabelMap::open(room.path(folder).join("a.mask.png")).unwrap()
}

#[test]
fn a_coarse_map_makes_masks_and_scores() {
    let room = Room::new();
    fpn(&room, 3);
    room.picture("in/a.png", 61, 45);
    let truth = LabelMap::new(61, 45, vec![1; 61 * 45]).unwrap();
    fs::create_dir_all(room.path("truth")).unwrap();
    truth
        .save(room.path("truth/a.png"), &Palette::voc())
        .unwrap();
    for upsampling in [1, 2, 3, 8] {
        let model = format!("-m fpn -w fpn.safetensors --set upsampling={upsampling}");
        for how in [
            "",
            "--tta flip",
            "--tile 32 --overlap 8",
            "--tile 32 --overlap 8 --tta flip",
        ] {
            let line = format!("predict in {model} {how} -o out --what mask,probability");
            room.line(&line).succeeded();
            assert_eq!(mask(&room, "out").size(), (61, 45), "{upsampling} {how}");
        }
        let line = format!("eval {model} --images in --masks truth --by-place --json");
        let answer = room.line(&line).succeeded();
        assert!(answer.stdout.contains("\"mIoU\""), "{}", answer.stdout);
    }
}

#[test]
fn an_activation_changes_no_mask_of_one_class() {
    let room = Room::new();
    fpn(&room, 1);
    room.picture("a.png", 64, 48);
    let model = "-m fpn -w fpn.safetensors --what mask,probability";
    room.line(&format!("predict a.png {model} -o logits"))
        .succeeded();
    let logits = mask(&room, "logits");
    for activation in ["sigmoid", "tanh"] {
        let line = format!("predict a.png {model} --set activation={activation} -o {activation}");
        room.line(&line).succeeded();
        let other = mask(&room, activation);
        let differ = logits.ids().iter().zip(other.ids()).filter(|(a, b)| a != b);
        assert!(differ.count() * 100 <= logits.ids().len(), "{activation}");
    }
    let constant = room.line(&format!("predict a.png {model} --set activation=softmax2d"));
    assert_eq!(constant.code, Some(2));
    assert!(
        constant.stderr.contains("no softmax over one class"),
        "{}",
        constant.stderr
    );
}

#[test]
fn a_threshold_is_for_one_class() {
    let room = Room::with_model();
    fpn(&room, 1);
    room.picture("a.png", 64, 48);
    let count = |threshold: &str| {
        let line =
            format!("predict a.png -m fpn -w fpn.safetensors --threshold {threshold} -o out -q");
        room.line(&line).succeeded();
        mask(&room, "out").counts()[1]
    };
    let counts = ["1e-30", "0.5", "0.9999999"].map(count);
    assert!(
        counts[0] >= counts[1] && counts[1] >= counts[2],
        "{counts:?}"
    );
    assert_eq!(counts[0], 64 * 48, "what is at all likely");
    let threshold = |out: &str| room.report(out)["settings"]["threshold"].clone();
    assert_eq!(threshold("out").as_f64().map(|p| p as f32), Some(0.9999999));
    room.line("predict a.png -m fpn -w fpn.safetensors -o default -q")
        .succeeded();
    assert_eq!(threshold("default"), 0.5);
    room.line("predict a.png -w tiny.safetensors -o three -q")
        .succeeded();
    assert!(
        threshold("three").is_null(),
        "the likeliest of three needs none"
    );
    for (name, line) in [
        (
            "threshold-range",
            "predict a.png -m fpn -w fpn.safetensors --threshold 1",
        ),
        (
            "threshold-classes",
            "predict a.png -w tiny.safetensors --threshold 0.3",
        ),
    ] {
        let answer = room.line(line);
        assert_eq!(answer.code, Some(2), "{}", answer.transcript());
        snapshot(name, &answer);
    }
}

/// The tiny model with a NaN in one tensor and an infinity in another.
fn broken(room: &Room) {
    let options = Options {
        width: 0.05,
        ..Options::new(3)
    };
    let graph = find("deeplabv3_mobilenet_v2")
        .unwrap()
        .build(&options)
        .unwrap();
    let parameters: Vec<_> = graph
        .parameters()
        .iter()
        .filter(|p| p.role != Role::Counter)
        .collect();
    let values: Vec<Vec<f32>> = parameters
        .iter()
        .map(|p| {
            let mut values = p.initial(0);
            match p.name.as_str() {
                "logits.weight" => values[5] = f32::INFINITY,
                "logits.bias" => values.fill(f32::NAN),
                _ => {}
            }
            values
        })
        .collect();
    let entries = parameters.iter().zip(&values);
    let views: Vec<TensorView<'_>> = entries
        .map(|(p, v)| (&*p.name, &*p.shape, &v[..]))
        .collect();
    let card = crate::tiny_card();
    let path = room.path("broken.safetensors");
    save(&path, &views, &card.to_metadata().unwrap()).unwrap();
}

#[test]
fn weights_that_are_no_numbers_are_told_by_every_command() {
    let room = Room::new();
    broken(&room);
    room.picture("in/a.png", 20, 16);
    let truth = LabelMap::new(20, 16, vec![1; 20 * 16]).unwrap();
    fs::create_dir_all(room.path("truth")).unwrap();
    truth
        .save(room.path("truth/a.png"), &Palette::voc())
        .unwrap();
    room.write("x.npy", npy("<f4", "(1, 3, 16, 24)", &[0; 3 * 16 * 24 * 4]));
    let model = "-w broken.safetensors";
    for (name, line) in [
        ("nan-predict", format!("predict in {model} -o out")),
        (
            "nan-predict-tiles",
            format!("predict in {model} -o out --tile 32 --tta flip"),
        ),
        (
            "nan-eval",
            format!("eval {model} --images in --masks truth --by-place"),
        ),
        (
            "nan-forward",
            format!("forward {model} --input x.npy --output y.npy"),
        ),
    ] {
        let answer = room.line(&line);
        assert_eq!(answer.code, Some(1), "{}", answer.transcript());
        snapshot(name, &answer);
    }
    assert!(!room.exists("out/a.mask.png") && !room.exists("y.npy"));
}

#[test]
fn a_tensor_that_is_no_numbers_is_named() {
    let room = Room::with_model();
    let mut values = vec![0.5_f32; 3 * 16 * 24];
    values[16 * 24 + 3 * 24 + 5] = f32::NAN;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    room.write("x.npy", npy("<f4", "(1, 3, 16, 24)", &bytes));
    let line = "forward -w tiny.safetensors --input x.npy --output y.npy";
    let answer = room.line(line);
    assert_eq!(answer.code, Some(1));
    snapshot("nan-input", &answer);
    assert!(!room.exists("y.npy"));
    room.line(&format!("{line} --allow-nan")).succeeded();
    assert!(room.exists("y.npy"));
}

#[test]
fn a_label_of_the_whole_picture_can_be_written() {
    let room = Room::new();
    fpn(&room, 2);
    room.write("x.npy", npy("<f4", "(1, 3, 32, 32)", &[0; 3 * 32 * 32 * 4]));
    let line = "forward -m fpn -w fpn.safetensors --name label --input x.npy --output y.npy";
    room.line(line).succeeded();
    let bytes = fs::read(room.path("y.npy")).unwrap();
    assert!(bytes.windows(12).any(|w| w == b"(1, 4, 1, 1)"));
}

/// bf16 is said where results are. The network has learned nothing, so its labels are near ties: most stay all the same.
#[test]
fn in_bf16_most_labels_are_the_same() {
    let room = Room::new();
    fpn(&room, 3);
    room.picture("a.png", 64, 48);
    let model = "-m fpn -w fpn.safetensors --what mask";
    for (precision, engine) in [
        ("f32", "portable"),
        ("bf16", "portable"),
        ("bf16", "emulated"),
    ] {
        let line = format!("predict a.png {model} --precision {precision} -o {engine}-{precision}");
        let mut command = room.command();
        let command = command.env("SEGMENTA_ENGINE", engine).args(line.split(' '));
        room.answer(command.output().unwrap()).succeeded();
        let folder = format!("{engine}-{precision}");
        let report = fs::read_to_string(room.path(&folder).join("predictions.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["model"]["precision"], precision);
        let (own, exact) = (mask(&room, &folder), mask(&room, "portable-f32"));
        let pairs = own.ids().iter().zip(exact.ids());
        let same = pairs.filter(|(a, b)| a == b).count();
        assert!(
            same >= 64 * 48 * 60 / 100,
            "{folder}: {same} of {}",
            64 * 48
        );
    }
    let help = room.line("predict a.png -m fpn -w fpn.safetensors --precision fp8");
    assert_eq!(help.code, Some(2));
    assert!(
        help.stderr.contains("auto, f32, bf16, int8"),
        "{}",
        help.stderr
    );
}

#[test]
fn an_engine_that_is_not_there() {
    let room = Room::new();
    fpn(&room, 3);
    room.picture("a.png", 20, 10);
    let mut command = room.command();
    let line = "predict a.png -m fpn -w fpn.safetensors --precision bf16";
    let command = command.env("SEGMENTA_ENGINE", "mmx").args(line.split(' '));
    let answer = room.answer(command.output().unwrap());
    assert_eq!(answer.code, Some(2));
    let told = "no engine for low precision “mmx” here · SEGMENTA_ENGINE · this processor has";
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
}

/// From a state dict to a model file in 8 bits, which says so wherever it is used.
#[test]
fn a_model_is_brought_into_8_bits() {
    let room = Room::new();
    fpn(&room, 3);
    for name in ["photos/a.png", "photos/b.png"] {
        room.picture(name, 64, 48);
    }
    let model = "quantize fpn.safetensors -m fpn --images photos";
    let answer = room.line(&format!("{model} --max-drop 100 -o small.safetensors"));
    let answer = answer.succeeded();
    assert!(answer.stderr.contains("extremes: "), "{}", answer.stderr);
    assert!(
        answer
            .stdout
            .contains("mIoU with the labels of f32 1.0000 →"),
        "{}",
        answer.stdout
    );
    assert!(answer.stdout.contains("on 2 pictures"), "{}", answer.stdout);
    let [small, large] =
        ["small.safetensors", "fpn.safetensors"].map(|f| fs::metadata(room.path(f)).unwrap().len());
    assert!(small * 3 < large, "{small} of {large} bytes");

    room.line("predict photos/a.png -w small.safetensors -o out")
        .succeeded();
    assert_eq!(room.report("out")["model"]["precision"], "int8");
    room.line("predict photos/a.png -w small.safetensors -o full --precision f32")
        .succeeded();
    assert_eq!(room.report("full")["model"]["precision"], "f32");
    let bench = room
        .line("bench forward -w small.safetensors --input 1x3x64x64 --runs 1 --json")
        .succeeded();
    assert!(
        bench.stdout.contains("\"precision\":\"int8\""),
        "{}",
        bench.stdout
    );

    let json = room
        .line(&format!(
            "{model} --max-drop 100 --range extremes --json -q"
        ))
        .succeeded();
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["ranges"], "extremes");
    assert!(report["layers"].as_array().unwrap().len() > 10);
    assert!(json.stderr.is_empty(), "{}", json.stderr);
}

#[test]
fn what_cannot_be_brought_into_8_bits_is_said() {
    let room = Room::new();
    fpn(&room, 3);
    room.picture("photos/a.png", 64, 48);
    let model = "-m fpn -w fpn.safetensors";
    for (line, code, told) in [
        (
            format!("predict photos/a.png {model} --precision int8"),
            2,
            "no model file for int8: it does not say what 8-bit numbers stand for · fpn.safetensors · quantise it first: \
             segmenta quantize",
        ),
        (
            format!("quantize {model} --images photos -o fpn.safetensors"),
            2,
            "would be written over · fpn.safetensors",
        ),
        (
            format!("quantize {model} --images photos --precision bf16"),
            2,
            "a precision for what becomes int8",
        ),
        (
            format!("quantize {model} --images nowhere"),
            1,
            "no picture to find ranges on",
        ),
        (format!("quantize {model}"), 2, "--data"),
        (
            format!("quantize {model} --images photos --max-drop 101"),
            2,
            "points of a score",
        ),
        (
            format!("quantize {model} --images photos --range percentile=40"),
            2,
            "no percentile above 50",
        ),
        (
            format!("quantize {model} --images photos -o no/folder/x.safetensors"),
            2,
            "no such folder to write to · no/folder/x.safetensors",
        ),
    ] {
        let answer = room.line(&line);
        assert_eq!(answer.code, Some(code), "{line}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{line}: {}", answer.stderr);
    }
}
