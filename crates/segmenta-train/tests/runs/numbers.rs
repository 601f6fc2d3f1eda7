//! Numbers that are none, in weights, on the way and in the validation's loss.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use segmenta_report::RunFolder;
use segmenta_train::run::{Config, Event, Note, RunError, Session, Settings};
use segmenta_weights::StateDict;

use crate::{SMALL, bits, goes_on, scenes, small};

#[test]
fn what_is_no_number_is_told_and_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    let session = small(&path, &["train.epochs=1"], Settings::default()).unwrap();
    session.run(goes_on).unwrap();
    let before =
        ["last.safetensors", "model.safetensors"].map(|f| std::fs::read(path.join(f)).unwrap());

    // Weights of a file.
    let model = path.join("model.safetensors");
    let dict = StateDict::open(&model).unwrap();
    let names: Vec<String> = dict.names().map(Into::into).collect();
    let broken = place.path().join("broken.safetensors");
    let entries: Vec<_> = names
        .iter()
        .map(|name| {
            let mut values = dict.read_f32(name).unwrap();
            if name == "decoder.blocks.0.conv1.0.weight" {
                values[7] = f32::NAN;
            }
            (name.clone(), dict.get(name).unwrap().shape.clone(), values)
        })
        .collect();
    let views: Vec<_> = entries
        .iter()
        .map(|(n, s, v)| (&**n, &s[..], &v[..]))
        .collect();
    segmenta_weights::save(&broken, &views, &BTreeMap::new()).unwrap();
    let weights = format!("model.weights={}", broken.display());
    let error = small(
        &place.path().join("other"),
        &[&weights],
        Settings::default(),
    );
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("`decoder.blocks.0.conv1.0.weight` has 1 value")
            && error.contains("broken.safetensors"),
        "{error}"
    );

    // Steps so long that the values leave the numbers: the first layer is named, and the last good state stays.
    let folder = RunFolder::open(&path).unwrap();
    let text = SMALL.replace("epochs = 2", "epochs = 9");
    let config =
        |lr: &str| Config::parse(&text, &[format!("optimizer.lr={lr}")], "the test").unwrap();
    let settings = Settings {
        resume: true,
        ..Settings::default()
    };
    let session = Session::new(config("1e30"), &scenes(8), folder, settings).unwrap();
    let error = session.run(goes_on).unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(
            error,
            RunError::NotFinite { place: Some(_), .. } | RunError::NotFiniteWeights { .. }
        ),
        "{said}"
    );
    assert!(
        said.contains("step") && said.contains("optimizer.lr") && said.lines().count() == 1,
        "{said}"
    );
    for (file, before) in ["last.safetensors", "model.safetensors"].iter().zip(before) {
        for values in bits(&path.join(file)).values() {
            assert!(
                values.iter().all(|&bits| f32::from_bits(bits).is_finite()),
                "{file}"
            );
        }
        assert!(!before.is_empty());
    }
}

#[test]
fn a_validation_loss_that_is_no_number_is_named() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("run");
    // A factor near the end of what single precision holds, and a loss beyond it.
    let loss = r#"loss={name="cross_entropy",factor=3e38}"#;
    let session = small(&path, &[loss], Settings::default()).unwrap();
    let (mut notes, mut losses) = (Vec::new(), Vec::new());
    let _ = session.run(|event| {
        match event {
            Event::Note(note) => notes.push(note.clone()),
            Event::Epoch(done) => losses.push(done.record.validation_loss),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    assert!(
        matches!(&notes[0], Note::Loss { epoch: 0, strange } if !strange.value.is_finite() && !strange.pictures.is_empty()),
        "{notes:?}"
    );
    let said = notes[0].to_string();
    assert!(
        said.contains("epoch 0 is ") && said.contains("(loss)"),
        "{said}"
    );
    assert_eq!(losses[0], None, "recorded as n/a");
    let log = std::fs::read_to_string(path.join("log.txt")).unwrap();
    assert!(log.contains(&said), "{log}");
}
