//! A whole run's folder: what is in it, what resuming leaves, what strangers' names can do to it.

use std::fs;
use std::path::Path;

use segmenta_image::{LabelMap, Palette, Picture};
use segmenta_metrics::Confusion;
use segmenta_report::events::{LoggedValue, files, read};
use segmenta_report::{
    Classes, Epoch, Example, Existing, Facts, History, Recorded, ReportError, RunFolder, RunRecord,
    Summary,
};

mod made_up;

/// All files of a run but its events, with their bytes; of those, what is logged at which step.
fn contents(folder: &Path) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
    let mut kept = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !name.starts_with("events") && name != "log.txt" {
                kept.push((name, fs::read(path).unwrap()));
            }
        }
    }
    kept.sort();
    let logged = files(folder)
        .unwrap()
        .into_iter()
        .flat_map(|path| read(&path).unwrap());
    let told = |value: &LoggedValue| match value {
        LoggedValue::Scalar(number) => number.to_string(),
        LoggedValue::Picture(png) => format!("{} bytes", png.len()),
    };
    let logged = logged.map(|event| format!("{} {} {}", event.step, event.tag, told(&event.value)));
    (kept, logged.collect())
}

#[test]
fn a_resumed_run_leaves_what_a_straight_one_leaves() {
    let home = tempfile::tempdir().unwrap();
    let (straight, resumed) = (home.path().join("a/run"), home.path().join("b/run"));
    let mut record = made_up::begin(&straight).unwrap();
    made_up::train(&mut record, 2, 0..=5, 5).unwrap();
    record.report(&made_up::summary(Vec::new())).unwrap();

    let mut record = made_up::begin(&resumed).unwrap();
    made_up::train(&mut record, 2, 0..=4, 5).unwrap();
    record.report(&made_up::summary(Vec::new())).unwrap();
    // Killed; the weights are those of epoch 2 and some steps of epoch 3.
    let folder = RunFolder::open(&resumed).unwrap();
    let mut record = RunRecord::resume(&folder, made_up::recorded(), 2 * made_up::STEPS).unwrap();
    assert_eq!(History::read(&folder.metrics()).unwrap().epochs().len(), 3);
    assert!(!folder.previews().join("epoch-0003.png").exists());
    made_up::train(&mut record, 2, 3..=5, 5).unwrap();
    record.report(&made_up::summary(Vec::new())).unwrap();

    let ((files, logged), (files_again, logged_again)) = (contents(&straight), contents(&resumed));
    assert_eq!(logged, logged_again);
    for ((name, bytes), (name_again, bytes_again)) in files.iter().zip(&files_again) {
        assert_eq!(name, name_again);
        // The page names the folder in the command to predict.
        if name != "report.html" {
            assert!(bytes == bytes_again, "{name} differs");
        }
    }
    assert_eq!(files.len(), files_again.len());
    let names: Vec<String> = folder
        .list()
        .unwrap()
        .into_iter()
        .map(|file| file.name)
        .collect();
    for name in [
        "report.html",
        "metrics.csv",
        "curves/",
        "confusion.png",
        "classes.png",
        "growth.gif",
        "previews/",
    ] {
        assert!(
            names.iter().any(|there| there == name),
            "{name} is not in {names:?}"
        );
    }
}

/// A record of a tiny run with names that would like to be markup.
fn hostile(path: &Path) -> (RunRecord, &'static str) {
    let evil = "</script><img src=x onerror=alert(1)>&\"'\u{0}";
    let config = format!("name = {evil:?} # {evil}\n");
    let folder = RunFolder::create(path, &config, Existing::Refuse).unwrap();
    let recorded = Recorded {
        classes: Classes::new([evil, "plain"], Palette::voc()),
        scores: vec![evil.into()],
        best_by: 0,
    };
    let mut record = RunRecord::create(&folder, recorded).unwrap();
    let confusion = Confusion::from_counts(2, None, &[5, 1, 0, 9], 0).unwrap();
    let map = |id| LabelMap::new(4, 4, vec![id; 16]).unwrap();
    for epoch in 1..=2 {
        let scores = vec![Some(f64::from(epoch) / 3.0)];
        let epoch = Epoch {
            epoch,
            step: u64::from(epoch),
            scores,
            train_loss: Some(1.0),
            ..Epoch::default()
        };
        record.epoch(epoch, Some(&confusion)).unwrap();
        let name = evil.into();
        let picture = Picture::filled(4, 4, [9, 9, 9]);
        record
            .preview(&[Example {
                name,
                picture,
                truth: map(0),
                prediction: map(1),
            }])
            .unwrap();
    }
    (record, evil)
}

