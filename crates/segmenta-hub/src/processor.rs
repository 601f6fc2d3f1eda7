//! `preprocessor_config.json`: how a picture becomes the input, as transformers' image processors do it.
//!
//! Of its two back ends Pillow's is followed; the other differs from it by at most one step of 255 in a few pixels.

use segmenta_weights::{ChannelOrder, Filter, Middle, Pad, Preprocessing, Resize};
use serde_json::{Map, Value};

use crate::config::without_mark;

/// ImageNet's mean and deviation.
const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
/// Values in −1 to 1.
const HALVES: [[f32; 3]; 2] = [[0.5; 3], [0.5; 3]];
/// What is taken off and divided by where nothing is.
const UNIT: [[f32; 3]; 2] = [[0.0; 3], [1.0; 3]];

/// A kind of image processor: what its fields are when they are left out.
struct Kind {
    name: &'static str,
    size: Size,
    /// The sides of a centre crop, and whether it is cut.
    crop: Option<(usize, bool)>,
    normalise: Option<[[f32; 3]; 2]>,
    cubic: bool,
    flips: bool,
    /// Whether a plain number for a size means a square.
    square: bool,
    /// Sides become multiples of this.
    divisor: usize,
}

/// A size as transformers writes it.
#[derive(Clone, Copy)]
enum Size {
    Exact(usize, usize),
    Short(usize),
    ShortWithin(usize, usize),
}

impl Kind {
    /// ImageNet's statistics, a square, bilinear.
    const fn plain(name: &'static str, size: Size) -> Self {
        Self {
            name,
            size,
            crop: None,
            normalise: Some(IMAGENET),
            cubic: false,
            flips: false,
            square: true,
            divisor: 1,
        }
    }
}

static KINDS: [Kind; 9] = [
    Kind::plain("Segformer", Size::Exact(512, 512)),
    Kind {
        normalise: Some(HALVES),
        cubic: true,
        crop: Some((224, false)),
        ..Kind::plain("Beit", Size::Exact(224, 224))
    },
    Kind {
        normalise: Some(HALVES),
        cubic: true,
        ..Kind::plain("DPT", Size::Exact(384, 384))
    },
    Kind {
        normalise: None,
        cubic: true,
        flips: true,
        square: false,
        crop: Some((256, true)),
        ..Kind::plain("MobileViT", Size::Short(224))
    },
    Kind {
        normalise: Some(HALVES),
        square: false,
        crop: Some((224, true)),
        ..Kind::plain("MobileNetV2", Size::Short(256))
    },
    Kind {
        square: false,
        divisor: 32,
        ..Kind::plain("Mask2Former", Size::ShortWithin(800, 1333))
    },
    Kind {
        square: false,
        divisor: 32,
        ..Kind::plain("MaskFormer", Size::ShortWithin(800, 1333))
    },
    Kind {
        square: false,
        ..Kind::plain("OneFormer", Size::ShortWithin(800, 1333))
    },
    Kind {
        square: false,
        ..Kind::plain("Eomt", Size::ShortWithin(640, 640))
    },
];

/// How a picture becomes the input, and how it is cut into windows.
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    /// The recipe.
    pub preprocessing: Preprocessing,
}

impl Processor {
    /// What a `preprocessor_config.json` says.
    ///
    /// # Errors
    /// A processor that is not known, or a field that is not as it should be, in words.
    pub fn of(text: &str) -> Result<Self, String> {
        let text = without_mark(text);
        let value: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
        let Value::Object(fields) = value else {
            return Err("it is no object".into());
        };
        let word = |name: &str| fields.get(name).and_then(Value::as_str);
        let named = word("image_processor_type").or_else(|| word("feature_extractor_type"));
        let Some(named) = named else {
            return Err("it names no image processor (`image_processor_type`)".into());
        };
        let kind = kind_of(named).ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            format!(
                "the image processor `{named}` is not known; there are {}",
                known.join(", ")
            )
        })?;
        Fields(&fields).processor(kind)
    }

    /// The processor of those who bring no `preprocessor_config.json`: that of the network's class, with all fields
    /// left out.
    pub fn of_class(class: &str) -> Option<Self> {
        let named = |kind: &&Kind| class.starts_with(kind.name);
        // UperNet's and Data2Vec's have those of SegFormer and BEiT.
        let kind = match class {
            _ if class.starts_with("UperNet") => kind_of("SegformerImageProcessor"),
            _ if class.starts_with("Data2VecVision") => kind_of("BeitImageProcessor"),
            _ => KINDS.iter().find(named),
        };
        Fields(&Map::new()).processor(kind?).ok()
    }
}

