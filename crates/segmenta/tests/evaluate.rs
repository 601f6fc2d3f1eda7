//! Measuring a model: classes by name, scores that count what they say, errors and events of a type.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use segmenta::{
    Classes, Confusion, Dataset, EvaluateError, EvaluateEvent, EvaluateOptions, Evaluation,
    LabelMap, MatchBy, Model, ModelOptions, Open, Palette, Picture, SegmentOptions, Tiles,
};
use segmenta_graph::Role;
use segmenta_weights::{CARD_VERSION, Filter, ModelCard, Preprocessing, Resize, TensorView, save};
use segmenta_zoo::{Options, find};

/// A twentieth of a DeepLabV3 with weights that are anything.
fn model(folder: &Path, classes: &[&str], crop: Option<(usize, usize)>) -> Model {
    let options = Options {
        width: 0.05,
        ..Options::new(classes.len())
    };
    let graph = find("deeplabv3_mobilenet_v2")
        .unwrap()
        .build(&options)
        .unwrap();
    let card = ModelCard {
        format_version: CARD_VERSION,
        architecture: "deeplabv3_mobilenet_v2".into(),
        encoder: None,
        options: [("width".to_string(), "0.05".to_string())].into(),
        classes: classes.iter().map(|&name| name.into()).collect(),
        palette: None,
        in_channels: 3,
        preprocessing: Preprocessing {
            channel_order: segmenta_weights::ChannelOrder::default(),
            windows: false,
            middle: segmenta_weights::Middle::default(),
            resize: Resize::None,
            filter: Filter::default(),
            center_crop: crop,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
            pad: None,
        },
        int8: None,
        training: None,
        answer: None,
        source: None,
        licence: None,
    };
    let mut state = 1_u32;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let kept = graph
        .parameters()
        .iter()
        .filter(|p| p.role != Role::Counter);
    let tensors: Vec<_> = kept
        .map(|p| {
            let values: Vec<f32> = match p.role {
                Role::RunningVar | Role::Scale => vec![1.0; p.len()],
                _ => (0..p.len()).map(|_| value()).collect(),
            };
            (p, values)
        })
        .collect();
    let views: Vec<TensorView<'_>> = tensors
        .iter()
        .map(|(p, values)| (&*p.name, &*p.shape, &**values))
        .collect();
    let path = folder.join("model.safetensors");
    save(&path, &views, &card.to_metadata().unwrap()).unwrap();
    let options = ModelOptions::new().weights(path).threads(1);
    Model::open(&options, &mut |_| {}).unwrap()
}

const SIZE: (usize, usize) = (32, 24);

/// Pictures whose masks are what `id` says of each pixel.
fn pairs(folder: &Path, names: &[&str], id: impl Fn(usize) -> u8) {
    for (n, name) in names.iter().enumerate() {
        let pixel = |i: usize| [(i % 251) as u8, (i / 32 * 9) as u8, (n * 40) as u8];
        let pixels = (0..SIZE.0 * SIZE.1).flat_map(pixel).collect();
        let picture = Picture::from_rgb(SIZE.0, SIZE.1, pixels).unwrap();
        let [images, masks] = ["images", "masks"].map(|part| folder.join(part));
        fs::create_dir_all(&images).unwrap();
        fs::create_dir_all(&masks).unwrap();
        picture.save(images.join(format!("{name}.png"))).unwrap();
        let ids = (0..SIZE.0 * SIZE.1).map(&id).collect();
        let map = LabelMap::new(SIZE.0, SIZE.1, ids).unwrap();
        map.save(masks.join(format!("{name}.png")), &Palette::voc())
            .unwrap();
    }
}

fn measured(
    model: &Model,
    data: &Dataset,
    options: &EvaluateOptions,
) -> Result<Evaluation, EvaluateError> {
    model.evaluate(data, options, &mut |_| ControlFlow::Continue(()))
}

fn named(folder: &Path, classes: &[&str]) -> Dataset {
    let classes = Some(classes.iter().map(|&name| name.into()).collect());
    Open {
        classes,
        ..Open::default()
    }
    .open(folder)
    .unwrap()
}

