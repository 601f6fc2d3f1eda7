//! `segmenta weights`: what is in a file.

use serde_json::Value;

use crate::{Room, snapshot};

#[test]
fn tensors_are_listed_with_their_statistics() {
    let room = Room::with_model();
    let line = "weights tiny.safetensors --filter logits";
    snapshot("weights", &room.line(line).succeeded());
    let all: Value = serde_json::from_str(
        &room
            .line("weights tiny.safetensors --json")
            .succeeded()
            .stdout,
    )
    .unwrap();
    let tensors = all["tensors"].as_array().unwrap();
    assert_eq!(all["format"], "safetensors");
    assert!(tensors.len() > 100 && tensors.iter().all(|t| t["statistics"]["non_finite"] == 0));
    let bare: Value = serde_json::from_str(
        &room
            .line("weights tiny.safetensors --json --no-stats")
            .succeeded()
            .stdout,
    )
    .unwrap();
    assert!(bare["tensors"][0]["statistics"].is_null());
}

/// A real file in PyTorch's old format, where the workplace has it.
#[test]
fn a_file_of_an_old_pytorch() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/weights/enet_camvid.pth"
    );
    if !std::path::Path::new(path).exists() {
        println!("skipped: no enet_camvid.pth here");
        return;
    }
    let answer = Room::new().run(["weights", path]).succeeded();
    assert!(
        answer.stdout.contains("PyTorch (legacy, before 1.6)"),
        "{}",
        answer.stdout
    );
    assert!(
        answer.stdout.contains("initial_block.conv.weight") || answer.stdout.lines().count() > 100
    );
}
