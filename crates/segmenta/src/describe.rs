//! What a model is: its architecture, classes, colours and recipe, from whatever says so.

use segmenta_files::count;
use segmenta_graph::Graph;
use segmenta_image::{ChannelOrder, Filter, Middle, Pad, Palette, Pixels, Preprocess, Resize};
use segmenta_runtime::RuntimeError;
use segmenta_weights::{
    CARD_VERSION, CardAnswer, CardValues, ChannelOrder as CardOrder, Filter as CardFilter,
    Middle as CardMiddle, ModelCard, Pad as CardPad, Preprocessing, Resize as CardResize,
    StateDict,
};
use segmenta_zoo::{
    Answer, Architecture, Options, PerPixel, PublishedWeights, Recipe, ResizeRule, VOC_CLASSES,
    Values, find_encoder,
};

use crate::error::Error;

/// What a model is, beside its weights.
#[derive(Clone, Debug)]
pub struct Description {
    /// Name of the architecture.
    pub architecture: &'static str,
    /// What the network is built with.
    pub options: Options,
    /// What the numbers of its result are.
    pub answer: Answer,
    /// Names of the classes, by id. With one name the network is binary: id 1 where it is likely,
    /// and [`Description::class_names`] has a background before it.
    pub classes: Vec<String>,
    /// Their colours.
    pub palette: Palette,
    /// How a picture becomes the network's input.
    pub preprocess: Preprocess,
    /// Whether the network sees square windows along a picture's long side, as long as the short one, whose answers are
    /// averaged where they overlap.
    pub windows: bool,
    /// Where the weights come from, in words.
    pub source: String,
    /// The licence that they are under, where it is known.
    pub licence: Option<String>,
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

    /// The probability above which a pixel is of the one class; `None` of several classes, the most likely of which
    /// needs none, and of a result that is no map.
    pub fn threshold(&self) -> Option<f32> {
        match &self.answer {
            Answer::PerPixel(answer) if answer.is_binary() => Some(answer.threshold),
            _ => None,
        }
    }

    /// Reads off the graph what the result says; where a model file says otherwise, it wins, and the user over it.
    pub(crate) fn set_answer(
        &mut self,
        graph: &Graph,
        result: &str,
        card: Option<&ModelCard>,
        threshold: Option<f32>,
    ) -> Result<(), Error> {
        self.answer = Answer::of(graph, result).map_err(RuntimeError::from)?;
        let CardAnswer {
            values,
            threshold: of_card,
        } = card.and_then(|card| card.answer).unwrap_or_default();
        if let (Answer::PerPixel(answer), Some(values)) = (&mut self.answer, values) {
            answer.values = match values {
                CardValues::Logits => Values::Logits,
                CardValues::Probabilities => Values::Probabilities,
                CardValues::LogProbabilities => Values::LogProbabilities,
                CardValues::Tangents => Values::Tangents,
                CardValues::Scores => Values::Scores,
            };
        }
        match threshold.or(of_card) {
            Some(threshold) => self.set_threshold(threshold),
            None => Ok(()),
        }
    }

    /// Sets the probability above which a pixel is of the one class. A result that is no map has no use for it.
    pub(crate) fn set_threshold(&mut self, threshold: f32) -> Result<(), Error> {
        if let Answer::PerPixel(answer) = &mut self.answer {
            *answer = answer.with_threshold(threshold)?;
        }
        Ok(())
    }

    /// Gives the classes other names.
    pub(crate) fn name_classes<N: Into<String>>(
        &mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), Error> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let binary = self.classes.len() == 1;
        self.classes = match names.len() {
            1 if binary => names,
            // The background of a network of one class always goes by that name.
            2 if binary => names[1..].to_vec(),
            _ => named(names, self.classes.len())?,
        };
        Ok(())
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
        let palette = match card.palette.as_deref() {
            // The colour of the one class, whose id is 1.
            Some(&[colour]) => Palette::from_colors(&[[0; 3], colour]),
            Some(colours) => Palette::from_colors(colours),
            None => default_palette(card.classes.len()),
        };
        Ok(Self {
            architecture: architecture.name,
            answer: unread(options.classes),
            options,
            classes: card
                .classes
                .iter()
                .map(|name| readable(name).into())
                .collect(),
            palette,
            preprocess: preprocess_of(&card.preprocessing)?,
            windows: card.preprocessing.windows,
            source,
            licence: card.licence.clone(),
        })
    }

    /// A model file's card of it.
    pub(crate) fn card(&self) -> ModelCard {
        let colour = |id: usize| self.palette.color(id as u8);
        let ids = usize::from(self.classes.len() == 1)..self.class_names().len();
        let Preprocess {
            resize,
            center_crop,
            mean,
            std,
            pad,
            pixels,
        } = &self.preprocess;
        ModelCard {
            format_version: CARD_VERSION,
            architecture: self.architecture.into(),
            encoder: self.options.encoder.map(|encoder| encoder.name.into()),
            options: self.options.named(),
            classes: self.classes.clone(),
            palette: Some(ids.map(colour).collect()),
            in_channels: self.options.in_channels,
            preprocessing: Preprocessing {
                resize: match *resize {
                    Resize::None => CardResize::None,
                    Resize::ShortSide(side) => CardResize::ShortSide { side },
                    Resize::LongSide(side) => CardResize::LongSide { side },
                    Resize::ShortSideWithin {
                        side,
                        most,
                        multiple,
                    } => CardResize::ShortSideWithin {
                        side,
                        most,
                        multiple,
                    },
                    Resize::Near {
                        width,
                        height,
                        multiple,
                    } => CardResize::Near {
                        width,
                        height,
                        multiple,
                    },
                    Resize::Exact { width, height } => CardResize::Exact { width, height },
                },
                filter: match pixels.filter {
                    Filter::Nearest => CardFilter::Nearest,
                    Filter::Bilinear => CardFilter::Bilinear { antialias: true },
                    Filter::Bicubic => CardFilter::Bicubic { antialias: true },
                },
                channel_order: match pixels.order {
                    ChannelOrder::Rgb => CardOrder::Rgb,
                    ChannelOrder::Bgr => CardOrder::Bgr,
                },
                middle: match pixels.middle {
                    Middle::Torchvision => CardMiddle::Torchvision,
                    Middle::Transformers => CardMiddle::Transformers,
                },
                windows: self.windows,
                center_crop: center_crop.map(|[width, height]| (width, height)),
                mean: mean.to_vec(),
                std: std.to_vec(),
                pad: pad.as_ref().map(|pad| CardPad {
                    width: pad.width,
                    height: pad.height,
                    value: pad.value.to_vec(),
                }),
            },
            answer: None,
            int8: None,
            training: None,
            source: Some(self.source.clone()),
            licence: None,
        }
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
            known.iter().map(|&name| readable(name).into()).collect()
        } else {
            (0..classes).map(|id| format!("class {id}")).collect()
        };
        Self {
            architecture: architecture.name,
            answer: unread(classes),
            options: Options::new(classes),
            classes: names,
            palette: default_palette(classes),
            preprocess: preprocess_of_recipe(&architecture.recipe),
            windows: false,
            source,
            licence: published.map(|row| row.licence.into()),
        }
    }
}

