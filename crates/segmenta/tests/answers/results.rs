//! What a model and its results are told and say: names, colours, thresholds, drawings, progress; and what a model file
//! says of them.

use std::ops::ControlFlow;

use segmenta::{
    Answer, Error, Model, ModelOptions, Palette, Picture, SegmentOptions, Tiles, Values,
};
use segmenta_graph::{Parameter, Role};
use segmenta_weights::{
    CARD_VERSION, CardAnswer, CardValues, Filter, ModelCard, Preprocessing, Resize, save,
};
use segmenta_zoo::{Options, find};

use crate::networks::{fill, network, picture};

/// A model file of `deeplabv3_mobilenet_v2` at a twentieth of its width.
fn model_file(
    folder: &tempfile::TempDir,
    classes: &[&str],
    change: impl FnOnce(&mut ModelCard),
    weights: impl Fn(&Parameter) -> Vec<f32>,
) -> std::path::PathBuf {
    let options = Options {
        width: 0.05,
        ..Options::new(classes.len())
    };
    let graph = find("deeplabv3_mobilenet_v2")
        .unwrap()
        .build(&options)
        .unwrap();
    let mut card = ModelCard {
        format_version: CARD_VERSION,
        architecture: "deeplabv3_mobilenet_v2".into(),
        encoder: None,
        options: [("width".into(), "0.05".into())].into(),
        classes: classes.iter().map(|&name| name.into()).collect(),
        palette: None,
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
        source: None,
        licence: None,
    };
    change(&mut card);
    let parameters: Vec<&Parameter> = graph
        .parameters()
        .iter()
        .filter(|p| p.role != Role::Counter)
        .collect();
    let values: Vec<Vec<f32>> = parameters.iter().map(|p| weights(p)).collect();
    let entries = parameters.iter().zip(&values);
    let views: Vec<_> = entries
        .map(|(p, v)| (&*p.name, &*p.shape, &v[..]))
        .collect();
    let path = folder.path().join("model.safetensors");
    save(&path, &views, &card.to_metadata().unwrap()).unwrap();
    path
}

fn open(path: &std::path::Path, threshold: Option<f32>) -> Result<Model, Error> {
    let mut options = ModelOptions::new().weights(path).threads(1);
    options.threshold = threshold;
    Model::open(&options, &mut |_| {})
}

#[test]
fn a_model_file_says_what_its_numbers_are_and_its_user_has_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let answer = CardAnswer {
        values: Some(CardValues::Probabilities),
        threshold: Some(0.25),
    };
    let path = model_file(&folder, &["cat"], |card| card.answer = Some(answer), fill);
    let of = |threshold| match open(&path, threshold).unwrap().description().answer {
        Answer::PerPixel(answer) => (answer.values, answer.threshold),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(None), (Values::Probabilities, 0.25));
    assert_eq!(of(Some(0.75)), (Values::Probabilities, 0.75));
    assert!(matches!(open(&path, Some(2.0)), Err(Error::Threshold(_))));
    let path = model_file(&folder, &["sky", "road"], |_| (), fill);
    let error = open(&path, Some(0.5)).unwrap_err();
    assert!(
        error.to_string().contains("network of 2 classes"),
        "{error}"
    );
    assert!(open(&path, None).is_ok());
}

#[test]
fn the_colour_of_one_class_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let colour = |card: &mut ModelCard| card.palette = Some(vec![[9, 8, 7]]);
    let model = open(&model_file(&folder, &["cat"], colour, fill), None).unwrap();
    let description = model.description();
    assert_eq!(description.class_names(), ["background", "cat"]);
    assert_eq!(description.palette.color(0), [0; 3]);
    assert_eq!(description.palette.color(1), [9, 8, 7]);
    assert_eq!(description.palette.classes(), 2);
}

