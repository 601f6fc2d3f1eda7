//! Whole runs on painted scenes: what they leave, and that one which was stopped goes on as if it had not been.

mod numbers;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use segmenta_data::{Classes, Dataset, SCENE_CLASSES, Sample, Scene};
use segmenta_report::{Existing, RunFolder};
use segmenta_train::run::{
    Config, Ended, Event, Note, Outcome, Resumed, RunError, Session, Settings,
};
use segmenta_weights::{ModelCard, StateDict};

/// Everything that draws or remembers: shuffle, augmentation, dropout, accumulation, averages, schedule.
const RECIPE: &str = r#"
augment = [{ name = "horizontal_flip", p = 0.5 }, { name = "color_jitter", p = 0.5 }]
[model]
arch = "unet"
encoder = "efficientnet-b0"
[input]
size = [64, 48]
[optimizer]
name = "adam"
[schedule]
name = "poly"
power = 0.9
[train]
epochs = 2
batch = 2
accumulate = 2
ema = 0.9
previews = 2
"#;

fn scenes(count: u64) -> Dataset {
    let sample = |seed: u64| {
        let Scene { picture, labels } = Scene::generate(seed, 96, 72).unwrap();
        (
            format!("scene-{seed}"),
            Sample::new(picture, labels).unwrap(),
        )
    };
    Dataset::from_samples((0..count).map(sample), Classes::new(SCENE_CLASSES), None)
}

fn run(folder: &Path, settings: Settings) -> Result<Outcome, RunError> {
    let config = Config::parse(RECIPE, &[], "the test").unwrap();
    let folder = if settings.resume {
        RunFolder::open(folder)?
    } else {
        RunFolder::create(folder, &config.to_toml()?, Existing::Refuse)?
    };
    Session::new(config, &scenes(16), folder, settings)?.run(goes_on)
}

