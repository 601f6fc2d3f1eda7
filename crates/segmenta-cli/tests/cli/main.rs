//! The binary as a user meets it: its help, its errors and exit codes, and what it writes.
//!
//! Each test has a folder of its own, pictures made here, and a tiny network with random weights.
//! Nothing is downloaded.

mod answers;
#[cfg(feature = "train")]
mod book;
mod compare;
mod convert;
mod data;
mod demo;
mod encoders;
mod errors;
mod eval;
mod export;
mod files;
mod help;
mod hub;
mod models;
mod pictures;
mod predict;
mod serve;
mod tensors;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "serve")]
mod view;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use segmenta_graph::{Graph, Parameter, Role};
use segmenta_image::Picture;
use segmenta_weights::{
    CARD_VERSION, Filter, ModelCard, Preprocessing, Resize, StateDict, TensorView, save,
};
use segmenta_zoo::{Options, find};

/// A folder to run in.
struct Room {
    folder: tempfile::TempDir,
}

/// What a run said and how it ended.
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Room {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// With a model file `tiny.safetensors` of three classes.
    fn with_model() -> Self {
        let room = Self::new();
        write_model(&room.path("tiny.safetensors"));
        room
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A picture with something on it, in the format that the name says.
    fn picture(&self, name: impl AsRef<Path>, width: usize, height: usize) -> Picture {
        let pixel = |i: usize| {
            let (x, y) = (i % width, i / width);
            [
                (x * 255 / width) as u8,
                (y * 255 / height) as u8,
                ((x / 8 + y / 8) % 2 * 200) as u8,
            ]
        };
        let pixels = (0..width * height).flat_map(pixel).collect();
        let picture = Picture::from_rgb(width, height, pixels).unwrap();
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(&path).unwrap();
        picture
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segmenta"));
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.folder.path());
        for name in ["SEGMENTA_HUB", "SEGMENTA_ISA", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
            .env("SEGMENTA_HOME", self.path("home"))
            .env("HF_HOME", self.path("hf"))
            .env_remove("HF_HUB_CACHE")
            .env("SEGMENTA_OFFLINE", "1")
            // The same words on every processor.
            .env("SEGMENTA_ENGINE", "portable")
            .env("COLUMNS", "100");
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Answer {
        self.answer(self.command().args(arguments).output().unwrap())
    }

    /// As [`Room::run`], from one line; blanks separate arguments.
    fn line(&self, line: &str) -> Answer {
        self.run(line.split_whitespace())
    }

    /// A command as it was printed, for a shell to read.
    #[cfg(unix)]
    fn shell(&self, line: &str) -> Answer {
        let words = line.strip_prefix("segmenta ").expect(line);
        let mut command = Command::new("sh");
        let binary = env!("CARGO_BIN_EXE_segmenta");
        command.args(["-c", &format!("exec {binary} {words}")]);
        self.prepare(&mut command);
        self.answer(command.output().unwrap())
    }

    fn answer(&self, output: Output) -> Answer {
        let folder = self.folder.path();
        let real = folder.canonicalize().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("what is said is Unicode");
            let text = text.replace(&*real.to_string_lossy(), "[room]");
            text.replace(&*folder.to_string_lossy(), "[room]")
        };
        Answer {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// `predictions.json` of an output folder.
    fn report(&self, out: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path(out).join("predictions.json")).unwrap()).unwrap()
    }

    /// The files of a folder and those below it, sorted.
    fn files(&self, folder: &str) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, files: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, files);
                } else {
                    let name = path.strip_prefix(root).unwrap().to_string_lossy();
                    files.push(name.replace('\\', "/"));
                }
            }
        }
        let root = self.path(folder);
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        files.sort();
        files
    }
}

impl Answer {
    /// All of it, for a snapshot.
    fn transcript(&self) -> String {
        let code = self.code.map_or("a signal".into(), |code| code.to_string());
        let mut text = format!("exit: {code}\n");
        for (name, said) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !said.is_empty() {
                let _ = write!(text, "--- {name}\n{said}");
            }
        }
        text
    }

    #[track_caller]
    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.transcript());
        self
    }
}

/// Snapshots leave out what differs from run to run and from machine to machine.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("../snapshots");
    settings.set_omit_expression(true);
    // Shares differ in the last digit between instruction sets.
    settings.add_filter(r"\d+(\.\d+)? %", "[share]");
    settings.add_filter(r"\d+\.\d+ (s|ms)\b", "[time] $1");
    settings.add_filter(
        r"(decode|prepare|network|labels|write) \d+( ms| ·|\n)",
        "$1 [time]$2",
    );
    // The column is as wide as its longest time.
    settings.add_filter(r"(\d+×\d+) +\d+  ", "$1 [ms]  ");
    settings.add_filter(r"size +ms  ", "size ms  ");
    settings.add_filter(r"segmenta \d+\.\d+\.\d+.*", "segmenta [version]");
    settings.add_filter(r"this processor has .*", "this processor has [isa]");
    settings.add_filter(r"\\", "/");
    settings
}

#[track_caller]
fn snapshot(name: &str, answer: &Answer) {
    settings().bind(|| insta::assert_snapshot!(name, answer.transcript()));
}

/// A DeepLabV3 with a twentieth of the channels: real in everything but its size.
fn write_model(path: &Path) {
    let options = Options {
        width: 0.05,
        ..Options::new(3)
    };
    let graph = find("deeplabv3_mobilenet_v2")
        .unwrap()
        .build(&options)
        .unwrap();
    save_random(path, &graph, &tiny_card().to_metadata().unwrap());
}

/// What the tiny model is.
fn tiny_card() -> ModelCard {
    ModelCard {
        format_version: CARD_VERSION,
        architecture: "deeplabv3_mobilenet_v2".into(),
        encoder: None,
        options: [("width".to_string(), "0.05".to_string())].into(),
        classes: ["sky", "tree", "road"].map(String::from).into(),
        palette: Some(vec![[0, 0, 255], [0, 255, 0], [128, 128, 128]]),
        in_channels: 3,
        preprocessing: Preprocessing {
            channel_order: segmenta_weights::ChannelOrder::default(),
            windows: false,
            middle: segmenta_weights::Middle::default(),
            resize: Resize::None,
            filter: Filter::default(),
            center_crop: None,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
            pad: None,
        },
        answer: None,
        int8: None,
        training: None,
        source: Some("made for a test".into()),
        licence: None,
    }
}

/// Weights that are anything, as PyTorch or SMP would have saved them.
fn save_random(path: &Path, graph: &Graph, metadata: &BTreeMap<String, String>) {
    let mut state = 1_u32;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut values = |parameter: &Parameter| -> Vec<f32> {
        match parameter.role {
            Role::RunningVar | Role::Scale => vec![1.0; parameter.len()],
            _ => (0..parameter.len()).map(|_| value()).collect(),
        }
    };
    let kept = graph
        .parameters()
        .iter()
        .filter(|p| p.role != Role::Counter);
    let tensors: Vec<(&Parameter, Vec<f32>)> = kept.map(|p| (p, values(p))).collect();
    let views: Vec<TensorView<'_>> = tensors
        .iter()
        .map(|(p, values)| (&*p.name, &*p.shape, &**values))
        .collect();
    save(path, &views, metadata).unwrap();
}
