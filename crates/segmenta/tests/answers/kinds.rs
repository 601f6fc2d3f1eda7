//! Each kind of answer means what it says, at any size; a result that is no map is refused.

use segmenta::{
    Answer, Model, ModelOptions, Picture, Preprocess, Resize, Resolution, SegmentOptions, Tiles,
    Values,
};
use segmenta_zoo::{Options, find_encoder};

use crate::networks::{fill, network, picture};

/// Values as a kind of answer has them, of the logits of one pixel.
fn told(logits: &[f64], activation: &str) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    let each = |x: &f64| match activation {
        "sigmoid" => 1.0 / (1.0 + (-x).exp()),
        "softmax" => x.exp() / sum,
        "logsoftmax" => x - sum.ln(),
        "tanh" => x.tanh(),
        _ => *x,
    };
    logits.iter().map(each).collect()
}

/// The probability of each id, of the logits of one pixel.
fn likely(logits: &[f64], activation: &str) -> Vec<f64> {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match (logits, activation) {
        (&[one], _) => vec![1.0 - sigmoid(one), sigmoid(one)],
        (many, "sigmoid") => many.iter().map(|&x| sigmoid(x)).collect(),
        (many, _) => told(many, "softmax"),
    }
}

/// One network with every activation: labels and probabilities are those that its logits say, by the definition.
#[test]
fn every_kind_of_answer_says_what_the_logits_say() {
    let picture = picture(1, 52, 39);
    for classes in [1, 4] {
        let logits = network("fpn", classes, &[("upsampling", "1")]);
        let scores = logits.scores(&picture).unwrap();
        assert_eq!(scores.answer().stride, [4.0; 2]);
        let map = scores.values(Resolution::Network).unwrap();
        assert_eq!(
            &map,
            scores.tensor(),
            "without a canvas the map is what came"
        );
        let pixels = map.shape.pixels();
        assert_eq!(pixels, 13 * 10);
        for activation in ["identity", "sigmoid", "softmax", "logsoftmax", "tanh"] {
            let of_all = ["softmax", "logsoftmax"].contains(&activation);
            if classes == 1 && of_all {
                continue;
            }
            let settings = [("upsampling", "1"), ("activation", activation)];
            let model = network("fpn", classes, &settings);
            let got = model.scores(&picture).unwrap();
            let values = got.values(Resolution::Network).unwrap();
            let shares = got.probabilities(Resolution::Network).unwrap();
            let ids = got.labels(Resolution::Network).unwrap();
            let back = got.logits(Resolution::Network).unwrap();
            for pixel in 0..pixels {
                let at = |tensor: &segmenta::Tensor, plane: usize| {
                    f64::from(tensor.data[plane * pixels + pixel])
                };
                let logits: Vec<f64> = (0..classes).map(|c| at(&map, c)).collect();
                for (class, value) in told(&logits, activation).into_iter().enumerate() {
                    let got = at(&values, class);
                    assert!((got - value).abs() < 1e-4, "{activation}: {got}, {value}");
                    // Back to logits, of a softmax but for what is common to all classes.
                    let common = if of_all {
                        at(&back, 0) - logits[0]
                    } else {
                        0.0
                    };
                    let mut logit = logits[class];
                    if activation == "sigmoid" && classes > 1 {
                        // Not known to be other than those of a softmax.
                        logit = value.ln();
                    }
                    if logit.abs() > 6.0 {
                        // Rounded away, or nearly.
                        continue;
                    }
                    let got = at(&back, class) - common;
                    assert!(
                        (got - logit).abs() < 2e-3 * (1.0 + logit.abs()) * logit.abs().exp(),
                        "{activation}: {got}, {logit}"
                    );
                }
                let likely = likely(&logits, activation);
                for (id, expected) in likely.iter().enumerate() {
                    let got = at(&shares, id);
                    assert!(
                        (got - expected).abs() < 1e-4,
                        "{activation} of {classes}: {got}, {expected}"
                    );
                }
                let won = likely[usize::from(ids.ids()[pixel])];
                assert!(likely.iter().all(|p| *p <= won + 1e-5), "{activation}");
            }
        }
    }
}

