//! Networks are told from the names of their tensors, wherever in a file those lie.

use std::collections::BTreeMap;

use segmenta::{Error, Model, ModelOptions, Names, Recognised};
use segmenta_graph::{Graph, Parameter, Role};
use segmenta_weights::{StateDict, Tensor};
use segmenta_zoo::{Options, architectures, find, find_encoder};

/// State dicts of zeros that a test renames, adds to and takes from.
struct File(BTreeMap<usize, (String, Vec<usize>)>);

impl File {
    fn of(graph: &Graph) -> Self {
        let entries = graph
            .parameters()
            .iter()
            .map(|p| (p.name.clone(), p.shape.clone()));
        Self(entries.enumerate().collect())
    }

    fn renamed(mut self, name: impl Fn(&str) -> String) -> Self {
        for (entry, _) in self.0.values_mut() {
            *entry = name(entry);
        }
        self
    }

    fn and(mut self, name: &str, shape: &[usize]) -> Self {
        self.0.insert(self.0.len(), (name.into(), shape.to_vec()));
        self
    }

    fn reshaped(mut self, name: &str, shape: &[usize]) -> Self {
        let found = self.0.values_mut().find(|(entry, _)| entry == name);
        found.unwrap().1 = shape.to_vec();
        self
    }

    fn dict(&self) -> StateDict {
        StateDict::from_tensors(self.0.values().map(|(name, shape)| {
            let zeros = vec![0.0; shape.iter().product()];
            (name.clone(), Tensor::new(shape.clone(), zeros))
        }))
    }

    fn recognised(&self) -> Result<Recognised, Error> {
        Recognised::of(&self.dict(), None)
    }
}

fn options(encoder: Option<&str>, classes: usize) -> Options {
    Options {
        encoder: encoder.map(|name| find_encoder(name).unwrap()),
        ..Options::new(classes)
    }
}

fn unet() -> Graph {
    find("unet")
        .unwrap()
        .build(&options(Some("mobilenet_v2"), 3))
        .unwrap()
}

#[test]
fn every_network_is_recognised_from_its_names_alone() {
    for architecture in architectures() {
        let encoders: &[Option<&str>] = match (architecture.has_encoder, architecture.name) {
            (false, _) => &[None],
            (true, "dpt") => &[Some("tu-vit_tiny_patch16_224")],
            (true, "segformer") => &[Some("mit_b0"), Some("resnet18")],
            (true, "unet") => &[
                Some("resnet18"),
                Some("densenet121"),
                Some("vgg11_bn"),
                Some("mit_b0"),
            ],
            (true, _) => &[Some("resnet18"), Some("mobilenet_v2")],
        };
        for encoder in encoders {
            let graph = architecture.build(&options(*encoder, 7)).unwrap();
            let found = File::of(&graph)
                .recognised()
                .unwrap_or_else(|e| panic!("{e}"));
            let expected = (architecture.name, *encoder, 7);
            assert_eq!((found.architecture, found.encoder, found.classes), expected);
            assert_eq!(found.taken.summary(), None, "{expected:?}");
        }
    }
}