fn kind_of(name: &str) -> Option<&'static Kind> {
    let name = name.trim_end_matches("Fast").trim_end_matches("Pil");
    let stem = name
        .strip_suffix("ImageProcessor")
        .or_else(|| name.strip_suffix("FeatureExtractor"))?;
    // Later versions write the T of some in lower case.
    KINDS
        .iter()
        .find(|kind| kind.name.eq_ignore_ascii_case(stem))
}

/// The fields of the file.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn processor(&self, kind: &Kind) -> Result<Processor, String> {
        let resizes = self.flag("do_resize", true)?;
        let aimed = self.size("size", kind.square)?.unwrap_or(kind.size);
        // Of MaskFormer and its kin, which resize to what others would pad to. 0 means that they do not.
        let divisor = match (kind.divisor, self.get("size_divisor")) {
            (1, _) => 1,
            (_, Some(given)) if given.as_u64() == Some(0) => 1,
            (usual, _) => self.count("size_divisor")?.unwrap_or(usual),
        };
        // Their older files have the bound of the long side beside the short one.
        let aimed = match aimed {
            Size::Short(side) if kind.name.ends_with("Former") => {
                Size::ShortWithin(side, self.count("max_size")?.unwrap_or(1333))
            }
            aimed => aimed,
        };
        let crop = self.crop(kind)?;
        let pads_to_size = kind.name == "Eomt" && self.flag("do_pad", false)?;
        let windows = kind.name == "Eomt" && self.flag("do_split_image", false)?;
        let [mean, std] = self.statistics(kind)?;
        let pad = match aimed {
            // Before the normalisation: black.
            Size::ShortWithin(width, height) | Size::Exact(height, width) if pads_to_size => {
                Some(Pad {
                    width,
                    height,
                    value: vec![0.0; 3],
                })
            }
            _ => None,
        };
        let resize = match (resizes, aimed) {
            (false, _) => Resize::None,
            (true, Size::Short(side)) => Resize::ShortSide { side },
            (true, Size::ShortWithin(side, most)) => Resize::ShortSideWithin {
                side,
                most,
                multiple: divisor,
            },
            (true, Size::Exact(height, width)) => {
                let [width, height] = [width, height].map(|side| side.next_multiple_of(divisor));
                self.exact(kind, width, height)?
            }
        };
        Ok(Processor {
            preprocessing: Preprocessing {
                resize,
                filter: self.filter(kind)?,
                center_crop: crop,
                mean: mean.to_vec(),
                std: std.to_vec(),
                pad,
                channel_order: self.order(kind)?,
                middle: Middle::Transformers,
                windows,
            },
        })
    }

    /// A given size; DPT may keep the proportions and wants multiples.
    fn exact(&self, kind: &Kind, width: usize, height: usize) -> Result<Resize, String> {
        let multiple = match kind.name {
            "DPT" => self.count("ensure_multiple_of")?.unwrap_or(1),
            _ => 1,
        };
        if kind.name == "DPT" && self.flag("keep_aspect_ratio", false)? {
            return Ok(Resize::Near {
                width,
                height,
                multiple,
            });
        }
        let rounded = |side: usize| {
            let steps = (side as f64 / multiple as f64).round_ties_even() as usize;
            steps.max(1) * multiple
        };
        Ok(Resize::Exact {
            width: rounded(width),
            height: rounded(height),
        })
    }

    fn crop(&self, kind: &Kind) -> Result<Option<(usize, usize)>, String> {
        let (side, cuts) = kind
            .crop
            .map_or((None, false), |(side, cuts)| (Some(side), cuts));
        if !self.flag("do_center_crop", cuts)? {
            return Ok(None);
        }
        match self.size("crop_size", true)? {
            Some(Size::Exact(height, width)) => Ok(Some((width, height))),
            Some(Size::Short(side) | Size::ShortWithin(side, _)) => Ok(Some((side, side))),
            None => match side {
                Some(side) => Ok(Some((side, side))),
                None => Err("`do_center_crop` without a `crop_size`".into()),
            },
        }
    }

    /// Mean and deviation of values in 0 to 1, whatever factor the file scales them by.
    fn statistics(&self, kind: &Kind) -> Result<[[f32; 3]; 2], String> {
        let normalises = self.flag("do_normalize", kind.normalise.is_some())?;
        let usual = kind.normalise.unwrap_or(HALVES);
        let [mut mean, mut std] = if normalises {
            [
                self.three("image_mean", usual[0])?,
                self.three("image_std", usual[1])?,
            ]
        } else {
            UNIT
        };
        let factor = if self.flag("do_rescale", true)? {
            self.number("rescale_factor", 1.0 / 255.0)?
        } else {
            1.0
        };
        // `v·factor` for `v/255`: of the usual factor the file's digits leave exactly that.
        let scale = (factor * 255.0) as f32;
        if scale != 1.0 {
            mean = mean.map(|m| m / scale);
            std = std.map(|s| s / scale);
        }
        if let Some(wrong) = std.iter().find(|std| !std.is_normal() || **std < 0.0) {
            return Err(format!("`image_std` has {wrong}, which is not positive"));
        }
        Ok([mean, std])
    }

    fn filter(&self, kind: &Kind) -> Result<Filter, String> {
        let antialias = true;
        let Some(number) = self.get("resample") else {
            return Ok(if kind.cubic {
                Filter::Bicubic { antialias }
            } else {
                Filter::Bilinear { antialias }
            });
        };
        match number.as_u64() {
            Some(0) => Ok(Filter::Nearest),
            Some(2) => Ok(Filter::Bilinear { antialias }),
            Some(3) => Ok(Filter::Bicubic { antialias }),
            _ => Err(format!(
                "`resample` is {number}; there are 0 (nearest), 2 (bilinear) and 3 (bicubic)"
            )),
        }
    }

    fn order(&self, kind: &Kind) -> Result<ChannelOrder, String> {
        let older = self.flag("do_flip_channels", kind.flips)?;
        let flips = self.flag("do_flip_channel_order", older)?;
        Ok(if flips && kind.flips {
            ChannelOrder::Bgr
        } else {
            ChannelOrder::Rgb
        })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("`{name}` is {other}, not true or false")),
        }
    }

    fn count(&self, name: &str) -> Result<Option<usize>, String> {
        self.get(name).map(|value| whole(name, value)).transpose()
    }

    fn number(&self, name: &str, default: f64) -> Result<f64, String> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let number = value.as_f64().filter(|number| *number > 0.0);
        number.ok_or_else(|| format!("`{name}` is {value}, no positive number"))
    }

    fn three(&self, name: &str, default: [f32; 3]) -> Result<[f32; 3], String> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        if let Some(number) = value.as_f64() {
            return Ok([number as f32; 3]);
        }
        let numbers = value.as_array().map(|values| {
            values
                .iter()
                .filter_map(|v| Some(v.as_f64()? as f32))
                .collect::<Vec<f32>>()
        });
        let three = numbers.and_then(|numbers| numbers.try_into().ok());
        three.ok_or_else(|| format!("`{name}` is {value}, not three numbers"))
    }

    /// A size in any of the forms that there are; of one number `square` says what it means.
    fn size(&self, name: &str, square: bool) -> Result<Option<Size>, String> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let wrong = || format!("`{name}` is {value}, no size");
        let size = match value {
            Value::Number(_) => {
                let side = whole(name, value)?;
                if square {
                    Size::Exact(side, side)
                } else {
                    Size::Short(side)
                }
            }
            Value::Array(sides) if sides.len() == 2 => {
                Size::Exact(whole(name, &sides[0])?, whole(name, &sides[1])?)
            }
            Value::Object(sides) => {
                let side = |key: &str| {
                    let value = sides.get(key).filter(|value| !value.is_null());
                    value.map(|value| whole(name, value)).transpose()
                };
                match (side("height")?, side("width")?) {
                    (Some(height), Some(width)) => Size::Exact(height, width),
                    _ => match (side("shortest_edge")?, side("longest_edge")?) {
                        (Some(short), Some(long)) => Size::ShortWithin(short, long),
                        (Some(short), None) => Size::Short(short),
                        _ => return Err(wrong()),
                    },
                }
            }
            _ => return Err(wrong()),
        };
        Ok(Some(size))
    }
}

