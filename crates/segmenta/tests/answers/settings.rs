//! Every setting of every architecture: masks of the picture's size, whole, in tiles, mirrored and measured.

use segmenta::{
    Model, ModelOptions, Preprocess, Resize, Resolution, Scores, SegmentOptions, Tiles,
    WeightMemory,
};
use segmenta_metrics::Confusion;
use segmenta_zoo::{Architecture, Options, ZooError, architectures, find_encoder};

use crate::networks::{fill, picture};

/// Decoders are as narrow as can be: what they compute is not looked at.
const NARROW: [(&str, &str); 9] = [
    ("decoder_channels", "[16, 16, 8, 8, 8]"),
    ("decoder_channels", "16"),
    ("decoder_pyramid_channels", "16"),
    ("decoder_segmentation_channels", "32"),
    ("decoder_pab_channels", "8"),
    ("psp_out_channels", "16"),
    ("decoder_intermediate_channels", "[8, 8, 8, 8]"),
    ("decoder_fusion_channels", "16"),
    ("decoder_atrous_rates", "[1, 2, 3]"),
];

/// Transformers of the hub, likewise.
const NARROW_FIELDS: [(&str, &str); 3] = [
    ("hidden_size", "64"),
    ("num_attention_heads", "4"),
    ("intermediate_size", "128"),
];

/// Every setting, with all its words, and numbers of each kind.
const SETTINGS: [(&str, &[&str]); 22] = [
    ("encoder_depth", &["1", "3", "4", "5"]),
    ("encoder_output_stride", &["8", "16", "32"]),
    ("encoder_output_indices", &["[0, 1, 2, 3]", "[11, 3, 3, 0]"]),
    ("decoder_channels", &["24", "[24, 8, 8, 8, 4]"]),
    (
        "decoder_use_norm",
        &[
            "true",
            "false",
            "batchnorm",
            "identity",
            "instancenorm",
            "{\"type\": \"instancenorm\", \"affine\": true}",
        ],
    ),
    ("decoder_attention_type", &["scse"]),
    ("decoder_interpolation", &["nearest", "bilinear"]),
    ("decoder_pyramid_channels", &["8"]),
    ("decoder_segmentation_channels", &["64"]),
    ("decoder_merge_policy", &["add", "cat"]),
    ("decoder_dropout", &["0", "1"]),
    ("decoder_pab_channels", &["4"]),
    ("psp_out_channels", &["8"]),
    ("psp_dropout", &["0.5"]),
    ("decoder_atrous_rates", &["[6, 12, 18]"]),
    ("decoder_aspp_separable", &["true", "false"]),
    ("decoder_aspp_dropout", &["0.1"]),
    ("decoder_readout", &["cat", "add", "ignore"]),
    ("decoder_intermediate_channels", &["[8, 8, 16, 16]"]),
    ("decoder_fusion_channels", &["8"]),
    ("upsampling", &["1", "2", "3", "4", "8", "16"]),
    (
        "activation",
        &[
            "identity",
            "sigmoid",
            "softmax",
            "softmax2d",
            "logsoftmax",
            "tanh",
        ],
    ),
];

const HEADS: [&str; 3] = [
    "{\"classes\": 4}",
    "{\"classes\": 1, \"pooling\": \"max\", \"activation\": \"sigmoid\"}",
    "{\"classes\": 3, \"dropout\": 0.5, \"activation\": \"softmax\"}",
];

/// A small network of an architecture.
fn small(architecture: &Architecture, classes: usize) -> Options {
    let mut options = Options::new(classes);
    if architecture.has_width {
        options.width = 0.1;
    }
    // Where there is no `hidden_size` the others are lists, a number a stage.
    let is_plain = architecture.fields().contains(&NARROW_FIELDS[0].0);
    for (name, value) in NARROW_FIELDS {
        if is_plain && architecture.fields().contains(&name) {
            options.set(name, value).unwrap();
        }
    }
    if architecture.has_encoder {
        // MAnet's and PAN's decoders begin with convolutions of as many channels as the deepest map has.
        let name = match architecture.name {
            "dpt" => "tu-vit_tiny_patch16_224",
            "manet" | "pan" => "timm-tf_efficientnet_lite0",
            _ => "mobilenet_v2",
        };
        options.encoder = Some(find_encoder(name).unwrap());
        let by_block = ["unet", "unetplusplus", "manet"].contains(&architecture.name);
        for (name, value) in NARROW {
            let is_other_form = name == "decoder_channels" && value.starts_with('[') != by_block;
            if architecture.settings().contains(&name) && !is_other_form {
                options.set(name, value).unwrap();
            }
        }
    }
    options
}

/// The network, or none if it is refused in words that say what it takes.
fn built(architecture: &Architecture, options: &Options) -> Option<Model> {
    // Nothing is made ready for a second run.
    let run = ModelOptions::new().threads(1).memory(WeightMemory::Low);
    match Model::untrained(architecture.name, options, &run, fill) {
        Ok(model) => Some(
            model
                .with_preprocess(Preprocess {
                    resize: Resize::None,
                    ..Preprocess::torchvision(1)
                })
                .unwrap(),
        ),
        Err(segmenta::Error::Zoo(ZooError::Option { problem, .. })) => {
            assert!(problem.contains("take"), "{}: {problem}", architecture.name);
            None
        }
        Err(error) => panic!("{}: {error}", architecture.name),
    }
}

