//! What folders lack, and what is said of it.

use std::fs;
use std::path::Path;

use segmenta::weights::{StateDict, TensorView, save};
use segmenta::zoo::{Options, find};
use segmenta::{Model, ModelOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A small SegFormer's folder, as transformers writes it.
fn folder() -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "architectures": ["SegformerForSemanticSegmentation"],
        "depths": [1, 1, 1, 1],
        "hidden_sizes": [8, 16, 24, 32],
        "num_attention_heads": [1, 2, 3, 4],
        "decoder_hidden_size": 16,
        "id2label": {"0": "road", "1": "sky", "2": "car"},
    });
    let mut options = Options::new(3);
    for field in [
        "depths",
        "hidden_sizes",
        "num_attention_heads",
        "decoder_hidden_size",
    ] {
        options.config.set(field, config[field].clone());
    }
    let class = find("SegformerForSemanticSegmentation").unwrap();
    let graph = class.build(&options).unwrap();
    let values: Vec<Vec<f32>> = graph.parameters().iter().map(|p| p.initial(1)).collect();
    let views: Vec<TensorView<'_>> = graph
        .parameters()
        .iter()
        .zip(&values)
        .map(|(p, v)| (&*p.name, &p.shape[..], &v[..]))
        .collect();
    save(&folder.path().join("model.safetensors"), &views, &[].into()).unwrap();
    write(folder.path(), &config);
    (folder, config)
}

