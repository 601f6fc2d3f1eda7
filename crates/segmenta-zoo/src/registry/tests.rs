use segmenta_graph::Shape;

use super::*;
use crate::encoders::encoders;
use crate::settings::{Attention, Channels, LabelHead, Settings};

#[test]
fn a_misspelt_name_is_answered_with_the_nearest() {
    let error = find("fcn_resnet5").unwrap_err().to_string();
    assert!(error.contains("did you mean `fcn_resnet50`?"), "{error}");
    let error = find("yolo").unwrap_err().to_string();
    assert!(!error.contains("did you mean"), "{error}");
}

#[test]
fn options_that_cannot_be_are_refused() {
    let lraspp = find("lraspp_mobilenet_v3_large").unwrap();
    for (options, word) in [
        (
            Options {
                aux: true,
                ..Options::new(21)
            },
            "auxiliary",
        ),
        (
            Options {
                width: 0.5,
                ..Options::new(21)
            },
            "width",
        ),
        (Options::new(0), "classes"),
        (Options::new(257), "classes"),
        (
            Options {
                in_channels: 0,
                ..Options::new(2)
            },
            "channel",
        ),
    ] {
        let error = lraspp.build(&options).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn every_architecture_builds_and_names_its_class_entry() {
    for architecture in architectures() {
        let graph = architecture.build(&Options::new(7)).unwrap();
        let entry = graph
            .parameters()
            .iter()
            .find(|p| p.name == architecture.classes_entry);
        let rows = 7 + architecture.beside_classes;
        assert_eq!(
            entry.map(|p| p.shape[0]),
            Some(rows),
            "{}",
            architecture.name
        );
    }
}

#[test]
fn sizes_of_the_tutorials_networks() {
    let count = |name: &str, classes| {
        let graph = find(name).unwrap().build(&Options::new(classes)).unwrap();
        graph.trainable_count()
    };
    assert_eq!(count("segnet", 3), 15_274_892);
    assert_eq!(count("segnet_separable", 3), 1_749_671);
    assert_eq!(count("fcn_resnet18", 21), 12_993_642);
}

#[test]
fn what_goes_up_is_as_large_as_what_came_in() {
    let options = |encoder| Options {
        encoder: Some(encoder),
        ..Options::new(4)
    };
    // The hub's stay at the stride of their heads.
    let mut graphs: Vec<(String, Graph)> = architectures()
        .iter()
        .filter(|a| a.fields().is_empty())
        .map(|a| (a.name.into(), a.build(&Options::new(4)).unwrap()))
        .collect();
    let unet = find("unet").unwrap();
    for encoder in encoders().filter(|e| e.stages().unwrap().len() > 1) {
        graphs.push((encoder.name.into(), unet.build(&options(encoder)).unwrap()));
    }
    for (name, graph) in graphs {
        let least = graph.least_side().unwrap();
        assert!(
            least <= 128,
            "{name} takes pictures from {least}×{least} on"
        );
        for [height, width] in
            [[64, 96], [75, 101], [33, 250]].map(|size| size.map(|s| s.max(least)))
        {
            let shapes = graph.shapes(Shape::new(2, 3, height, width)).unwrap();
            let out = shapes[graph.output("out").unwrap().index()];
            assert_eq!(out, Shape::new(2, 4, height, width), "{name}");
        }
    }
}

#[test]
fn options_of_a_decoder_are_read_from_its_state_dict() {
    let unet = find("unet").unwrap();
    let built = Options {
        in_channels: 1,
        encoder: Some(find_encoder("resnet18").unwrap()),
        settings: Settings {
            encoder_depth: Some(3),
            decoder_channels: Some(Channels::Each(vec![128, 64, 32])),
            decoder_attention_type: Some(Attention::Scse),
            aux_params: Some(LabelHead::new(3)),
            ..Settings::default()
        },
        ..Options::new(4)
    };
    let graph = unet.build(&built).unwrap();
    let shape_of = |name: &str| {
        let entry = graph.parameters().iter().find(|p| p.name == name);
        entry.map(|p| p.shape.clone())
    };
    assert_eq!(unet.options_of(&shape_of), built);
}

#[test]
fn the_first_layer_says_how_many_channels_come_in() {
    for name in ["fcn_resnet50", "segnet", "segnet_separable", "unet_plain"] {
        let architecture = find(name).unwrap();
        let built = Options {
            in_channels: 5,
            ..Options::new(2)
        };
        let graph = architecture.build(&built).unwrap();
        let shape_of = |name: &str| {
            let entry = graph.parameters().iter().find(|p| p.name == name);
            entry.map(|p| p.shape.clone())
        };
        assert_eq!(architecture.options_of(&shape_of), built, "{name}");
    }
}

#[test]
fn a_decoder_that_does_not_fit_is_refused() {
    let refused = |name: &str, options: Options| {
        let error = find(name).unwrap().build(&options).unwrap_err();
        error.to_string()
    };
    let encoder = Some(find_encoder("resnet18").unwrap());
    let in_name = Options {
        encoder,
        ..Options::new(2)
    };
    assert!(refused("fcn_resnet50", in_name).contains("in its name"));
    let set = |name: &str, value: &str| {
        let mut options = Options::new(2);
        options.settings.set(name, value).unwrap();
        options
    };
    let attentive = refused("segnet", set("decoder_attention_type", "scse"));
    assert!(
        attentive.contains("no setting `decoder_attention_type`; it has none"),
        "{attentive}"
    );
    let other = refused("linknet", set("decoder_channels", "16"));
    assert!(other.contains("it has encoder_depth, "), "{other}");
    assert!(refused("unet", set("encoder_depth", "2")).contains("3 to 5 stages, not 2"));
    assert!(refused("unet", set("decoder_channels", "[64, 32]")).contains("deep: 5, not 2"));
    assert!(refused("unet", set("decoder_channels", "64")).contains("5 in all"));
    assert!(refused("upernet", set("decoder_channels", "[64]")).contains("one number"));
    let empty = refused("unet", set("decoder_channels", "[64, 32, 16, 8, 0]"));
    assert!(
        empty.contains("`decoder_channels` from 1 to 16384, not 0"),
        "{empty}"
    );
    let strides = refused("pan", set("encoder_output_stride", "8"));
    assert!(strides.contains("[16, 32], not 8"), "{strides}");
    let on = |name: &str, encoder: &str| {
        let encoder = Some(find_encoder(encoder).unwrap());
        refused(
            name,
            Options {
                encoder,
                ..Options::new(2)
            },
        )
    };
    assert!(on("deeplabv3", "vgg11").contains("`vgg11` cannot"));
    assert!(on("unetplusplus", "mit_b0").contains("stride 2, which `mit_b0`"));
    let error = find_encoder("resnet20").unwrap_err().to_string();
    assert!(error.contains("did you mean `resnet"), "{error}");
}