#[test]
fn one_class_is_cut_at_its_threshold_whatever_the_kind() {
    let picture = picture(2, 40, 33);
    for activation in ["identity", "sigmoid", "tanh"] {
        let settings = [("upsampling", "1"), ("activation", activation)];
        let mut before = None;
        for threshold in [0.2, 0.5, 0.8] {
            let model = network("fpn", 1, &settings)
                .with_threshold(threshold)
                .unwrap();
            let options = SegmentOptions::new().probability(true);
            let got = model.segment_with(&picture, &options).unwrap();
            let scores = model.scores(&picture).unwrap();
            let shares = scores.probabilities(Resolution::Network).unwrap();
            let ids = scores.labels(Resolution::Network).unwrap();
            let pixels = shares.shape.pixels();
            for (pixel, &id) in ids.ids().iter().enumerate() {
                let share = shares.data[pixels + pixel];
                let near = (share - threshold).abs() < 1e-5;
                assert!(
                    near || (share > threshold) == (id == 1),
                    "{activation} {threshold}: {share}"
                );
            }
            let count = got.labels().counts()[1];
            assert!(
                before.is_none_or(|before| count <= before),
                "{activation} {threshold}"
            );
            before = Some(count);
            if threshold == 0.5 {
                let all = (picture.width() * picture.height()) as u64;
                assert!(
                    count > 0 && count < all,
                    "{activation}: {count} of {all} pixels are the class"
                );
            }
        }
    }
    let many = network("fpn", 3, &[]).with_threshold(0.3).unwrap_err();
    assert!(many.to_string().contains("network of 3 classes"), "{many}");
    let none = network("fpn", 1, &[]).with_threshold(1.0).unwrap_err();
    assert!(none.to_string().contains("between 0 and 1"), "{none}");
}

#[test]
fn a_result_that_is_no_map_is_refused_in_words() {
    let mut options = Options {
        encoder: Some(find_encoder("mobilenet_v2").unwrap()),
        ..Options::new(2)
    };
    options.set("aux_params", "{\"classes\": 4}").unwrap();
    let run = ModelOptions::new().outputs(["label"]);
    let model = Model::untrained("unet", &options, &run, fill).unwrap();
    assert_eq!(model.description().answer, Answer::PerImage);
    let picture = picture(1, 40, 30);
    let tiles = SegmentOptions::new().tiles(Tiles::new(32, 8).unwrap());
    let answers = [
        model.segment(&picture).map(drop),
        model.segment_with(&picture, &tiles).map(drop),
        model
            .segment_batch(&[&picture], &SegmentOptions::new())
            .map(drop),
        model.scores(&picture).map(drop),
        model.scores_with(&picture, &tiles).map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err().to_string();
        assert!(
            error.contains("`label`") && error.contains("not a map"),
            "{error}"
        );
    }
    // The numbers themselves can be had.
    let shape = segmenta_graph::Shape::new(1, 3, 32, 32);
    let results = model
        .engine()
        .forward(&vec![0.1; shape.len()], shape)
        .unwrap();
    assert_eq!(results[0].shape, segmenta_graph::Shape::new(1, 4, 1, 1));
}

#[test]
fn scores_at_a_size_are_the_maps_interpolated() {
    // Of a network at stride 4 and one at stride 1: at the photograph's size labels are those of `segment`.
    for upsampling in ["1", "4"] {
        let model = network("fpn", 3, &[("upsampling", upsampling)]);
        let picture = picture(9, 44, 40);
        let options = SegmentOptions::new().probability(true);
        let whole = model.segment_with(&picture, &options).unwrap();
        let scores = model.scores(&picture).unwrap();
        let labels = scores.labels(Resolution::Photograph).unwrap();
        assert_eq!(whole.labels().ids(), labels.ids());
        let again = scores.segmentation().unwrap();
        assert_eq!(
            (again.labels().ids(), again.probability()),
            (labels.ids(), whole.probability())
        );
        for (width, height) in [(1, 1), (7, 90), (44, 40)] {
            let size = Resolution::Size { width, height };
            let shares = scores.probabilities(size).unwrap();
            let labels = scores.labels(size).unwrap();
            assert_eq!(
                (
                    shares.shape.channels,
                    shares.shape.width,
                    shares.shape.height
                ),
                (3, width, height)
            );
            assert_eq!(labels.size(), (width, height));
            let pixels = width * height;
            for pixel in 0..pixels {
                let sum: f32 = (0..3).map(|c| shares.data[c * pixels + pixel]).sum();
                assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            }
        }
        for (width, height) in [(0, 4), (4, 0), (1 << 20, 1 << 20), (usize::MAX, 2)] {
            let size = Resolution::Size { width, height };
            assert!(scores.values(size).is_err() && scores.labels(size).is_err());
            assert!(scores.probabilities(size).is_err() && scores.logits(size).is_err());
        }
    }
}