fn whole(name: &str, value: &Value) -> Result<usize, String> {
    let side = value.as_u64().filter(|&side| side > 0);
    let side = side.and_then(|side| side.try_into().ok());
    side.ok_or_else(|| format!("`{name}` has {value}, no positive whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (text, word) in [
            ("", "no JSON"),
            ("[]", "no object"),
            ("{}", "names no image processor"),
            (
                r#"{"image_processor_type": "CLIPImageProcessor"}"#,
                "CLIPImageProcessor",
            ),
            (
                r#"{"image_processor_type": "SegformerImageProcessor", "resample": 5}"#,
                "resample",
            ),
            (
                r#"{"image_processor_type": "SegformerImageProcessor", "size": {"depth": 5}}"#,
                "no size",
            ),
            (
                r#"{"image_processor_type": "SegformerImageProcessor", "image_std": [0, 1, 1]}"#,
                "image_std",
            ),
            (
                r#"{"image_processor_type": "SegformerImageProcessor", "size": 0}"#,
                "size",
            ),
        ] {
            let said = Processor::of(text).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_class_without_the_file_has_its_processors_defaults() {
        let of = |class: &str| Processor::of_class(class).unwrap().preprocessing;
        let segformer = of("SegformerForSemanticSegmentation");
        let (width, height) = (512, 512);
        assert_eq!(segformer.resize, Resize::Exact { width, height });
        assert_eq!(segformer.mean, IMAGENET[0]);
        let mobilenet = of("MobileNetV2ForSemanticSegmentation");
        assert_eq!(mobilenet.resize, Resize::ShortSide { side: 256 });
        assert_eq!(mobilenet.center_crop, Some((224, 224)));
        assert!(Processor::of_class("BriaRMBG").is_none());
    }

    #[test]
    fn older_files_of_maskformer_have_two_numbers() {
        let of = |size: &str| {
            let text =
                format!(r#"{{"feature_extractor_type": "MaskFormerFeatureExtractor", {size}}}"#);
            Processor::of(&text).unwrap().preprocessing.resize
        };
        let within = |side, most, multiple| Resize::ShortSideWithin {
            side,
            most,
            multiple,
        };
        let both = of(r#""size": 640, "max_size": 2560"#);
        assert_eq!(both, within(640, 2560, 32));
        assert_eq!(of(r#""size": 640"#), within(640, 1333, 32));
        let unrounded = of(r#""size": 640, "size_divisor": 0"#);
        assert_eq!(unrounded, within(640, 1333, 1));
    }

    #[test]
    fn another_factor_is_taken_into_mean_and_deviation() {
        let text = r#"{"image_processor_type": "SegformerImageProcessor", "do_rescale": false,
            "image_mean": [127.5, 127.5, 127.5], "image_std": 51}"#;
        let found = Processor::of(text).unwrap().preprocessing;
        assert_eq!((found.mean, found.std), (vec![0.5; 3], vec![0.2; 3]));
    }
}
