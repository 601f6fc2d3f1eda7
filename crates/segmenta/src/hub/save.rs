//! A model as a folder that Python's `from_pretrained` reads: transformers', or segmentation_models_pytorch's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta_files::reason;
use segmenta_hub::FolderError;
use segmenta_weights::{
    ChannelOrder, Filter, ModelCard, Preprocessing, Progress, Resize, TensorView,
};
use segmenta_zoo::{find, hub_classes};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::model::{ModelOptions, Weights};
use crate::resolve::resolve;

/// A folder that was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SavedFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The library whose `from_pretrained` reads it.
    pub library: &'static str,
    /// What the folder has no words for.
    pub notes: Vec<String>,
}

/// What transformers calls the kinds of its classes; of two that fit, the longer.
const KINDS: [(&str, &str); 13] = [
    ("Beit", "beit"),
    ("DPT", "dpt"),
    ("Data2VecVision", "data2vec-vision"),
    ("Eomt", "eomt"),
    ("EomtDinov3", "eomt_dinov3"),
    ("Mask2Former", "mask2former"),
    ("MaskFormer", "maskformer"),
    ("MobileNetV2", "mobilenet_v2"),
    ("MobileViT", "mobilevit"),
    ("MobileViTV2", "mobilevitv2"),
    ("OneFormer", "oneformer"),
    ("Segformer", "segformer"),
    ("UperNet", "upernet"),
];

/// SMP's classes, whose names are its architectures' but for capitals.
const SMP: [&str; 12] = [
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PAN",
    "UPerNet",
    "Segformer",
    "DPT",
];

/// Writes the model that `options` name as a folder that Python reads, with the same numbers: `config.json`,
/// `model.safetensors` with the library's names, a `README.md` that says the licence, and of transformers' classes
/// `preprocessor_config.json`. The folder must not hold a model yet.
///
/// # Errors
/// A model that cannot be loaded, one of neither library, pictures prepared as the library cannot, a folder that
/// cannot be written or holds a model.
pub fn save_pretrained(
    options: &ModelOptions,
    folder: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<SavedFolder, Error> {
    let weights = Weights::of(options, progress)?;
    let card = weights.card.clone();
    let resolved = resolve(
        &weights.dict,
        card,
        weights.row,
        &weights.source,
        &weights.options,
    )?;
    let description = resolved.description;
    let architecture = find(description.architecture)?;
    let card = description.card();
    let refuse = |what: String, remedy: &str| {
        Error::Folder(FolderError {
            what,
            path: folder.into(),
            remedy: remedy.into(),
        })
    };
    let is_hub = hub_classes().any(|class| class.name == architecture.name);
    let smp = SMP
        .iter()
        .find(|class| architecture.has_encoder && class.to_lowercase() == architecture.name);
    let mut notes = Vec::new();
    let (library, config, processor) = if is_hub {
        let processor = processor(architecture.name, &card.preprocessing)
            .map_err(|what| refuse(what, "save a model that prepares pictures more simply"))?;
        (
            "transformers",
            of_transformers(architecture.name, &card),
            Some(processor),
        )
    } else if let Some(class) = smp {
        notes.push(format!(
            "the folder has no words for classes ({}) nor for how pictures are prepared (mean {:?}, deviation {:?}): \
             whoever loads it must know",
            card.classes.join(", "),
            card.preprocessing.mean,
            card.preprocessing.std,
        ));
        ("segmentation_models_pytorch", of_smp(class, &card), None)
    } else {
        return Err(refuse(
            format!(
                "{} is a network of neither transformers nor segmentation_models_pytorch",
                architecture.name
            ),
            "give Python its model file, whose names are the library's",
        ));
    };
    if folder.join("config.json").exists() {
        return Err(refuse(
            "the folder holds a model already".into(),
            "name another folder, or remove that one",
        ));
    }
    let failed = |what: &str, error: &std::io::Error| {
        refuse(
            format!("{what} cannot be written: {}", reason(error)),
            "check the folder, or name another",
        )
    };
    fs::create_dir_all(folder).map_err(|error| failed("the folder", &error))?;
    let names: Vec<String> = resolved
        .graph
        .parameters()
        .iter()
        .map(|parameter| {
            // Transformers 4 knows its own names alone; 5 reads those, too.
            let former = architecture.former_name(&parameter.name);
            former
                .filter(|_| is_hub)
                .unwrap_or_else(|| parameter.name.clone())
        })
        .collect();
    let mut values = Vec::with_capacity(names.len());
    for parameter in resolved.graph.parameters() {
        // Counters, which inference never reads, old files lack.
        values.push(match resolved.found.weights.get(&parameter.name) {
            Some(_) => resolved.found.weights.read_f32(&parameter.name)?,
            None => parameter.initial(0),
        });
    }
    let entries = resolved.graph.parameters().iter().zip(&names).zip(&values);
    let views: Vec<TensorView<'_>> = entries
        .map(|((parameter, name), values)| (name.as_str(), &parameter.shape[..], &values[..]))
        .collect();
    // Python asks which library's tensors they are.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    segmenta_weights::save(&folder.join("model.safetensors"), &views, &metadata)?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        segmenta_files::write(&path, |to| to.write_all(text.as_bytes()))
            .map_err(|error| failed(name, &error))
    };
    let pretty = |value: &Value| format!("{value:#}\n");
    if let Some(processor) = processor {
        write("preprocessor_config.json", &pretty(&processor))?;
    }
    write("README.md", &page(library, description.licence.as_deref()))?;
    // Last, for it makes the folder a model.
    write("config.json", &pretty(&config))?;
    Ok(SavedFolder {
        path: folder.into(),
        library,
        notes,
    })
}