/// Before the graph is built; [`Description::set_answer`] follows.
fn unread(classes: usize) -> Answer {
    Answer::PerPixel(PerPixel::new(Values::Logits, classes))
}

/// As many names as there are ids.
pub(crate) fn named<N: Into<String>>(
    names: impl IntoIterator<Item = N>,
    expected: usize,
) -> Result<Vec<String>, Error> {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    let given = names.len();
    if given == expected {
        Ok(names)
    } else {
        Err(Error::Names { given, expected })
    }
}

/// A class's name as people read it: what torchvision calls `__background__`, and labelme `_background_`, is the
/// background. Other names are their author's.
fn readable(name: &str) -> &str {
    match name.trim_matches('_') {
        "background" => "background",
        _ => name,
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
        pixels: Pixels::default(),
    }
}

pub(crate) fn preprocess_of(card: &Preprocessing) -> Result<Preprocess, Error> {
    let three = |values: &[f32], what: &str| {
        <[f32; 3]>::try_from(values).map_err(|_| {
            Error::Setting(format!(
                "the model's {what} has {} · pictures are read as RGB · it needs 3",
                count(values.len(), "value")
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
            CardResize::ShortSideWithin {
                side,
                most,
                multiple,
            } => Resize::ShortSideWithin {
                side,
                most,
                multiple,
            },
            CardResize::Near {
                width,
                height,
                multiple,
            } => Resize::Near {
                width,
                height,
                multiple,
            },
            CardResize::Exact { width, height } => Resize::Exact { width, height },
        },
        center_crop: card.center_crop.map(|(width, height)| [width, height]),
        mean: three(&card.mean, "mean")?,
        std: three(&card.std, "deviation")?,
        pad: pad.transpose()?,
        pixels: Pixels {
            filter: match card.filter {
                CardFilter::Nearest => Filter::Nearest,
                CardFilter::Bilinear { .. } => Filter::Bilinear,
                CardFilter::Bicubic { .. } => Filter::Bicubic,
            },
            order: match card.channel_order {
                CardOrder::Rgb => ChannelOrder::Rgb,
                CardOrder::Bgr => ChannelOrder::Bgr,
            },
            middle: match card.middle {
                CardMiddle::Torchvision => Middle::Torchvision,
                CardMiddle::Transformers => Middle::Transformers,
            },
        },
    };
    // A card is a file like others: what it says of sizes becomes memory.
    preprocess.check()?;
    Ok(preprocess)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sides that a card may have one by one, and that are more pixels together than a network is given.
    #[test]
    fn a_card_asks_for_no_more_pixels_than_a_network_is_given() {
        let plain = || Preprocessing {
            resize: CardResize::None,
            filter: CardFilter::default(),
            center_crop: None,
            mean: vec![0.5; 3],
            std: vec![0.5; 3],
            pad: None,
            channel_order: CardOrder::Rgb,
            middle: CardMiddle::Torchvision,
            windows: false,
        };
        preprocess_of(&plain()).unwrap();
        let (width, height) = (60_000, 60_000);
        let value = vec![0.0; 3];
        let pad = Some(CardPad {
            width,
            height,
            value,
        });
        let (resize, crop) = (CardResize::Exact { width, height }, Some((width, height)));
        for (place, card) in [
            ("resize", Preprocessing { resize, ..plain() }),
            (
                "center_crop",
                Preprocessing {
                    center_crop: crop,
                    ..plain()
                },
            ),
            ("pad", Preprocessing { pad, ..plain() }),
        ] {
            let text = preprocess_of(&card).unwrap_err().to_string();
            assert!(
                text.starts_with("a size of 60000×60000 is too large"),
                "{text}"
            );
            assert!(
                text.contains(&format!(" · {place} · give sides up to")),
                "{text}"
            );
        }
    }
}
