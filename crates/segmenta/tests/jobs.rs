//! Pictures from files to files: what is written, what is told, what is left alone, and how it stops.

use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf};

use segmenta::graph::{Builder, Conv2d, Scope};
use segmenta::{
    Cancel, Description, Ended, Error, Event, Inputs, Job, LabelMap, Model, ModelOptions, Outcome,
    OutputError, Parameter, Picture, Pipeline, SegmentOptions, Tiles, What,
};

/// One convolution: class 1 where a pixel is bright.
fn model() -> Model {
    let (mut g, picture) = Builder::new(3);
    let head = Conv2d::pointwise(2).with_bias();
    let logits = g.conv(picture, &(&Scope::root() / "head"), head);
    g.output("out", logits);
    let fill = |parameter: &Parameter| match parameter.name.as_str() {
        "head.weight" => vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        _ => vec![0.0; parameter.len()],
    };
    let description = Description::of_classes(["dark", "bright"]);
    let options = ModelOptions::new().threads(1);
    Model::from_graph(g.finish().unwrap(), description, &options, fill).unwrap()
}

/// A folder with pictures; the left half of each is black, the right half white.
struct Room(tempfile::TempDir);

impl Room {
    fn with(pictures: &[&str]) -> Self {
        let room = Self(tempfile::tempdir().unwrap());
        for name in pictures {
            room.picture(name, 8, 4);
        }
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn picture(&self, name: &str, width: usize, height: usize) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        halves(width, height).save(path).unwrap();
    }

    fn inputs(&self, place: &str) -> Inputs {
        Inputs::collect([self.path(place)])
    }