#[test]
fn settings_that_leave_a_trace_are_read() {
    for (name, encoder, set) in [
        (
            "unet",
            "resnet18",
            &[("decoder_use_norm", "identity"), ("encoder_depth", "3")][..],
        ),
        (
            "unet",
            "resnet18",
            &[
                ("decoder_use_norm", "instancenorm"),
                ("decoder_attention_type", "scse"),
            ],
        ),
        (
            "unetplusplus",
            "resnet18",
            &[("decoder_use_norm", "false"), ("encoder_depth", "4")],
        ),
        (
            "manet",
            "resnet18",
            &[("encoder_depth", "4"), ("decoder_pab_channels", "32")],
        ),
        (
            "linknet",
            "resnet18",
            &[("encoder_depth", "4"), ("decoder_use_norm", "identity")],
        ),
        (
            "fpn",
            "resnet18",
            &[
                ("decoder_merge_policy", "cat"),
                ("decoder_pyramid_channels", "64"),
            ],
        ),
        (
            "pspnet",
            "resnet18",
            &[("encoder_depth", "4"), ("psp_out_channels", "64")],
        ),
        (
            "pan",
            "resnet18",
            &[("decoder_channels", "16"), ("encoder_depth", "4")],
        ),
        (
            "deeplabv3",
            "resnet18",
            &[("decoder_channels", "64"), ("encoder_depth", "4")],
        ),
        (
            "deeplabv3plus",
            "resnet18",
            &[("decoder_aspp_separable", "false"), ("encoder_depth", "4")],
        ),
        (
            "upernet",
            "resnet18",
            &[("decoder_channels", "64"), ("encoder_depth", "4")],
        ),
        (
            "segformer",
            "resnet18",
            &[
                ("encoder_depth", "4"),
                ("decoder_segmentation_channels", "64"),
            ],
        ),
        ("deeplabv3_mobilenet_v2", "", &[("width", "0.5")]),
    ] {
        let mut options = options((!encoder.is_empty()).then_some(encoder), 2);
        for (setting, value) in set {
            options.set(setting, value).unwrap();
        }
        // A depth of 4 is refused by some.
        let Ok(graph) = find(name).unwrap().build(&options) else {
            panic!("{name} cannot be {set:?}");
        };
        let dict = File::of(&graph).dict();
        let found = Recognised::of(&dict, None).unwrap_or_else(|e| panic!("{name} {set:?}: {e}"));
        assert_eq!(found.architecture, name);
        assert_eq!(found.taken.summary(), None, "{name} {set:?}");
        assert_eq!(found.taken.unused, [""; 0], "{name} {set:?}");
    }
}

#[test]
fn names_lie_behind_any_prefix_and_beside_anything() {
    let wraps: [fn(&str) -> String; 8] = [
        |name| format!("model.{name}"),
        |name| format!("state_dict.net.{name}"),
        |name| format!("segmentor._orig_mod.{name}"),
        |name| format!("ema_state_dict.module.model.{name}"),
        |name| format!("unet.{name}"),
        |name| format!("a.b.c.{name}"),
        |name| {
            name.replace("encoder.", "encoder._orig_mod.")
                .replace("decoder.", "decoder.module.")
        },
        |name| {
            format!(
                "_fsdp_wrapped_module.{}",
                name.replace(".blocks", "._fsdp_wrapped_module.blocks")
            )
        },
    ];
    let entries = unet().parameters().len();
    for wrap in wraps {
        let file = File::of(&unet()).renamed(wrap);
        let found = file.recognised().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            (found.architecture, found.encoder),
            ("unet", Some("mobilenet_v2"))
        );
        assert_eq!(
            (found.taken.entries, found.taken.summary()),
            (entries, None)
        );
    }
    let file = File::of(&unet())
        .renamed(|name| format!("state_dict.model.{name}"))
        .and("state_dict.mean", &[1, 3, 1, 1])
        .and("state_dict.std", &[1, 3, 1, 1])
        .and("state_dict.loss.weight", &[3])
        .and("state_dict.metrics.iou.confmat", &[3, 3])
        .and("state_dict.n_averaged", &[])
        .and("optimizer_states.0.state.0.exp_avg", &[8])
        .and("state_dict.model.encoder.features.0.0.total_ops", &[1])
        .and("state_dict.model.total_params", &[1]);
    let said = file.recognised().unwrap().taken.summary().unwrap();
    assert!(
        said.contains("from `state_dict.model`; 8 beside the network left out"),
        "{said}"
    );
    assert!(
        said.contains("`n_averaged`") && said.contains("`total_ops`"),
        "{said}"
    );
}