#[test]
fn classes_are_matched_by_name() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path(), &["sky", "tree", "road"], None);
    let thirds = |i: usize| (i % 3) as u8;
    pairs(room.path(), &["a", "b"], thirds);
    let straight = named(room.path(), &["sky", "tree", "road"]);
    let options = EvaluateOptions::new();
    let wanted = measured(&model, &straight, &options).unwrap();
    assert_eq!((wanted.pictures, wanted.matched_by), (2, MatchBy::Name));
    // The same truth under other ids.
    pairs(room.path(), &["a", "b"], |i| {
        [2, 0, 1][usize::from(thirds(i))]
    });
    let turned = named(room.path(), &["Tree", "ROAD", "sky "]);
    let got = measured(&model, &turned, &options).unwrap();
    assert_eq!(got.confusion, wanted.confusion);
    let by_place = measured(
        &model,
        &turned,
        &EvaluateOptions::new().match_by(MatchBy::Place),
    );
    assert_ne!(by_place.unwrap().confusion, wanted.confusion);
    let others = named(room.path(), &["tree", "road", "sea"]);
    match measured(&model, &others, &options) {
        Err(EvaluateError::Classes(differ)) => {
            assert_eq!(
                (differ.data_only, differ.network_only),
                (vec!["sea".into()], vec!["sky".into()])
            );
        }
        other => panic!("{other:?}"),
    }
    // A class of the data that is ignored need not be the model's.
    let got = measured(&model, &others, &EvaluateOptions::new().ignore([2])).unwrap();
    assert_eq!(got.confusion.ignored(), 2 * 32 * 24 / 3);
    assert!(
        got.scores[0]
            .score
            .protocol
            .to_string()
            .contains("those of sea")
    );
    // Names that nobody gave are none.
    let unnamed = Dataset::open(room.path()).unwrap();
    assert_eq!(
        measured(&model, &unnamed, &options).unwrap().matched_by,
        MatchBy::Place
    );
}

#[test]
fn what_is_ignored_is_not_counted() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path(), &["sky", "tree", "road"], None);
    pairs(room.path(), &["a"], |_| 255);
    let all_void = measured(
        &model,
        &Dataset::open(room.path()).unwrap(),
        &EvaluateOptions::new(),
    )
    .unwrap();
    assert!(
        all_void
            .scores
            .iter()
            .all(|named| named.score.value.is_none())
    );
    assert!(
        all_void
            .classes
            .iter()
            .all(|class| class.iou.is_none() && class.pixels == 0)
    );
    let json = serde_json::to_value(&all_void).unwrap();
    assert!(json["scores"]["mIoU"]["value"].is_null());
    assert_eq!(
        (&json["ignored_pixels"], &json["masks"]["rule"]),
        (&(32 * 24).into(), &"ids".into())
    );

    // One class before a background says nothing to a model of three; it is not the second by chance.
    pairs(room.path(), &["a"], |i| (i % 2) as u8 * 255);
    let white = Dataset::open(room.path()).unwrap();
    let error = measured(&model, &white, &EvaluateOptions::new()).unwrap_err();
    assert!(
        matches!(error, EvaluateError::Ambiguous { classes: 3, .. }),
        "{error}"
    );
    let by_place = EvaluateOptions::new().match_by(MatchBy::Place);
    let counted = measured(&model, &white, &by_place).unwrap();
    assert_eq!(counted.classes[1].pixels, 32 * 24 / 2);
    assert!(
        counted.scores[0]
            .score
            .protocol
            .to_string()
            .ends_with("no pixel ignored")
    );
    let ids = Open {
        rule: Some("ids".parse().unwrap()),
        ..Open::default()
    };
    let void = measured(
        &model,
        &ids.open(room.path()).unwrap(),
        &EvaluateOptions::new(),
    )
    .unwrap();
    assert_eq!(
        (void.classes[1].pixels, void.confusion.ignored()),
        (0, 32 * 24 / 2)
    );
    assert!(
        void.scores[0]
            .score
            .protocol
            .to_string()
            .ends_with("pixels labelled 255 ignored")
    );
}