#[test]
fn where_the_network_did_not_look_nothing_is_likely() {
    let model = network("fpn", 2, &[("upsampling", "1")]);
    let model = model
        .with_preprocess(Preprocess {
            resize: Resize::None,
            center_crop: Some([20, 10]),
            ..Preprocess::torchvision(1)
        })
        .unwrap();
    let picture = picture(4, 40, 30);
    let scores = model.scores(&picture).unwrap();
    assert_eq!(scores.seen(), segmenta_image::Rect::new(10, 10, 20, 10));
    for (size, [x, y, width, height]) in [
        (Resolution::Photograph, [10, 10, 20, 10]),
        (
            Resolution::Size {
                width: 80,
                height: 15,
            },
            [20, 5, 40, 5],
        ),
    ] {
        let labels = scores.labels(size).unwrap();
        let shares = scores.probabilities(size).unwrap();
        let pixels = shares.shape.pixels();
        for (pixel, &id) in labels.ids().iter().enumerate() {
            let (column, row) = (pixel % labels.width(), pixel / labels.width());
            let seen = (x..x + width).contains(&column) && (y..y + height).contains(&row);
            let sum = shares.data[pixel] + shares.data[pixels + pixel];
            assert_eq!(id != 255, seen);
            assert!((sum - f32::from(u8::from(seen))).abs() < 1e-5);
        }
    }
    let network = scores.labels(Resolution::Network).unwrap();
    assert_eq!(network.size(), (5, 3), "a quarter of what was seen");
}

#[test]
fn a_canvas_is_no_part_of_a_coarse_map() {
    // The picture covers 30 of 64 columns: seven and a half pixels of the map.
    let model = network("fpn", 3, &[("upsampling", "1")]);
    let pad = segmenta_image::Pad {
        width: 64,
        height: 32,
        value: [127.5; 3],
    };
    let model = model
        .with_preprocess(Preprocess {
            resize: Resize::None,
            pad: Some(pad),
            ..Preprocess::torchvision(1)
        })
        .unwrap();
    let picture = picture(8, 30, 32);
    let scores = model.scores(&picture).unwrap();
    assert_eq!(
        (scores.tensor().shape.width, scores.tensor().shape.height),
        (16, 8)
    );
    let seen = scores.values(Resolution::Network).unwrap();
    assert_eq!((seen.shape.width, seen.shape.height), (8, 8));
    for flip in [false, true] {
        let options = SegmentOptions::new().flip(flip).probability(true);
        let got = model.segment_with(&picture, &options).unwrap();
        assert_eq!(got.labels().size(), (30, 32));
    }
    // The average of a picture's mirror image is the mirror image of the average.
    let options = SegmentOptions::new().flip(true);
    let picture = crate::networks::picture(8, 32, 32);
    let average = |picture| {
        let scores = model.scores_with(picture, &options).unwrap();
        scores.values(Resolution::Network).unwrap()
    };
    let [one, other] = [average(&picture), average(&picture.flip_horizontal())];
    for (row, mirrored) in one.data.chunks(8).zip(other.data.chunks(8)) {
        for (value, mirrored) in row.iter().zip(mirrored.iter().rev()) {
            assert!((value - mirrored).abs() < 1e-5, "{value}, {mirrored}");
        }
    }
}

#[test]
fn a_network_of_probabilities_is_averaged_as_such() {
    let picture = picture(6, 48, 32);
    for activation in ["softmax", "sigmoid", "logsoftmax", "tanh"] {
        let model = network("fpn", 3, &[("upsampling", "1"), ("activation", activation)]);
        let kind = *model.scores(&picture).unwrap().answer();
        assert_ne!(kind.values, Values::Logits);
        let flip = SegmentOptions::new().flip(true);
        let [one, other] = [&picture, &picture.flip_horizontal()]
            .map(|p| model.scores(p).unwrap().tensor().clone());
        let mean = model.scores_with(&picture, &flip).unwrap().tensor().clone();
        let width = one.shape.width;
        let rows = one.data.chunks(width).zip(other.data.chunks(width));
        for ((one, other), mean) in rows.zip(mean.data.chunks(width)) {
            for (x, mean) in mean.iter().enumerate() {
                let expected = 0.5 * (one[x] + other[width - 1 - x]);
                assert!((mean - expected).abs() < 1e-6, "{activation}");
            }
        }
    }
}

#[test]
fn a_picture_of_one_pixel_has_an_answer() {
    for upsampling in ["1", "4", "8"] {
        let model = network("fpn", 2, &[("upsampling", upsampling)]);
        let one = Picture::filled(1, 1, [9, 99, 200]);
        let options = SegmentOptions::new().flip(true).probability(true);
        assert_eq!(
            model.segment_with(&one, &options).unwrap().labels().size(),
            (1, 1)
        );
        let options = options.tiles(Tiles::new(64, 8).unwrap());
        assert_eq!(
            model.segment_with(&one, &options).unwrap().labels().size(),
            (1, 1)
        );
    }
}
