//! Whole runs on painted scenes: what they leave, and that one which was stopped goes on as if it had not been.

use std::collections::BTreeMap;
use std::path::Path;

use segmenta_data::{Classes, Dataset, SCENE_CLASSES, Sample, Scene};
use segmenta_report::{Existing, RunFolder};
use segmenta_train::run::{Config, Ended, Outcome, RunError, Session, Settings};
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
    Session::new(config, &scenes(16), folder, settings)?.run()
}

fn quiet() -> Settings {
    Settings {
        quiet: true,
        ..Settings::default()
    }
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
    let outcome = run(&straight, quiet()).unwrap();
    assert_eq!(outcome.ended, Ended::Done);

    let steps = |resume, most| Settings {
        resume,
        most_steps: Some(most),
        ..quiet()
    };
    assert_eq!(
        run(&halting, steps(false, 1)).unwrap().ended,
        Ended::Stopped
    );
    assert_eq!(run(&halting, steps(true, 3)).unwrap().ended, Ended::Stopped);
    let rest = Settings {
        resume: true,
        ..quiet()
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
    let outcome = run(&folder, quiet()).unwrap();
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
    assert!(matches!(run(&folder, quiet()), Err(RunError::Report(_))));
}

#[test]
fn keys_that_are_wrong_name_the_nearest() {
    let parse = |text: &str, set: &[&str]| {
        let set: Vec<String> = set.iter().map(|&s| s.into()).collect();
        Config::parse(text, &set, "my.toml").map_err(|e| e.to_string())
    };
    let error = parse("[train]\nepoch = 3", &[]).unwrap_err();
    assert!(
        error.contains("`epoch`") && error.contains("`epochs`") && error.contains("my.toml"),
        "{error}"
    );
    let error = parse("", &["optimizer.lrr=0.1"]).unwrap_err();
    assert!(error.contains("lrr"), "{error}");
    let error = parse("", &["train.epochs=many"]).unwrap_err();
    assert!(error.contains("many"), "{error}");
    let error = parse("", &["train.epochs=0"]).unwrap_err();
    assert!(error.contains("1 or more"), "{error}");
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