/// Masks of the picture's size whichever way, and of the same classes where it is the same way.
fn check(model: &Model, thorough: bool, what: &str) {
    let ids = model.description().class_names().len();
    let mut confusion = Confusion::new(ids, Some(255)).unwrap();
    // A pyramid may need some pixels; tiles are as small as it lets them be.
    let least = model.engine().graph().least_side().unwrap();
    let side = least.next_multiple_of(32);
    let options = |flip: bool, tiled: bool| {
        let tiles = tiled.then(|| Tiles::new(side, 8).unwrap());
        SegmentOptions::new()
            .flip(flip)
            .tiles(tiles)
            .probability(true)
    };
    // Whole at a size that no stride divides; two tiles side by side.
    let whole = ((side + 9, side + 3), false, false);
    let tiled = ((side + 9, side), true, true);
    let ways = [tiled, whole, (whole.0, true, false), (tiled.0, false, true)];
    for (i, ((width, height), flip, tiled)) in ways.into_iter().enumerate() {
        if i > 0 && !thorough {
            break;
        }
        let photo = picture(width as u64, width, height);
        let options = options(flip, tiled);
        let got = model.segment_with(&photo, &options).unwrap();
        assert_eq!(got.labels().size(), (width, height), "{what}");
        let found = got.labels().ids();
        assert!(found.iter().all(|&id| usize::from(id) < ids), "{what}");
        let probability = got.probability().unwrap();
        assert!(
            probability.iter().all(|p| (-1e-6..=1.00001).contains(p)),
            "{what}"
        );
        confusion.add(found, found).unwrap();
        if thorough && i < 2 {
            let scores = model.scores_with(&photo, &options).unwrap();
            let labels = scores.labels(Resolution::Photograph).unwrap();
            assert_eq!(labels.ids(), found, "{what}");
            won(&scores, what);
        }
    }
    assert_eq!(confusion.pixel_accuracy().value, Some(1.0), "{what}");
}

/// Where classes exclude each other none is likelier than the one whose label a pixel has.
fn won(scores: &Scores<'_>, what: &str) {
    let labels = scores.labels(Resolution::Photograph).unwrap();
    let all = scores.probabilities(Resolution::Photograph).unwrap();
    let (ids, pixels) = (all.shape.channels, labels.ids().len());
    assert_eq!(all.shape.pixels(), pixels, "{what}");
    for (pixel, &id) in labels.ids().iter().enumerate() {
        let of = |id: usize| all.data[id * pixels + pixel];
        let label = of(usize::from(id));
        assert!((0..ids).all(|other| of(other) <= label + 1e-6), "{what}");
    }
}

#[test]
fn every_setting_of_every_architecture_makes_masks() {
    // Two threads of work, as many as a small machine has cores.
    let all = architectures();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(architecture) = all.get(at) else {
                return;
            };
            every_setting_of(architecture);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

fn every_setting_of(architecture: &Architecture) {
    let name = architecture.name;
    for classes in [1, 3] {
        let options = small(architecture, classes);
        let plain = built(architecture, &options).unwrap();
        check(&plain, architecture.has_encoder && classes == 3, name);
        if architecture.has_aux && classes == 1 {
            let run = ModelOptions::new().outputs(["aux"]);
            let options = Options {
                aux: true,
                ..options
            };
            let aux = Model::untrained(name, &options, &run, fill).unwrap();
            let picture = picture(3, 50, 40);
            assert_eq!(aux.segment(&picture).unwrap().labels().size(), (50, 40));
        }
    }
    let heads = ("aux_params", &HEADS[..]);
    for (setting, values) in SETTINGS.into_iter().chain([heads]) {
        if !architecture.settings().contains(&setting) {
            continue;
        }
        // What changes the answer is looked at from all sides.
        let thorough = ["upsampling", "activation"].contains(&setting);
        let mut made = 0;
        for value in values {
            for classes in if setting == "activation" {
                &[1, 3][..]
            } else {
                &[3]
            } {
                let mut options = small(architecture, *classes);
                if setting == "encoder_depth" {
                    options.settings.decoder_channels = None;
                    options.settings.decoder_intermediate_channels = None;
                }
                options.set(setting, value).unwrap();
                let Some(model) = built(architecture, &options) else {
                    continue;
                };
                made += 1;
                check(
                    &model,
                    thorough,
                    &format!("{name} {setting}={value} of {classes}"),
                );
            }
        }
        assert!(made > 0, "{name} takes `{setting}`, but none of {values:?}");
    }
}

/// What no setting can be is refused in words; nothing panics, and no memory is asked for.
#[test]
fn values_that_cannot_be_are_refused_in_words() {
    let wrong = [
        "0",
        "-1",
        "1e30",
        "NaN",
        "[]",
        "[0]",
        "[[1]]",
        "100000000",
        "18446744073709551615",
        "true",
        "null",
        "{}",
        "{\"classes\": 0}",
        "{\"classes\": 1000000}",
        "{\"type\": \"batchnorm\", \"eps\": -1}",
        "word",
        "[0, 0, 0]",
        "[1, 1, 1, 1, 100000000]",
        "[99, 99, 99, 99]",
        "2.5",
    ];
    for architecture in architectures().iter().filter(|a| a.has_encoder) {
        let heads = ("aux_params", &HEADS[..]);
        for (setting, _) in SETTINGS.into_iter().chain([heads]) {
            for value in wrong {
                let mut options = small(architecture, 2);
                let Err(problem) = options.set(setting, value) else {
                    match architecture.build(&options) {
                        Ok(graph) => {
                            assert!(graph.trainable_count() < 1 << 28, "{setting}={value}");
                        }
                        Err(error) => {
                            // The network, or the layer that cannot be.
                            let error = error.to_string();
                            let named =
                                error.contains(architecture.name) || error.contains("`decoder.");
                            assert!(named, "{setting}={value}: {error}");
                        }
                    }
                    continue;
                };
                assert!(problem.contains(setting), "{problem}");
            }
        }
    }
}