/// Settings as JSON: what is no JSON is a word.
fn fields(card: &ModelCard) -> Map<String, Value> {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    let options = card.options.iter();
    options
        .map(|(name, text)| (name.clone(), value(text)))
        .collect()
}

fn of_transformers(class: &str, card: &ModelCard) -> Value {
    let mut config = fields(card);
    let kinds = KINDS.iter().filter(|(begin, _)| class.starts_with(begin));
    if let Some((_, kind)) = kinds.max_by_key(|(begin, _)| begin.len()) {
        config.insert("model_type".into(), json!(kind));
    }
    config.insert("architectures".into(), json!([class]));
    config.insert("num_channels".into(), json!(card.in_channels));
    let classes = || card.classes.iter().enumerate();
    let names: Map<String, Value> = classes().map(|(i, n)| (i.to_string(), json!(n))).collect();
    let ids: Map<String, Value> = classes().map(|(i, n)| (n.clone(), json!(i))).collect();
    config.insert("id2label".into(), names.into());
    config.insert("label2id".into(), ids.into());
    config.into()
}

fn of_smp(class: &str, card: &ModelCard) -> Value {
    let mut config = fields(card);
    config.insert("_model_class".into(), json!(class));
    if let Some(encoder) = &card.encoder {
        config.insert("encoder_name".into(), json!(encoder));
    }
    config.insert("encoder_weights".into(), Value::Null);
    config.insert("in_channels".into(), json!(card.in_channels));
    config.insert("classes".into(), json!(card.classes.len()));
    config.into()
}