#[test]
fn background_goes_by_its_name_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["__background__", "_background_", "background"] {
        let path = model_file(&folder, &[name, "_cat_"], |_| (), fill);
        let model = open(&path, None).unwrap();
        assert_eq!(model.description().class_names(), ["background", "_cat_"]);
        let result = model.segment(&picture(1, 30, 20)).unwrap();
        assert_eq!(result.class_names(), ["background", "_cat_"]);
    }
    let voc = Options {
        width: 0.05,
        ..Options::new(21)
    };
    let model = Model::untrained(
        "deeplabv3_mobilenet_v2",
        &voc,
        &ModelOptions::default(),
        fill,
    );
    let names = model.unwrap().description().classes.clone();
    assert_eq!(
        (names[0].as_str(), names[8].as_str()),
        ("background", "cat")
    );
}

#[test]
fn broken_weights_are_named_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let broken = |p: &Parameter| {
        let mut values = fill(p);
        if p.name == "logits.bias" {
            values.fill(f32::NAN);
        }
        values
    };
    let path = model_file(&folder, &["a", "b", "c"], |_| (), broken);
    let error = open(&path, None).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }));
    let text = error.to_string();
    let parts: Vec<&str> = text.split(" · ").collect();
    assert!(
        parts[0].contains("3 of 3 values of `logits.bias`"),
        "{text}"
    );
    assert!(
        parts[1].ends_with("model.safetensors") && parts[2].contains("again"),
        "{text}"
    );
}

#[test]
fn numbers_that_end_on_the_way_are_no_mask() {
    let options = Options {
        width: 0.05,
        ..Options::new(3)
    };
    let negative = |p: &Parameter| {
        let is_it = p.role == Role::RunningVar && p.name.contains("features.5.");
        if is_it { vec![-1.0; p.len()] } else { fill(p) }
    };
    let run = ModelOptions::default();
    let model = Model::untrained("deeplabv3_mobilenet_v2", &options, &run, negative).unwrap();
    let photo = picture(1, 40, 30);
    let options = |tiled: bool, flip: bool| {
        let tiles = tiled.then(|| Tiles::new(32, 8).unwrap());
        SegmentOptions::new().tiles(tiles).flip(flip)
    };
    let recipe = segmenta::Preprocess {
        pad: None,
        ..model.description().preprocess.clone()
    };
    let model = model.with_preprocess(recipe).unwrap();
    for (tiled, flip) in [(false, false), (true, false), (false, true), (true, true)] {
        let error = model
            .segment_with(&photo, &options(tiled, flip))
            .unwrap_err();
        assert!(error.to_string().contains("`features.5."), "{error}");
        assert!(model.scores_with(&photo, &options(tiled, flip)).is_err());
    }
}