#[test]
fn of_two_networks_the_averaged_one_is_the_second_and_a_key_takes_it() {
    let mut file = File::of(&unet()).renamed(|name| format!("ema_model.module.{name}"));
    for p in unet().parameters() {
        file = file.and(&format!("online.{}", p.name), &p.shape);
    }
    let found = file.recognised().unwrap();
    assert_eq!(found.taken.prefix, "online.");
    assert_eq!(found.taken.others, ["ema_model.module."]);
    let found = Recognised::of(&file.dict(), Some("ema_model")).unwrap();
    assert_eq!(found.taken.prefix, "ema_model.module.");
    let error = Recognised::of(&file.dict(), Some("ema"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("under the key `ema`") && error.contains("`online`"),
        "{error}"
    );
}

#[test]
fn former_names_are_read() {
    let deeplab = find("deeplabv3")
        .unwrap()
        .build(&options(Some("resnet18"), 2))
        .unwrap();
    let old = |name: &str| {
        let name = name
            .replace("decoder.aspp.", "decoder.0.")
            .replace("decoder.conv.", "decoder.1.");
        name.replace("decoder.bn.", "decoder.2.")
    };
    let found = File::of(&deeplab).renamed(old).recognised().unwrap();
    assert_eq!(found.architecture, "deeplabv3");
    assert!(
        found
            .taken
            .summary()
            .unwrap()
            .contains("under names of an earlier version")
    );

    let unet = find("unet")
        .unwrap()
        .build(&options(Some("densenet121"), 2))
        .unwrap();
    let old = |name: &str| {
        if !name.contains("denselayer") {
            return name.into();
        }
        let parts = ["norm1", "norm2", "conv1", "conv2"];
        parts.iter().fold(name.to_string(), |name, part| {
            let (kind, number) = part.split_at(4);
            name.replace(&format!(".{part}."), &format!(".{kind}.{number}."))
        })
    };
    let found = File::of(&unet).renamed(old).recognised().unwrap();
    assert_eq!(found.encoder, Some("densenet121"));
    assert!(found.taken.former > 100);
}

#[test]
fn what_the_result_does_not_need_never_blocks() {
    let with_aux = Options {
        aux: true,
        ..Options::new(3)
    };
    let graph = find("fcn_resnet50").unwrap().build(&with_aux).unwrap();
    let file = File::of(&graph)
        .reshaped("aux_classifier.4.weight", &[21, 256, 1, 1])
        .reshaped("aux_classifier.4.bias", &[21]);
    let found = file.recognised().unwrap();
    assert_eq!((found.architecture, found.classes), ("fcn_resnet50", 3));
    assert_eq!(found.taken.unneeded.len(), 2);
    // Where it is what is wanted, it is asked for.
    let bytes = saved(&file);
    let wanted = ModelOptions::new().outputs(["aux"]);
    let error = Model::from_bytes(&bytes, "w", &wanted)
        .unwrap_err()
        .to_string();
    assert!(error.contains("aux_classifier.4.weight"), "{error}");
    // A classification head that was torn off in part.
    let mut labelled = options(Some("resnet18"), 2);
    labelled.set("aux_params", r#"{"classes": 5}"#).unwrap();
    let graph = find("unet").unwrap().build(&labelled).unwrap();
    let file = File::of(&graph).reshaped("classification_head.3.bias", &[9]);
    assert_eq!(file.recognised().unwrap().architecture, "unet");
}

/// The bytes of a safetensors file.
fn saved(file: &File) -> Vec<u8> {
    let path = tempfile::tempdir().unwrap().keep().join("w.safetensors");
    let zeros: Vec<(&str, &[usize], Vec<f32>)> = file
        .0
        .values()
        .map(|(name, shape)| (name.as_str(), &shape[..], vec![0.0; shape.iter().product()]))
        .collect();
    let views: Vec<_> = zeros.iter().map(|(n, s, v)| (*n, *s, &v[..])).collect();
    segmenta_weights::save(&path, &views, &BTreeMap::new()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    bytes
}

#[test]
fn what_does_not_fit_is_compared_with_the_nearest_network() {
    let said = |file: File| file.recognised().unwrap_err().to_string();
    let mut lacking = File::of(&unet());
    let at = lacking
        .0
        .iter()
        .find(|(_, e)| e.0 == "decoder.blocks.2.conv2.1.bias")
        .unwrap();
    let at = *at.0;
    lacking.0.remove(&at);
    let text = said(lacking);
    assert!(
        text.contains("nearest is `unet` on `mobilenet_v2`"),
        "{text}"
    );
    assert!(
        text.contains("1 missing (`decoder.blocks.2.conv2.1.bias`)"),
        "{text}"
    );

    // A head that is kept in parts is no missing one.
    for (parts, by) in [
        (["weight_g", "weight_v"], "weight_norm"),
        (
            [
                "parametrizations.weight.original0",
                "parametrizations.weight.original1",
            ],
            "parametrization",
        ),
        (["weight_orig", "weight_mask"], "pruning"),
    ] {
        let head = "segmentation_head.0.";
        let shape = [3, 16, 3, 3];
        let parted = File::of(&unet())
            .renamed(|name| match name.strip_prefix(head) {
                Some("weight") => format!("{head}{}", parts[0]),
                _ => name.into(),
            })
            .and(&format!("{head}{}", parts[1]), &shape);
        let text = said(parted);
        assert!(text.contains(by), "{text}");
    }

    let resnet = find_encoder("resnet18").unwrap();
    let alone = resnet
        .parameters(&segmenta_graph::Scope::root(), 3)
        .unwrap();
    let entries = |p: &Parameter| (p.name.clone(), p.shape.clone());
    let alone = File(alone.iter().map(entries).enumerate().collect());
    let text = said(alone.and("fc.weight", &[1000, 512]));
    assert!(text.contains("the encoder `resnet18` alone"), "{text}");

    let strange = File(BTreeMap::new()).and("layer.weight", &[3, 3]);
    let text = said(strange);
    assert!(
        text.contains("`layer.weight`") && text.contains("by order"),
        "{text}"
    );

    let bytes = saved(&File::of(&unet()));
    let ask = |model: &str, encoder: Option<&str>, classes: Option<usize>| {
        let mut options = ModelOptions::new().architecture(model);
        (options.encoder, options.classes) = (encoder.map(Into::into), classes);
        Model::from_bytes(&bytes, "w.pth", &options)
            .unwrap_err()
            .to_string()
    };
    let text = ask("fcn_resnet50", None, None);
    assert!(
        text.contains("holds a `unet` on `mobilenet_v2`, not a `fcn_resnet50`"),
        "{text}"
    );
    let text = ask("unet", Some("resnet18"), None);
    assert!(
        text.contains("holds a `unet` on `mobilenet_v2`, not a `unet` on `resnet18`"),
        "{text}"
    );
    let text = ask("unet", None, Some(5));
    assert!(text.contains("the file is for 3 classes"), "{text}");
}

#[test]
fn an_authors_own_names_load_by_order_and_shape() {
    let graph = find("unet_plain").unwrap().build(&Options::new(4)).unwrap();
    let file = File::of(&graph).renamed(|name| {
        format!(
            "net.{}",
            name.replace("encoder", "zdown")
                .replace("decoder", "aup")
                .replace("head", "last")
        )
    });
    let bytes = saved(&file);
    let options = |names| ModelOptions::new().architecture("unet_plain").names(names);
    let model = Model::from_bytes(&bytes, "w.pth", &options(Names::ByOrder)).unwrap();
    assert_eq!(model.description().classes.len(), 4);
    let layers = graph
        .parameters()
        .iter()
        .filter(|p| p.role != Role::Counter)
        .count();
    assert_eq!(model.taken().entries, layers);
    assert!(
        model
            .taken()
            .summary()
            .unwrap()
            .contains("by order and shape")
    );
    let error = Model::from_bytes(&bytes, "w.pth", &options(Names::ByName)).unwrap_err();
    assert!(error.to_string().contains("by order"), "{error}");
    let mut other = options(Names::ByOrder);
    other.architecture = Some("unet_plain_transposed".into());
    let error = Model::from_bytes(&bytes, "w.pth", &other)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the entries differ from the"), "{error}");
    other.architecture = None;
    let error = Model::from_bytes(&bytes, "w.pth", &other)
        .unwrap_err()
        .to_string();
    assert!(error.contains("name the network"), "{error}");
}