/// The `preprocessor_config.json` of a recipe, which must be one that transformers' processors can follow.
fn processor(class: &str, recipe: &Preprocessing) -> Result<Value, String> {
    let kinds = KINDS.iter().filter(|(begin, _)| class.starts_with(begin));
    let kind = kinds.max_by_key(|(begin, _)| begin.len());
    let Some((begin, _)) = kind else {
        return Err(format!("it is not known which image processor {class} has"));
    };
    let begin = match *begin {
        // They have other networks' processors.
        "UperNet" => "Segformer",
        "Data2VecVision" => "Beit",
        "EomtDinov3" => "Eomt",
        "MobileViTV2" => "MobileViT",
        other => other,
    };
    if recipe.pad.is_some() {
        return Err("its pictures are placed on a canvas".into());
    }
    let mut fields = json!({
        "image_processor_type": format!("{begin}ImageProcessor"),
        "do_rescale": true, "rescale_factor": 1.0 / 255.0,
        "do_normalize": true, "image_mean": short(&recipe.mean), "image_std": short(&recipe.std),
        "do_reduce_labels": false, "do_center_crop": false,
    });
    let resize = match recipe.resize {
        Resize::None => None,
        Resize::Exact { width, height } => Some(json!({"height": height, "width": width})),
        Resize::ShortSide { side } => Some(json!({"shortest_edge": side})),
        Resize::ShortSideWithin { side, most, .. } => {
            Some(json!({"shortest_edge": side, "longest_edge": most}))
        }
        Resize::LongSide { .. } | Resize::Near { .. } => {
            return Err("its pictures are resized as no image processor does".into());
        }
    };
    fields["do_resize"] = json!(resize.is_some());
    if let Some(size) = resize {
        fields["size"] = size;
    }
    fields["resample"] = match recipe.filter {
        Filter::Nearest => json!(0),
        Filter::Bilinear { .. } => json!(2),
        Filter::Bicubic { .. } => json!(3),
    };
    if let Some((width, height)) = recipe.center_crop {
        fields["do_center_crop"] = json!(true);
        fields["crop_size"] = json!({"height": height, "width": width});
    }
    if begin.starts_with("Mask") {
        // What sides are rounded up to; what is resized to a given size is rounded already.
        let multiple = match recipe.resize {
            Resize::ShortSideWithin { multiple, .. } => multiple,
            _ => 1,
        };
        fields["size_divisor"] = json!(multiple);
    }
    if begin == "Eomt" {
        fields["do_split_image"] = json!(recipe.windows);
    } else if recipe.windows {
        return Err("its pictures are cut into windows".into());
    }
    if begin == "MobileViT" {
        fields["do_flip_channel_order"] = json!(recipe.channel_order == ChannelOrder::Bgr);
        // It rescales, and normalises nothing.
        let plain = recipe.mean.iter().all(|&m| m == 0.0) && recipe.std.iter().all(|&s| s == 1.0);
        if !plain {
            return Err("MobileViT's image processor has no mean and deviation".into());
        }
    } else if recipe.channel_order == ChannelOrder::Bgr {
        return Err("its pictures are blue before red".into());
    }
    Ok(fields)
}

/// Numbers with no more digits than tell them apart in single precision.
fn short(values: &[f32]) -> Vec<f64> {
    let value = |value: &f32| value.to_string().parse().unwrap_or(f64::from(*value));
    values.iter().map(value).collect()
}

/// The folder's page, whose head says the licence.
fn page(library: &str, licence: Option<&str>) -> String {
    let licence = licence.map_or_else(String::new, |licence| {
        let plain = licence.replace(['"', '\n', '\r'], " ");
        format!("license: other\nlicense_name: \"{plain}\"\n")
    });
    let name = if library == "transformers" {
        library
    } else {
        "segmentation-models-pytorch"
    };
    format!(
        "---\nlibrary_name: {name}\npipeline_tag: image-segmentation\n{licence}---\n\nWritten by Segmenta, for \
         `from_pretrained` of {library}.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_kind_and_a_processor() {
        for class in hub_classes() {
            let mut recipe = super::super::own_size();
            if class.name.starts_with("MobileViT") {
                (recipe.mean, recipe.std) = (vec![0.0; 3], vec![1.0; 3]);
            }
            recipe.windows = class.name.starts_with("Eomt");
            let fields = processor(class.name, &recipe).unwrap();
            let text = fields.to_string();
            let read = segmenta_hub::Processor::of(&text).unwrap();
            assert_eq!(read.preprocessing.mean, recipe.mean, "{}", class.name);
            assert_eq!(read.preprocessing.resize, Resize::None, "{}", class.name);
            assert_eq!(read.preprocessing.windows, recipe.windows, "{}", class.name);
        }
        let mut recipe = super::super::own_size();
        recipe.resize = Resize::ShortSideWithin {
            side: 640,
            most: 2560,
            multiple: 64,
        };
        let fields = processor("MaskFormerForInstanceSegmentation", &recipe).unwrap();
        let read = segmenta_hub::Processor::of(&fields.to_string()).unwrap();
        assert_eq!(read.preprocessing.resize, recipe.resize);
        // SMP's names are those of our architectures.
        for class in SMP {
            assert!(find(&class.to_lowercase()).is_ok(), "{class}");
        }
    }
}
