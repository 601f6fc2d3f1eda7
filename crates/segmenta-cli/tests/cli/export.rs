//! `segmenta export`: ONNX files.

use std::fs;

use crate::Room;

const EXPORT: &str = "export tiny.safetensors --model deeplabv3_mobilenet_v2";

#[test]
fn a_model_becomes_an_onnx_file() {
    let room = Room::with_model();
    let answer = room.line(&format!("{EXPORT} -o whole.onnx")).succeeded();
    assert_eq!(answer.stdout, "whole.onnx\n");
    let whole = fs::read(room.path("whole.onnx")).unwrap();
    let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
    // Extents that are open have names.
    for word in ["BatchNormalization", "classes", "palette", "batch"] {
        assert!(has(&whole, word), "{word}");
    }

    let line = format!(
        "{EXPORT} -o fixed.onnx --size 64x96 --external-data --labels --with-preprocessing"
    );
    let answer = room.line(&line).succeeded();
    assert!(
        answer.stderr.contains("weights → fixed.onnx.data"),
        "{}",
        answer.stderr
    );
    let [fixed, data] = ["fixed.onnx", "fixed.onnx.data"].map(|f| fs::read(room.path(f)).unwrap());
    assert!(has(&fixed, "ArgMax") && has(&fixed, "preprocessing/Cast"));
    assert!(data.len() * 10 > whole.len() * 8, "weights lie beside");
}

#[test]
fn what_cannot_be_exported_is_said() {
    let room = Room::with_model();
    for (more, code, told) in [
        ("-o x.onnx --dynamic batch", 2, "give --size HxW"),
        ("-o x.onnx --size 64", 2, "HxW, as 512x512"),
        ("-o x.onnx --size 0x64", 2, "HxW, as 512x512"),
        ("-o x.onnx --opset 16", 2, "17..=21"),
        ("-o x.onnx --results depth", 1, "depth"),
        ("-o no/folder/x.onnx", 1, "make its folder first"),
        ("-o tiny.safetensors", 2, "would be written over"),
    ] {
        let answer = room.line(&format!("{EXPORT} {more}"));
        assert_eq!(answer.code, Some(code), "{more}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{more}: {}", answer.stderr);
    }
    assert!(!room.exists("x.onnx"));
}
