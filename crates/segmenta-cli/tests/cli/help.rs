//! Help is the first page that is read: all of it is looked at when it changes.

use crate::Room;

// Snapshots are of the program with all of its commands.
#[cfg(feature = "train")]
#[test]
fn every_help() {
    let room = Room::new();
    for command in [
        "",
        "predict",
        "models",
        "models show",
        "models encoders",
        "models pull",
        "models save",
        "weights",
        "forward",
        "serve",
        "view",
        "compare",
        "bench",
        "bench forward",
        "bench step",
        "bench kernels",
        "data",
        "data pull",
        "data check",
        "data classes",
        "data split",
        "data preview",
        "data convert",
        "data convert coco",
        "data convert labelme",
        "data convert cvat",
        "data convert rgb",
        "train",
        "eval",
        "quantize",
        "export",
        "demo",
        "completions",
    ] {
        let name = format!("help {command}").trim().replace(' ', "-");
        crate::snapshot(&name, &room.line(&format!("{command} --help")).succeeded());
    }
}

#[test]
fn nothing_asked_for_is_answered_with_help() {
    let answer = Room::new().line("");
    assert_eq!(answer.code, Some(2));
    assert!(
        answer.stderr.contains("Usage: segmenta"),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_version_says_what_the_processor_has() {
    let answer = Room::new().line("--version").succeeded();
    assert!(
        answer
            .stdout
            .starts_with(concat!("segmenta ", env!("CARGO_PKG_VERSION")))
    );
    assert!(answer.stdout.contains("scalar"), "{}", answer.stdout);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let answer = Room::new()
            .line(&format!("completions {shell}"))
            .succeeded();
        assert!(answer.stdout.contains("predict"), "{shell}");
    }
}