#[test]
fn names_cannot_become_markup() {
    let home = tempfile::tempdir().unwrap();
    let (record, evil) = hostile(&home.path().join("<img src=x onerror=alert(2)>'"));
    let headlines = vec![(
        evil.into(),
        Confusion::from_counts(2, None, &[5, 1, 0, 9], 0)
            .unwrap()
            .mean_iou(),
    )];
    let facts = vec![
        Facts::new(evil, [(evil, evil)]),
        Facts::environment("CPU", 1),
    ];
    let page = record
        .report(&Summary {
            ended: evil.into(),
            headlines,
            facts,
        })
        .unwrap();
    let html = fs::read_to_string(page).unwrap();
    assert!(!html.contains("<img src=x"), "markup out of a name");
    assert_eq!(html.matches("</script>").count(), 1, "the page's own");
    assert!(html.contains("onerror=alert(1)"), "the name is still shown");
    for address in ["http://", "https://", "src=\"/", "href="] {
        let outside = html.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !outside.contains(address),
            "{address} in a page that should ask for nothing"
        );
    }
}

#[test]
fn an_absent_class_is_not_available_rather_than_zero() {
    let home = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(home.path().join("run"), "", Existing::Refuse).unwrap();
    let recorded = Recorded {
        classes: Classes::new(["a", "b"], Palette::voc()),
        scores: vec!["mIoU".into()],
        best_by: 0,
    };
    let mut record = RunRecord::create(&folder, recorded).unwrap();
    let confusion = Confusion::from_counts(3, Some(255), &[4, 0, 0, 0, 0, 0, 0, 0, 6], 10).unwrap();
    let scores = vec![confusion.mean_iou().value];
    record
        .epoch(
            Epoch {
                epoch: 1,
                step: 1,
                scores,
                ..Epoch::default()
            },
            Some(&confusion),
        )
        .unwrap();
    let html = fs::read_to_string(record.report(&Summary::default()).unwrap()).unwrap();
    let row = html
        .lines()
        .skip_while(|line| !line.contains("</span>b</th>"))
        .nth(1)
        .unwrap();
    assert!(row.contains("n/a"), "{row}");
    assert!(html.contains("class 2") && html.contains("pixels labelled 255 ignored"));
}

#[test]
fn a_run_without_epochs_and_one_without_pictures_have_a_report() {
    let home = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(home.path().join("run"), "", Existing::Refuse).unwrap();
    let recorded = || Recorded {
        classes: Classes::new(["a"], Palette::voc()),
        scores: vec!["Dice".into()],
        best_by: 0,
    };
    let mut record = RunRecord::create(&folder, recorded()).unwrap();
    assert!(record.report(&Summary::default()).is_ok());
    let diverged = Epoch {
        epoch: 1,
        step: 9,
        train_loss: Some(f64::NAN),
        scores: vec![None],
        ..Epoch::default()
    };
    record.epoch(diverged, None).unwrap();
    assert!(record.report(&Summary::default()).is_ok());
    let again = RunRecord::resume(&folder, recorded(), 9).unwrap();
    assert!(again.history().epochs()[0].train_loss.unwrap().is_nan());
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let home = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(home.path().join("run"), "", Existing::Refuse).unwrap();
    let recorded = |scores: &[&str], best_by| Recorded {
        classes: Classes::new(["a"], Palette::voc()),
        scores: scores.iter().map(ToString::to_string).collect(),
        best_by,
    };
    assert!(RunRecord::create(&folder, recorded(&["Dice"], 1)).is_err());
    let mut record = RunRecord::create(&folder, recorded(&["Dice"], 0)).unwrap();
    let epoch = |epoch, step, scores: usize| Epoch {
        epoch,
        step,
        scores: vec![None; scores],
        ..Epoch::default()
    };
    assert!(record.epoch(epoch(1, 5, 2), None).is_err());
    record.epoch(epoch(2, 5, 1), None).unwrap();
    assert!(record.epoch(epoch(2, 6, 1), None).is_err());
    let before = fs::read(folder.metrics()).unwrap();
    let error = RunRecord::resume(&folder, recorded(&["IoU"], 0), 5).unwrap_err();
    assert!(
        error.to_string().contains("Dice") && error.to_string().contains("metrics.csv"),
        "{error}"
    );
    assert_eq!(fs::read(folder.metrics()).unwrap(), before);
}

#[test]
fn a_folder_that_is_gone_is_one_clear_error_and_what_was_recorded_stays_in_memory() {
    let home = tempfile::tempdir().unwrap();
    let (mut record, _) = hostile(&home.path().join("run"));
    let folder = record.folder().clone();
    // A file in the place of the folder: nothing below it can be written, whoever asks.
    fs::rename(folder.path(), home.path().join("moved")).unwrap();
    fs::write(folder.path(), "").unwrap();
    let next = Epoch {
        epoch: 3,
        step: 3,
        scores: vec![Some(0.1)],
        ..Epoch::default()
    };
    let error = record.epoch(next, None).unwrap_err();
    assert!(
        matches!(&error, ReportError::Write { path, .. } if path.ends_with("run") || path.ends_with("metrics.csv")),
        "{error}"
    );
    assert_eq!(record.history().epochs().len(), 2);
    let error = record.report(&Summary::default()).unwrap_err().to_string();
    assert_eq!(
        error.split(" · ").count(),
        3,
        "what · where · remedy: {error}"
    );
}