#[test]
fn a_binary_model_tells_the_class_of_its_name() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path(), &["tree"], None);
    pairs(room.path(), &["a"], |i| (i % 3) as u8);
    let third = 32 * 24 / 3;
    for (classes, of_class) in [
        (["sky", "tree", "road"], third),
        (["tree", "sky", "road"], third),
    ] {
        let got = measured(
            &model,
            &named(room.path(), &classes),
            &EvaluateOptions::new(),
        )
        .unwrap();
        assert_eq!(got.classes[1].name, "tree");
        assert_eq!(
            got.confusion.counts(1).true_positives + got.confusion.counts(1).false_negatives,
            of_class
        );
    }
    let error = measured(
        &model,
        &named(room.path(), &["sky", "sea", "road"]),
        &EvaluateOptions::new(),
    );
    assert!(matches!(error, Err(EvaluateError::Classes(_))));
    // Masks without the class have none of it.
    pairs(room.path(), &["a"], |_| 0);
    let got = measured(
        &model,
        &Dataset::open(room.path()).unwrap(),
        &EvaluateOptions::new(),
    )
    .unwrap();
    assert_eq!(got.classes[1].pixels, 0);
}

#[test]
fn what_the_network_did_not_see_is_left_out_and_said() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path(), &["sky", "tree", "road"], Some((16, 16)));
    pairs(room.path(), &["a"], |i| (i % 3) as u8);
    let got = measured(
        &model,
        &Dataset::open(room.path()).unwrap(),
        &EvaluateOptions::new(),
    )
    .unwrap();
    assert_eq!(
        (got.confusion.pixels(), got.unseen),
        (16 * 16, 32 * 24 - 16 * 16)
    );
    assert!(
        got.scores[0]
            .score
            .protocol
            .to_string()
            .contains("512 outside the network's crop")
    );
}

#[test]
fn the_way_pictures_are_segmented_is_part_of_the_protocol() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path(), &["tree"], None)
        .with_threshold(0.3)
        .unwrap();
    pairs(room.path(), &["a"], |i| (i % 2) as u8);
    let data = Dataset::open(room.path()).unwrap();
    let protocol = |segment: SegmentOptions| {
        let options = EvaluateOptions::new().segment(segment.clone());
        let got = measured(&model, &data, &options).unwrap();
        let json = serde_json::to_value(&got).unwrap();
        let mut counted = Confusion::new(2, Some(255)).unwrap();
        let sample = data.sample(0).unwrap();
        let found = model.segment_with(sample.picture(), &segment).unwrap();
        counted
            .add(sample.labels().ids(), found.labels().ids())
            .unwrap();
        assert_eq!(got.confusion, counted, "measured as it was asked for");
        (
            got.scores[0].score.protocol.to_string(),
            json["settings"].clone(),
        )
    };
    let (plain, settings) = protocol(SegmentOptions::new());
    assert!(plain.ends_with("ignored; threshold 0.3"), "{plain}");
    assert_eq!(settings["threshold"], serde_json::json!(0.3_f32));
    assert!(settings["tta"].is_null() && settings["tile"].is_null());
    let tiles = Tiles::new(16, 4).unwrap();
    let (both, settings) = protocol(SegmentOptions::new().flip(true).tiles(tiles));
    assert!(
        both.ends_with(
            "; threshold 0.3, averaged with mirror images, in tiles of 16 pixels that overlap by 4"
        ),
        "{both}"
    );
    assert_eq!(
        (&settings["tta"], &settings["tile"], &settings["overlap"]),
        (&"flip".into(), &16.into(), &4.into())
    );
}

#[test]
fn events_come_and_errors_name_the_file() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path(), &["sky", "tree", "road"], None);
    pairs(room.path(), &["a", "b", "c"], |i| (i % 3) as u8);
    let data = Dataset::open(room.path()).unwrap();
    let mut names = Vec::new();
    let stopped = model.evaluate(&data, &EvaluateOptions::new(), &mut |event| {
        if let EvaluateEvent::Picture { name, done, total } = event {
            names.push((name.to_string(), done, total));
        }
        if names.len() == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(
        stopped,
        Err(EvaluateError::Stopped { done: 2, total: 3 })
    ));
    assert_eq!(names, [("a".into(), 1, 3), ("b".into(), 2, 3)]);
    fs::write(room.path().join("images/b.png"), b"cut").unwrap();
    let error = measured(&model, &data, &EvaluateOptions::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("b.png"), "{error}");
    let none = Dataset::from_samples(Vec::new(), Classes::new(["x"]), None);
    assert!(matches!(
        measured(&model, &none, &EvaluateOptions::new()),
        Err(EvaluateError::Empty(_))
    ));
}