fn write(folder: &Path, config: &Value) {
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

fn open(folder: &Path) -> Result<Model, segmenta::Error> {
    Model::open(&ModelOptions::new().weights(folder), &mut |_| {})
}

fn said(folder: &Path) -> String {
    open(folder).unwrap_err().to_string()
}

#[test]
fn a_folder_says_classes_recipe_and_licence() {
    let (folder, _) = folder();
    let path = folder.path();
    let processor =
        json!({"image_processor_type": "SegformerImageProcessor", "size": 64, "resample": 3});
    fs::write(path.join("preprocessor_config.json"), processor.to_string()).unwrap();
    fs::write(path.join("README.md"), "---\nlicense: cc-by-nc-4.0\n---\n").unwrap();
    let model = open(path).unwrap();
    let description = model.description();
    assert_eq!(description.classes, ["road", "sky", "car"]);
    assert_eq!(description.licence.as_deref(), Some("cc-by-nc-4.0"));
    assert_eq!(description.preprocess.resize.to_string(), "64x64");
    assert_eq!(
        description.preprocess.pixels.filter,
        segmenta::image::Filter::Bicubic
    );
    assert_eq!(model.notes(), [""; 0]);
    let picture = segmenta::Picture::filled(50, 30, [90; 3]);
    assert_eq!(model.segment(&picture).unwrap().labels().size(), (50, 30));
}

#[test]
fn what_is_left_out_is_said() {
    let (folder, mut config) = folder();
    let notes = open(folder.path()).unwrap().notes().join("\n");
    assert!(notes.contains("no preprocessor_config.json"), "{notes}");
    config.as_object_mut().unwrap().remove("id2label");
    config["num_labels"] = json!(3);
    write(folder.path(), &config);
    let model = open(folder.path()).unwrap();
    assert_eq!(model.description().classes[2], "class 2");
    assert!(model.notes()[0].contains("id2label"), "{:?}", model.notes());
}

#[test]
fn what_is_wrong_is_said_with_its_remedy() {
    let (folder, config) = folder();
    let path = folder.path();
    let wrong = |field: &str, value: Value| {
        let mut config = config.clone();
        config[field] = value;
        write(path, &config);
        said(path)
    };
    let text = wrong("architectures", json!(["VideomtForUniversalSegmentation"]));
    for word in [
        "`VideomtForUniversalSegmentation`",
        "SegformerForSemanticSegmentation",
    ] {
        assert!(text.contains(word), "{text}");
    }
    let text = wrong("architectures", Value::Null);
    assert!(text.contains("names no class"), "{text}");
    // Classes of the head that the weights do not have, and widths.
    let text = wrong("id2label", json!({"0": "a", "1": "b"}));
    assert!(text.contains('3') && text.contains('2'), "{text}");
    let text = wrong("hidden_sizes", json!([8, 16, 24, 40]));
    assert!(
        text.contains("model.safetensors") || text.contains(path.to_str().unwrap()),
        "{text}"
    );
    let text = wrong("hidden_act", json!("gelu_new"));
    assert!(
        text.contains("gelu_new") && text.contains("hidden_act"),
        "{text}"
    );
    write(path, &config);
    fs::remove_file(path.join("model.safetensors")).unwrap();
    assert!(said(path).contains("pytorch_model.bin"), "{}", said(path));
    fs::remove_file(path.join("config.json")).unwrap();
    assert!(said(path).contains("no config.json"), "{}", said(path));
    let none = said(&path.join("none"));
    assert!(none.contains("none"), "{none}");
}

/// The fields of SMP 0.6's `save_pretrained`.
#[test]
fn a_folder_of_smp_is_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "_model_class": "Unet", "activation": null, "aux_params": null, "classes": 3,
        "decoder_attention_type": "scse", "decoder_channels": [64, 32, 16, 16, 8],
        "decoder_interpolation": "nearest", "decoder_use_norm": "batchnorm", "encoder_depth": 5,
        "encoder_name": "resnet18", "encoder_weights": null, "in_channels": 3,
    });
    write(folder.path(), &config);
    let mut options = Options::new(3);
    options.encoder = Some(segmenta::zoo::find_encoder("resnet18").unwrap());
    options.set("decoder_attention_type", "scse").unwrap();
    options.set("decoder_channels", "[64,32,16,16,8]").unwrap();
    let graph = find("unet").unwrap().build(&options).unwrap();
    let values: Vec<Vec<f32>> = graph.parameters().iter().map(|p| p.initial(1)).collect();
    let entries = graph.parameters().iter().zip(&values);
    let views: Vec<TensorView<'_>> = entries
        .map(|(p, v)| (&*p.name, &p.shape[..], &v[..]))
        .collect();
    save(&folder.path().join("model.safetensors"), &views, &[].into()).unwrap();
    let model = open(folder.path()).unwrap();
    assert_eq!(model.description().architecture, "unet");
    assert_eq!(model.description().classes.len(), 3);
    assert!(model.notes()[0].contains("names no classes"));
    assert_eq!(model.notes().len(), 1, "{:?}", model.notes());
    let mut other = config.clone();
    other["decoder_use_batchnorm"] = json!(true);
    write(folder.path(), &other);
    let notes = open(folder.path()).unwrap().notes().join("\n");
    assert!(
        notes.contains(
            "1 field of the file left out, which `unet` does not have: `decoder_use_batchnorm`"
        ),
        "{notes}"
    );
    other["classes"] = json!(1_000_000_000_000_u64);
    write(folder.path(), &other);
    assert!(said(folder.path()).contains("1000000000000 classes"));
    let mut other = config.clone();
    other["in_channels"] = json!(1_u64 << 60);
    write(folder.path(), &other);
    assert!(said(folder.path()).contains("channels"));
    // Written again it is the same network.
    write(folder.path(), &config);
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("new/unet");
    let options = ModelOptions::new().weights(folder.path());
    let saved = segmenta::save_pretrained(&options, &out, &mut |_| {}).unwrap();
    assert_eq!(saved.library, "segmentation_models_pytorch");
    assert!(saved.notes[0].contains("class 0, class 1, class 2"));
    let text = fs::read_to_string(out.join("config.json")).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    for field in [
        "_model_class",
        "encoder_name",
        "encoder_weights",
        "classes",
        "decoder_attention_type",
    ] {
        assert_eq!(written[field], config[field], "{field}");
    }
    let [ours, theirs] = [&out, folder.path()]
        .map(|folder| StateDict::open(&folder.join("model.safetensors")).unwrap());
    assert!(ours.names().eq(theirs.names()));
    assert_eq!(ours.metadata()["format"], "pt");
    for name in ours.names() {
        assert_eq!(
            ours.read_f32(name).unwrap(),
            theirs.read_f32(name).unwrap(),
            "{name}"
        );
    }
    open(&out).unwrap();

    let mut largest = config.clone();
    largest["activation"] = json!("argmax2d");
    write(folder.path(), &largest);
    let model = open(folder.path()).unwrap();
    assert!(
        model.notes()[1].contains("`argmax2d`"),
        "{:?}",
        model.notes()
    );
    largest["activation"] = json!("argmax");
    write(folder.path(), &largest);
    assert!(said(folder.path()).contains("`argmax`"));
    let mut other = config.clone();
    other["_model_class"] = json!("SAM");
    write(folder.path(), &other);
    assert!(said(folder.path()).contains("`SAM`"));
}
