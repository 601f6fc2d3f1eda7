//! What a recipe's `model.arch` means where it names a model of the hub, or a folder like one.

use segmenta_hub::is_non_commercial;
use segmenta_train::run::{Config, Found, Note, RunError};
use segmenta_weights::{ChannelOrder, Progress};
use segmenta_zoo::find;

use crate::hub::{Named, describe};

/// Finds the network that a new run is to be trained on, and puts down what was found: architecture, settings, the
/// file of weights, mean and deviation of pictures where the recipe leaves them open. What there is to tell.
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
    let described = describe(&named, true, progress);
    let described = described.map_err(|error| RunError::Unavailable(error.to_string()))?;
    let card = described.card;
    if !find(&card.architecture)?.has_encoder {
        return Err(wrong(format!(
            "{word} is a {}, whose logits are smaller than the picture, and runs do not enlarge them yet; name a \
             model of segmentation_models_pytorch",
            card.architecture
        )));
    }
    if card.in_channels != 3 {
        return Err(wrong(format!(
            "{word} reads {} channels, and runs learn from pictures of three",
            card.in_channels
        )));
    }
    if card.preprocessing.channel_order != ChannelOrder::default() {
        return Err(wrong(format!(
            "{word} reads blue before red, which runs do not prepare pictures for"
        )));
    }
    let three = |values: &[f32]| <[f32; 3]>::try_from(values).ok();
    let input = &mut config.input;
    input.mean = input.mean.or(three(&card.preprocessing.mean));
    input.std = input.std.or(three(&card.preprocessing.std));
    let model = &mut config.model;
    for (name, value) in card.options {
        model.suggest(name, value);
    }
    model.encoder = model.encoder.take().or(card.encoder);
    model.arch.clone_from(&card.architecture);
    model.hub = Some(word);
    let mut more = described.notes;
    if card.licence.as_deref().is_some_and(is_non_commercial) {
        more.insert(0, "NOT FOR COMMERCIAL USE".into());
    }
    let source = Found {
        path: described.weights.unwrap_or_default(),
        source: described.source,
        licence: card.licence,
    };
    model.hub_file = Some(source.clone());
    Ok(Some(Note::Hub {
        architecture: card.architecture,
        source,
        more,
    }))
}