fn goes_on(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Every tensor's bits.
fn bits(path: &Path) -> BTreeMap<String, Vec<u32>> {
    let dict = StateDict::open(path).unwrap();
    let names: Vec<String> = dict.names().map(Into::into).collect();
    let of = |name: String| {
        let values = dict.read_f32(&name).unwrap();
        (name, values.into_iter().map(f32::to_bits).collect())
    };
    names.into_iter().map(of).collect()
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_bits() {
    let place = tempfile::tempdir().unwrap();
    let (straight, halting) = (place.path().join("straight"), place.path().join("halting"));
    let outcome = run(&straight, Settings::default()).unwrap();
    assert_eq!(outcome.ended, Ended::Done);

    let steps = |resume, most| Settings {
        resume,
        most_steps: Some(most),
        ..Settings::default()
    };
    assert_eq!(run(&halting, steps(false, 1)).unwrap().ended, Ended::Steps);
    assert_eq!(run(&halting, steps(true, 3)).unwrap().ended, Ended::Steps);
    let rest = Settings {
        resume: true,
        ..Settings::default()
    };
    assert_eq!(run(&halting, rest.clone()).unwrap().ended, Ended::Done);
    for file in ["last.safetensors", "model.safetensors"] {
        let same = bits(&straight.join(file)) == bits(&halting.join(file));
        assert!(same, "{file} differs");
    }
    let scores = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
        // All but the speed and the waiting, the last two columns.
        let cut = |line: &str| line.rsplitn(3, ',').last().unwrap().to_string();
        text.lines().map(cut).collect::<Vec<_>>()
    };
    assert_eq!(scores(&straight), scores(&halting));
    assert_eq!(
        scores(&straight).len(),
        4,
        "head, before training, two epochs"
    );
    // A run that is done has nothing left to do.
    assert_eq!(run(&halting, rest).unwrap().ended, Ended::Done);
    assert_eq!(scores(&straight), scores(&halting));
}

#[test]
fn a_run_leaves_what_its_folder_promises() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let outcome = run(&folder, Settings::default()).unwrap();
    for file in [
        "config.toml",
        "metrics.csv",
        "last.safetensors",
        "model.safetensors",
        "log.txt",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let page = std::fs::read_to_string(&outcome.report).unwrap();
    assert!(page.contains("mIoU") && page.contains("efficientnet-b0"));
    // The model file knows what it is.
    let dict = StateDict::open(&folder.join("model.safetensors")).unwrap();
    let card = ModelCard::from_metadata(dict.metadata()).unwrap().unwrap();
    assert_eq!(card.classes, SCENE_CLASSES);
    assert_eq!(card.encoder.as_deref(), Some("efficientnet-b0"));
    // The configuration is read again as it was.
    let text = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    let again = Config::parse(&text, &[], "config.toml").unwrap();
    assert_eq!(again, Config::parse(RECIPE, &[], "the test").unwrap());
    // A second run does not write over the first.
    assert!(matches!(
        run(&folder, Settings::default()),
        Err(RunError::Report(_))
    ));
}

/// The smallest network there is, on four pictures: for what happens around the learning.
const SMALL: &str = r#"
[model]
encoder = "mobilenet_v2"
settings = { encoder_depth = 3, decoder_channels = [16, 16, 16] }
[input]
size = [32, 32]
[train]
epochs = 2
batch = 2
previews = 1
checkpoint_steps = 1
"#;

fn small(folder: &Path, settings: &[&str], how: Settings) -> Result<Session, RunError> {
    let given: Vec<String> = settings.iter().map(|&s| s.into()).collect();
    let config = Config::parse(SMALL, &given, "the test")?;
    let folder = RunFolder::create(folder, &config.to_toml()?, Existing::Refuse)?;
    Session::new(config, &scenes(8), folder, Settings { given, ..how })
}

#[test]
fn events_tell_all_of_a_run_and_their_answer_ends_it() {
    let place = tempfile::tempdir().unwrap();
    let mut told = Vec::new();
    let session = small(place.path(), &[], Settings::default()).unwrap();
    let outcome = session.run(|event| {
        told.push(match event {
            Event::Started {
                epochs,
                batches,
                done,
                pictures,
                ..
            } => {
                assert_eq!((epochs, batches, done, pictures), (2, 3, 0, [6, 2]));
                "started".to_string()
            }
            Event::Step { step, epoch, .. } => format!("step {step} of epoch {epoch}"),
            Event::Epoch(epoch) => {
                assert!(
                    epoch.summary().contains(&epoch.headline()),
                    "{}",
                    epoch.summary()
                );
                format!("epoch {}", epoch.record.epoch)
            }
            Event::Checkpoint { file, step } => {
                assert!(file.exists());
                format!("checkpoint {step}")
            }
            Event::Preview { file, .. } => {
                assert!(file.exists());
                "preview".into()
            }
            Event::Finished(outcome) => {
                assert!(outcome.model.exists() && outcome.report.exists());
                "finished".into()
            }
            _ => return ControlFlow::Continue(()),
        });
        // In the midst of the second epoch.
        match event {
            Event::Step { step: 4, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert_eq!(outcome.unwrap().ended, Ended::Stopped);
    let expected = [
        "started",
        "epoch 0",
        "preview",
        "step 1 of epoch 1",
        "checkpoint 1",
        "step 2 of epoch 1",
        "checkpoint 2",
        "step 3 of epoch 1",
        "epoch 1",
        "preview",
        "checkpoint 3",
        "step 4 of epoch 2",
        "checkpoint 4",
        "finished",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_run_goes_on_as_what_it_is_and_for_as_long_as_it_is_told() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path();
    small(path, &["train.seed=3"], Settings::default())
        .unwrap()
        .run(goes_on)
        .unwrap();
    let folder = RunFolder::open(path).unwrap();
    let resumed = |recipe: Option<&str>, set: &[&str]| {
        let set: Vec<String> = set.iter().map(|&s| s.into()).collect();
        Resumed::new(&folder, recipe.map(|text| (text, "my.toml")), &set)
    };
    // The same recipe, without the setting that was given beside it.
    assert_eq!(resumed(Some(SMALL), &[]).unwrap().notes, []);
    assert_eq!(resumed(None, &["train.seed=3"]).unwrap().notes, []);
    // Longer: used, and told.
    let longer = SMALL.replace("epochs = 2", "epochs = 3");
    for found in [
        resumed(Some(&longer), &[]),
        resumed(None, &["train.epochs=3"]),
    ] {
        let found = found.unwrap();
        assert_eq!((found.config.train.epochs, found.config.train.seed), (3, 3));
        let Note::Changed(changed) = &found.notes[0] else {
            panic!("{:?}", found.notes)
        };
        assert_eq!(
            (&*changed.key, &*changed.was, &*changed.now),
            ("train.epochs", "2", "3")
        );
    }
    // Anything else: refused, all of it named with both values.
    let other = SMALL
        .replace("mobilenet_v2", "resnet18")
        .replace("batch = 2", "batch = 4");
    let error = resumed(Some(&other), &["train.seed=4"])
        .unwrap_err()
        .to_string();
    for said in [
        "model.encoder is \"mobilenet_v2\" there and \"resnet18\" here",
        "train.batch is 2 there and 4 here",
        "train.seed is 3 there and 4 here",
    ] {
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(error.lines().count(), 1, "{error}");
    let error = resumed(None, &["train.epochs=1"]).unwrap_err().to_string();
    assert!(
        error.contains("train.epochs") && error.contains("2 of the run are done"),
        "{error}"
    );
    let error = resumed(None, &["train.epoch=3"]).unwrap_err().to_string();
    assert!(error.contains("did you mean `train.epochs`"), "{error}");

    // Other data: refused, before anything is written.
    let go_on = |set: &[&str], data: &Dataset| {
        let found = resumed(None, set).unwrap();
        let settings = Settings {
            resume: true,
            given: set.iter().map(|&s| s.into()).collect(),
            ..Settings::default()
        };
        Session::new(found.config, data, folder.clone(), settings)
    };
    let error = go_on(&[], &scenes(10)).map(|_| ()).unwrap_err();
    assert!(matches!(error, RunError::OtherData { .. }), "{error}");
    // Nothing left is said; longer it goes on, and the run remembers for how long.
    let session = go_on(&[], &scenes(8)).unwrap();
    assert!(session.notes().contains(&Note::NothingLeft { epochs: 2 }));
    drop(session);
    let longer = ["train.epochs=3"];
    let outcome = go_on(&longer, &scenes(8)).unwrap().run(goes_on).unwrap();
    assert_eq!((outcome.ended, outcome.epochs), (Ended::Done, 3));
    assert_eq!(resumed(None, &[]).unwrap().config.train.epochs, 3);
    assert_eq!(
        resumed(Some(&SMALL.replace("epochs = 2", "epochs = 3")), &[])
            .unwrap()
            .notes,
        []
    );
}

#[test]
fn settings_without_effect_are_told_or_refused() {
    let place = tempfile::tempdir().unwrap();
    let begin =
        |name: &str, set: &[&str]| small(&place.path().join(name), set, Settings::default());
    let error = begin("a", &["data.validate_on=test"])
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("no split `test`"), "{error}");
    let session = begin("b", &["data.draw=first", "data.seed=7"]).unwrap();
    let told: Vec<String> = session.notes().iter().map(ToString::to_string).collect();
    assert!(
        told[0].starts_with("data.seed changes nothing here"),
        "{told:?}"
    );
    drop(session);
    let error = begin("c", &["train.epochs=2", "train.epochs=3"])
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(error.contains("set twice"), "{error}");
}

#[test]
fn keys_that_are_wrong_name_the_nearest() {
    let parse = |text: &str, set: &[&str]| {
        let set: Vec<String> = set.iter().map(|&s| s.into()).collect();
        Config::parse(text, &set, "my.toml").map_err(|e| e.to_string())
    };
    let error = parse("[train]\nepoch = 3", &[]).unwrap_err();
    assert!(
        error.contains("`epoch`") && error.contains("`train.epochs`") && error.contains("my.toml"),
        "{error}"
    );
    let error = parse("", &["optimizer.lrr=0.1"]).unwrap_err();
    assert!(error.contains("lrr"), "{error}");
    let error = parse("", &["train.epochs=many"]).unwrap_err();
    assert!(error.contains("many"), "{error}");
    let error = parse("", &["train.epochs=0"]).unwrap_err();
    assert!(
        error.contains("from 1 to 1000000 · train.epochs"),
        "{error}"
    );
    let config = parse(
        "",
        &[
            "train.epochs=7",
            "model.encoder=resnet18",
            "optimizer.name=sgd",
        ],
    )
    .unwrap();
    assert_eq!(config.train.epochs, 7);
    assert_eq!(config.model.encoder.as_deref(), Some("resnet18"));
    assert_eq!(config.optimizer.algorithm.name(), "sgd");
}

#[test]
fn masks_are_where_they_lie_or_what_they_mean() {
    let parse = |text: &str| Config::parse(text, &[], "my.toml").map_err(|e| e.to_string());
    let data = parse("[data]\nmasks = \"masks/{}.png\"").unwrap().data;
    assert_eq!(
        (data.mask_files.as_deref(), data.masks),
        (Some("masks/{}.png"), None)
    );
    let both = "[data]\nmask_files = \"masks/{}.png\"\nmasks = \"0/255\"";
    let config = parse(both).unwrap();
    let open = config.data.open();
    assert_eq!(open.rule.unwrap().to_string(), "0/255");
    assert_eq!(open.masks.as_deref(), Some("masks/{}.png"));
    assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
    let error = parse("[data]\nmasks = \"white\"").unwrap_err();
    assert!(
        error.contains("`white`") && error.contains("0/255"),
        "{error}"
    );
    let error = parse("[data]\nmask_files = \"a/{}\"\nmasks = \"b/{}\"").unwrap_err();
    assert!(error.contains("mask_files"), "{error}");
}

#[test]
fn what_is_explained_is_what_there_is() {
    // Every line that sets a key sets its default.
    let explained = Config::parse(segmenta_train::run::EXPLAINED, &[], "explained").unwrap();
    assert_eq!(explained, Config::default());
    // And every key of a configuration with nothing left out is explained.
    let text = Config::default().to_toml().unwrap();
    for key in text.lines().filter_map(|line| line.split_once(" = ")) {
        let (key, _) = key;
        assert!(
            segmenta_train::run::EXPLAINED.contains(&format!("{key} = ")),
            "{key}"
        );
    }
}