#[test]
fn names_and_colours_can_be_given_to_a_model_or_a_result() {
    let colours = [[1, 2, 3], [40, 50, 60], [200, 100, 0]];
    let palette = Palette::from_colors(&colours);
    let photo = picture(2, 33, 20);
    let model = network("fpn", 3, &[]);
    let result = model.segment(&photo).unwrap();
    assert!(result.clone().with_classes(["a", "b"]).is_err());
    let result = result
        .with_classes(["a", "b", "c"])
        .unwrap()
        .with_palette(palette.clone());
    let model = model
        .with_classes(["a", "b", "c"])
        .unwrap()
        .with_palette(palette);
    let same = model.segment(&photo).unwrap();
    for result in [&result, &same] {
        assert_eq!(result.class_names(), ["a", "b", "c"]);
        for share in result.shares() {
            assert_eq!(share.color, colours[usize::from(share.id)]);
            assert_eq!(share.name, ["a", "b", "c"][usize::from(share.id)]);
        }
        let overlay = result.overlay_with(&photo, 1.0).unwrap();
        for (pixel, &id) in overlay.pixels().chunks(3).zip(result.labels().ids()) {
            assert_eq!(pixel, colours[usize::from(id)]);
        }
    }
    let error = network("fpn", 3, &[]).with_classes(["a"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 name for 3 classes · give one for each id, the background's first"
    );
    // Of one class its own name will do.
    for names in [vec!["cat"], vec!["nothing", "cat"]] {
        let model = network("fpn", 1, &[]).with_classes(names).unwrap();
        assert_eq!(model.description().class_names(), ["background", "cat"]);
    }
    assert!(
        network("fpn", 1, &[])
            .with_classes(["a", "b", "c"])
            .is_err()
    );
}

#[test]
fn classes_of_any_number_have_colours_of_their_own() {
    let model = network("fpn", 200, &[]);
    let palette = &model.description().palette;
    let colours: std::collections::HashSet<[u8; 3]> =
        (0..200).map(|id| palette.color(id)).collect();
    assert_eq!((colours.len(), palette.classes()), (200, 200));
}

#[test]
fn drawings_are_methods_of_a_result() {
    let photo = picture(5, 64, 48);
    let result = network("fpn", 3, &[]).segment(&photo).unwrap();
    let drawn = result.legend(&result.overlay(&photo));
    assert!(drawn.width() > 64 || drawn.height() > 48);
    let entries = result.legend_entries(0.0);
    assert_eq!(entries.len(), result.shares().len());
    assert!(result.legend_entries(1.1).is_empty());
    let beside = result.beside(&photo).unwrap();
    assert_eq!(beside.size(), (2 * 64 + 6, 48 + 4));

    let rgba = |bytes: Vec<u8>| image_of(&bytes);
    let all = rgba(result.cutout(&photo).unwrap());
    let one = rgba(result.cutout_of(&photo, &|id| id == 2).unwrap());
    for (pixel, &id) in result.labels().ids().iter().enumerate() {
        let opaque = |rgba: &[u8]| rgba[4 * pixel + 3] == 255;
        assert_eq!((opaque(&all), opaque(&one)), (id != 0, id == 2));
    }
    let other = Picture::filled(3, 3, [0; 3]);
    assert!(result.cutout(&other).is_err() && result.beside(&other).is_err());
}

/// The pixels of an RGBA PNG, by the library that it can be read back with.
fn image_of(bytes: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

#[test]
fn progress_is_told_and_can_be_stopped() {
    let model = network("fpn", 2, &[("upsampling", "1")]);
    let photo = picture(7, 100, 40);
    let tiles = Tiles::new(32, 8).unwrap();
    for (options, total) in [
        (SegmentOptions::new(), 1),
        (SegmentOptions::new().flip(true), 2),
        (SegmentOptions::new().tiles(tiles), 8),
        (SegmentOptions::new().tiles(tiles).flip(true), 16),
    ] {
        let mut told = Vec::new();
        let mut watch = |progress: segmenta::Progress| {
            told.push((progress.done, progress.total));
            ControlFlow::Continue(())
        };
        let watched = model.segment_watched(&photo, &options, &mut watch).unwrap();
        assert_eq!(
            told,
            (0..=total).map(|done| (done, total)).collect::<Vec<_>>()
        );
        let plain = model.segment_with(&photo, &options).unwrap();
        assert_eq!(watched.labels().ids(), plain.labels().ids());
        for stop in 0..total {
            let mut heard = 0;
            let mut watch = |progress: segmenta::Progress| {
                heard += 1;
                if progress.done == stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let stopped = model.segment_watched(&photo, &options, &mut watch);
            assert!(matches!(stopped, Err(Error::Cancelled)));
            assert_eq!(heard, stop + 1);
        }
    }
}

#[test]
fn a_batch_is_what_each_alone_is() {
    let model = network("fpn", 3, &[("upsampling", "1"), ("activation", "softmax")]);
    let photos = [picture(1, 40, 30), picture(2, 40, 30), picture(3, 33, 30)];
    let options = SegmentOptions::new().flip(true).probability(true);
    let batch: Vec<&Picture> = photos.iter().collect();
    let together = model.segment_batch(&batch, &options).unwrap();
    for (photo, together) in photos.iter().zip(together) {
        let alone = model.segment_with(photo, &options).unwrap();
        assert_eq!(alone.labels().ids(), together.labels().ids());
        assert_eq!(alone.probability(), together.probability());
    }
    assert!(model.segment_batch(&[], &options).unwrap().is_empty());
}
