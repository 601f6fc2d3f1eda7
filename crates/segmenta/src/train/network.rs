//! What a recipe's `model.arch` means where it names a model of the hub, or a folder like one.

use segmenta_hub::is_non_commercial;
use segmenta_train::run::{Config, Found, Note, RunError};
use segmenta_weights::{ChannelOrder, Progress, Resize};

use crate::hub::{Named, Purpose, describe};

/// Finds the network that a new run is to be trained on, and puts down what was found: architecture, settings, the
/// file of weights, and where the recipe leaves them open size, mean, deviation and the order of colours of pictures.
/// What there is to tell.
///
/// # Errors
/// A name that means no model, one that cannot be had, and one that no run can be trained on.
pub(super) fn settle(
    config: &mut Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Note>, RunError> {
    let wrong = |problem: String| RunError::Config {
        origin: "model.arch".into(),
        problem,
    };
    // A run's own configuration, taken for a recipe, has it in another place.
    let word = config.model.hub.clone();
    let word = word.unwrap_or_else(|| config.model.arch.clone());
    let named = Named::of(&word).map_err(|error| wrong(error.to_string()))?;
    let Some(named) = named else {
        return Ok(None);
    };
    let described = describe(&named, Purpose::Train, progress);
    let described = described.map_err(|error| RunError::Unavailable(error.to_string()))?;
    let card = described.card;
    if card.in_channels != 3 {
        return Err(wrong(format!(
            "{word} reads {} channels, and runs learn from pictures of three",
            card.in_channels
        )));
    }
    let mut more = described.notes;
    let three = |values: &[f32]| <[f32; 3]>::try_from(values).ok();
    let input = &mut config.input;
    let prepared = &card.preprocessing;
    input.mean = input.mean.or(three(&prepared.mean));
    input.std = input.std.or(three(&prepared.std));
    if prepared.channel_order != ChannelOrder::default() {
        input.channel_order.get_or_insert(prepared.channel_order);
    }
    match prepared.resize {
        _ if input.size.is_some() => {}
        Resize::None => {}
        Resize::Exact { width, height } => {
            input.size = Some([width, height]);
            more.push(format!(
                "pictures are resized to {width}x{height}, as its own were (input.size)"
            ));
        }
        // Sizes that depend on each picture's make no batches.
        _ => more.push(
            "its own pictures were resized, which keep their size here: input.size says one".into(),
        ),
    }
    let model = &mut config.model;
    for (name, value) in card.options {
        model.suggest(name, value);
    }
    model.encoder = model.encoder.take().or(card.encoder);
    model.arch.clone_from(&card.architecture);
    model.hub = Some(word);
    if card.licence.as_deref().is_some_and(is_non_commercial) {
        more.insert(0, "NOT FOR COMMERCIAL USE".into());
    }
    let source = Found {
        path: described.weights.unwrap_or_default(),
        source: described.source,
        licence: card.licence,
        part: described.part,
        classes: card.classes,
    };
    model.hub_file = Some(source.clone());
    Ok(Some(Note::Hub {
        architecture: card.architecture,
        source,
        more,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_folder_says_of_pictures_holds_where_the_recipe_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        let class = "MobileViTForSemanticSegmentation";
        let config = format!(
            r#"{{"architectures": ["{class}"], "id2label": {{"0": "road", "1": "sky"}}, "output_stride": 16}}"#
        );
        write("config.json", &config);
        write("model.safetensors", "");
        write(
            "preprocessor_config.json",
            r#"{"image_processor_type": "MobileViTImageProcessor", "size": {"height": 64, "width": 96}}"#,
        );
        let settled = |more: &str| {
            let recipe = format!("[model]\narch = {:?}\n{more}", path.to_str().unwrap());
            let mut config = Config::parse(&recipe, &[], "the test").unwrap();
            let note = settle(&mut config, &mut |_| {}).unwrap().unwrap();
            (config, note.to_string())
        };
        let (config, said) = settled("");
        assert_eq!(config.model.arch, class);
        assert_eq!(config.input.channel_order, Some(ChannelOrder::Bgr));
        assert_eq!(config.input.normalisation(), [[0.0; 3], [1.0; 3]]);
        assert_eq!(config.input.size, Some([96, 64]));
        assert!(said.contains("resized to 96x64"), "{said}");
        let file = config.model.hub_file.unwrap();
        assert_eq!(file.classes, ["road", "sky"]);
        let own = "[input]\nsize = [32, 32]\nstd = [0.5, 0.5, 0.5]\nchannel_order = \"rgb\"\n";
        let (config, said) = settled(own);
        assert_eq!(config.input.size, Some([32, 32]));
        assert_eq!(config.input.normalisation(), [[0.0; 3], [0.5; 3]]);
        assert_eq!(config.input.channel_order, Some(ChannelOrder::Rgb));
        assert!(!said.contains("resized"), "{said}");
    }
}