    /// The files below a folder, with `/`, sorted.
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
        let (root, mut files) = (self.path(folder), Vec::new());
        walk(&root, &root, &mut files);
        files.sort();
        files
    }

    fn report(&self, folder: &str) -> serde_json::Value {
        let bytes = fs::read(self.path(folder).join("predictions.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

fn halves(width: usize, height: usize) -> Picture {
    let pixel = |i: usize| [if i % width < width / 2 { 0 } else { 255 }; 3];
    let pixels = (0..width * height).flat_map(pixel).collect();
    Picture::from_rgb(width, height, pixels).unwrap()
}

fn run(job: Job<'_>, inputs: Inputs) -> Outcome {
    job.run(inputs, |_| Continue(())).unwrap()
}

#[test]
fn what_is_asked_for_is_written_and_told() {
    let room = Room::with(&["in/a.png", "in/sub/b.png"]);
    fs::write(room.path("in/c.png"), "no picture").unwrap();
    let model = model();
    let mut told = Vec::new();
    let job = Job::new(&model)
        .out(room.path("out"))
        .write(What::ALL.iter().copied())
        .legend(true)
        .sheets(true)
        .batch(2);
    let outcome = job
        .run(room.inputs("in"), |event| {
            told.push(match event {
                Event::Started { pictures } => format!("{pictures} pictures"),
                Event::Done(record) => format!("done {}", record.name.display()),
                Event::Failed(failure) => {
                    assert!(matches!(failure.error(), Error::Picture(_)));
                    format!("failed {}", failure.file().file_name().unwrap().display())
                }
                Event::Sheets(sheets) => format!("sheets of {}", sheets.pictures),
                other => format!("{other:?}"),
            });
            Continue(())
        })
        .unwrap();
    let b = Path::new("sub").join("b");
    let b = format!("done {}", b.display());
    assert_eq!(
        told,
        ["3 pictures", "done a", "failed c.png", &b, "sheets of 2"]
    );
    assert_eq!(outcome.ended, Ended::Done);
    assert_eq!(
        room.files("out"),
        [
            "a.cutout.png",
            "a.logits.npy",
            "a.mask.png",
            "a.overlay.png",
            "a.probabilities.npy",
            "a.probability.png",
            "image_samples.png",
            "predictions.json",
            "segmentation_output.png",
            "sub/b.cutout.png",
            "sub/b.logits.npy",
            "sub/b.mask.png",
            "sub/b.overlay.png",
            "sub/b.probabilities.npy",
            "sub/b.probability.png",
        ]
    );
    let mask = LabelMap::open(room.path("out/a.mask.png")).unwrap();
    assert_eq!(mask.ids()[..8], [0, 0, 0, 0, 1, 1, 1, 1]);

    let report = room.report("out");
    // As text: a number read back from it may differ in its last digit.
    let text = fs::read_to_string(room.path("out/predictions.json")).unwrap();
    let told = serde_json::to_string_pretty(&outcome.report).unwrap();
    assert_eq!(text.trim_end(), told);
    let share = &report["pictures"][0]["classes"][0];
    assert_eq!(
        (&share["pixels"], &share["share"]),
        (&16.into(), &0.5.into())
    );
    let failed = report["failed"][0]["message"].as_str().unwrap();
    assert!(failed.contains("c.png"), "{failed}");
    assert!(report.get("left_out").is_none());
}

/// The second run on a folder that holds the first one's results does what the first did.
#[test]
fn results_beside_the_pictures_are_left_alone() {
    let room = Room::with(&["p/a.png", "p/b/a.png", "p/c.mask.png", "p/c.png"]);
    let model = model();
    let job = || {
        Job::new(&model)
            .out(room.path("p"))
            .write(What::ALL.iter().copied())
            .sheets(true)
    };
    let photograph = fs::read(room.path("p/c.mask.png")).unwrap();
    run(job(), room.inputs("p"));
    let (files, first) = (room.files("p"), room.report("p"));
    let outcome = run(job(), room.inputs("p"));
    assert_eq!(outcome.report.left_out.len(), 4 * 4 + 2);
    assert_eq!(room.files("p"), files);
    let second = room.report("p");
    for (one, other) in first["pictures"]
        .as_array()
        .unwrap()
        .iter()
        .zip(second["pictures"].as_array().unwrap())
    {
        assert_eq!(one["written"], other["written"]);
        assert_eq!(one["classes"], other["classes"]);
    }
    assert_eq!(second["left_out"].as_array().unwrap().len(), 18);
    assert_eq!(fs::read(room.path("p/c.mask.png")).unwrap(), photograph);
    assert!(files.contains(&"c.png.mask.png".into()), "{files:?}");
    // And elsewhere, one level up.
    let elsewhere = Job::new(&model).out(room.path("p/b/deep/er"));
    run(elsewhere, room.inputs("p"));
    assert_eq!(room.inputs(".").len(), 4);
}

#[test]
fn it_stops_when_its_listener_has_heard_enough() {
    let room = Room::with(&["in/1.png", "in/2.png", "in/3.png"]);
    let model = model();
    let mut stopped = None;
    let outcome = Job::new(&model)
        .out(room.path("out"))
        .write([What::Mask])
        .sheets(true)
        .run(room.inputs("in"), |event| match event {
            Event::Done(_) => Break(()),
            Event::Stopped { done, of } => {
                // What is done is on disk by now.
                assert_eq!(room.report("out")["pictures"].as_array().unwrap().len(), 1);
                stopped = Some((done, of));
                Continue(())
            }
            _ => Continue(()),
        })
        .unwrap();
    assert_eq!((outcome.ended, stopped), (Ended::Stopped, Some((1, 3))));
    assert_eq!(room.files("out"), ["1.mask.png", "predictions.json"]);
}

#[test]
fn another_thread_stops_it() {
    let room = Room::with(&["in/1.png", "in/2.png"]);
    let model = model();
    let cancel = Cancel::new();
    cancel.cancel();
    let job = Job::new(&model).out(room.path("out")).cancel(&cancel);
    let outcome = run(job, room.inputs("in"));
    assert_eq!(outcome.ended, Ended::Stopped);
    assert!(outcome.report.pictures.is_empty());
    // Once all is done there is nothing left to stop.
    let cancel = Cancel::new();
    let job = Job::new(&model).out(room.path("out")).cancel(&cancel);
    let outcome = job
        .run(room.inputs("in"), |event| {
            if let Event::Done(record) = event
                && record.name == Path::new("2")
            {
                cancel.cancel();
            }
            Continue(())
        })
        .unwrap();
    assert_eq!(outcome.ended, Ended::Done);
}

#[test]
fn what_cannot_be_is_said_before_the_work() {
    let room = Room::with(&["in/image_samples.png", "in/a.png", "taken.png"]);
    let model = model();
    let error = |job: Job<'_>| job.run(room.inputs("in"), |_| Continue(())).unwrap_err();
    let taken = error(Job::new(&model).out(room.path("taken.png")));
    assert!(
        matches!(taken, Error::Output(OutputError::File(_))),
        "{taken}"
    );
    let below = error(Job::new(&model).out(room.path("taken.png/out")));
    assert!(
        matches!(below, Error::Output(OutputError::Folder { .. })),
        "{below}"
    );
    let sheets = error(Job::new(&model).out(room.path("in")).sheets(true));
    assert!(
        matches!(sheets, Error::Output(OutputError::Replaces(_))),
        "{sheets}"
    );
    let alpha = error(Job::new(&model).out(room.path("out")).alpha(f64::NAN));
    assert!(matches!(alpha, Error::Setting(_)), "{alpha}");
    for text in [taken, below, sheets, alpha].map(|e| e.to_string()) {
        assert_eq!(text.matches(" · ").count(), 2, "{text}");
        assert!(!text.contains("--"), "{text}");
    }
    assert_eq!(room.files("in").len(), 2);
}

/// Pictures that lie in no file, any batch, with and without tiles.
#[test]
fn a_pipeline_keeps_the_order_of_what_comes_in() {
    let model = model();
    let tiles = Tiles::new(16, 4).unwrap();
    for (batch, options) in [
        (1, SegmentOptions::new()),
        (3, SegmentOptions::new().flip(true)),
        (2, SegmentOptions::new().tiles(tiles)),
    ] {
        let mut seen = Vec::new();
        let pipeline = Pipeline::new(&model).batch(batch).options(options);
        let open = |&width: &usize| match width {
            0 => Ok(Picture::open("none.png")?),
            _ => Ok(halves(width, 6)),
        };
        let widths = [8, 8, 0, 40, 8, 8, 8];
        let ended = pipeline.run(widths, open, |segmented| {
            let found = segmented.result.map(|(picture, found)| {
                assert_eq!(picture.size(), found.labels().size());
                found.shares()[0].share
            });
            seen.push((segmented.item, found.ok()));
            Continue(())
        });
        assert_eq!(ended, Ended::Done);
        let half = |width| (width, (width > 0).then_some(0.5));
        assert_eq!(seen, widths.map(half), "batches of {batch}");
        let ended = pipeline.run(widths, open, |_| Break(()));
        assert_eq!(ended, Ended::Stopped);
    }
}
