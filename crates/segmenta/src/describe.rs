//! What a model is: its architecture, classes, colours and recipe, from whatever says so.

use segmenta_image::{Pad, Palette, Preprocess, Resize};
use segmenta_weights::{ModelCard, Preprocessing, Resize as CardResize, StateDict};
use segmenta_zoo::{
    Architecture, Options, PublishedWeights, Recipe, ResizeRule, VOC_CLASSES, find_encoder,
};

use crate::error::Error;

/// What a model is, beside its weights.
#[derive(Clone, Debug)]
pub struct Description {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// What the network is built with.
    pub options: Options,
    /// Names of the classes, by id. With one name the network is binary: id 1 where it is positive,
    /// and [`Description::class_names`] has a background before it.
    pub classes: Vec<String>,
    /// Their colours.
    pub palette: Palette,
    /// How a picture becomes the network's input.
    pub preprocess: Preprocess,
    /// Where the weights come from, in words.
    pub source: String,
}

impl Description {
    /// The names of all ids that a label map can hold, void aside.
    pub fn class_names(&self) -> Vec<&str> {
        let names = self.classes.iter().map(String::as_str);
        match self.classes.len() {
            1 => std::iter::once("background").chain(names).collect(),
            _ => names.collect(),
        }
    }

    /// From a model file's card, and from its entries what the card does not say.
    pub(crate) fn from_card(
        card: &ModelCard,
        weights: &StateDict,
        architecture: &'static Architecture,
        source: String,
    ) -> Result<Self, Error> {
        let mut options = Options {
            in_channels: card.in_channels,
            classes: card.classes.len(),
            ..options_of(weights, architecture)
        };
        if let Some(encoder) = &card.encoder {
            options.encoder = Some(find_encoder(encoder)?);
        }
        for (name, value) in &card.options {
            options.set(name, value).map_err(|problem| {
                Error::Setting(format!("{problem} · {source} · use a newer Segmenta"))
            })?;
        }
        let palette = match &card.palette {
            Some(colours) => Palette::from_colors(colours),
            None => default_palette(card.classes.len()),
        };
        Ok(Self {
            architecture: architecture.name,
            options,
            classes: card.classes.clone(),
            palette,
            preprocess: preprocess_of(&card.preprocessing)?,
            source,
        })
    }

    /// From a plain state dict: its entries say how the network is built; names of classes are
    /// VOC's where there are as many.
    pub(crate) fn from_state_dict(
        weights: &StateDict,
        architecture: &'static Architecture,
        published: Option<&PublishedWeights>,
        classes: Option<usize>,
        source: String,
    ) -> Self {
        let mut options = options_of(weights, architecture);
        if let Some(classes) = classes {
            options.classes = classes;
        } else if weights.get(architecture.classes_entry).is_none() {
            options.classes = VOC_CLASSES.len();
        }
        let description = Self::plain(architecture, published, options.classes, source);
        Self {
            options,
            ..description
        }
    }

    /// Of a network with an architecture's usual recipe.
    pub(crate) fn plain(
        architecture: &'static Architecture,
        published: Option<&PublishedWeights>,
        classes: usize,
        source: String,
    ) -> Self {
        let known = published.map_or(&VOC_CLASSES[..], |p| p.classes);
        let names = if known.len() == classes {
            known.iter().map(|&name| name.into()).collect()
        } else {
            (0..classes).map(|id| format!("class {id}")).collect()
        };
        Self {
            architecture: architecture.name,
            options: Options::new(classes),
            classes: names,
            palette: default_palette(classes),
            preprocess: preprocess_of_recipe(&architecture.recipe),
            source,
        }
    }
}

fn options_of(weights: &StateDict, architecture: &Architecture) -> Options {
    architecture.options_of(&|name| weights.get(name).map(|entry| entry.shape.clone()))
}

/// VOC's colours; a binary network has ids 0 and 1.
fn default_palette(classes: usize) -> Palette {
    Palette::voc().with_classes(classes.max(2))
}

fn preprocess_of_recipe(recipe: &Recipe) -> Preprocess {
    let (resize, pad) = match recipe.resize {
        ResizeRule::None => (Resize::None, None),
        ResizeRule::ShortSide(side) => (Resize::ShortSide(side), None),
        ResizeRule::LongSideOnCanvas(side) => {
            let grey = Pad {
                width: side,
                height: side,
                value: [127.5; 3],
            };
            (Resize::LongSide(side), Some(grey))
        }
    };
    Preprocess {
        resize,
        center_crop: None,
        mean: recipe.mean,
        std: recipe.std,
        pad,
    }
}

fn preprocess_of(card: &Preprocessing) -> Result<Preprocess, Error> {
    let three = |values: &[f32], what: &str| {
        <[f32; 3]>::try_from(values).map_err(|_| {
            Error::Setting(format!(
                "the model's {what} has {} values · pictures are read as RGB · it needs 3",
                values.len()
            ))
        })
    };
    let pad = card.pad.as_ref().map(|pad| {
        Ok::<_, Error>(Pad {
            width: pad.width,
            height: pad.height,
            value: three(&pad.value, "padding")?,
        })
    });
    let preprocess = Preprocess {
        resize: match card.resize {
            CardResize::None => Resize::None,
            CardResize::ShortSide { side } => Resize::ShortSide(side),
            CardResize::LongSide { side } => Resize::LongSide(side),
            CardResize::Exact { width, height } => Resize::Exact { width, height },
        },
        center_crop: card.center_crop.map(|(width, height)| [width, height]),
        mean: three(&card.mean, "mean")?,
        std: three(&card.std, "deviation")?,
        pad: pad.transpose()?,
    };
    // A card is a file like others: what it says of sizes becomes memory.
    preprocess.check()?;
    Ok(preprocess)
}
