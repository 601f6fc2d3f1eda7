//! What a request for a segmentation may say, in its query or as fields of a form.

use segmenta::{SegmentOptions, Tiles};
use serde_json::{Value, json};

use crate::problem::Problem;

/// What comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// A palette PNG of class ids.
    #[default]
    Mask,
    /// The picture under the classes' colours.
    Overlay,
    /// How sure the network is of each pixel, as a grey PNG.
    Probability,
    /// The picture where it has a class, on nothing.
    Cutout,
    /// Everything a program asks for.
    Json,
    /// The class ids as a NumPy array.
    Npy,
    /// The probability of each class at each pixel, as a NumPy array.
    Scores,
}

/// Each by its word, with what it is.
pub(crate) const OUTPUTS: [(&str, Output, &str, &str); 7] = [
    (
        "mask",
        Output::Mask,
        "image/png",
        "palette PNG of class ids, the picture's size",
    ),
    (
        "overlay",
        Output::Overlay,
        "image/png",
        "the picture under the classes' colours",
    ),
    (
        "probability",
        Output::Probability,
        "image/png",
        "how sure the network is of each pixel, black 0 to white 1",
    ),
    (
        "cutout",
        Output::Cutout,
        "image/png",
        "the picture where it has a class; background and void are transparent",
    ),
    (
        "json",
        Output::Json,
        "application/json",
        "classes with shares, boxes, polygons and run lengths, and the mask",
    ),
    (
        "npy",
        Output::Npy,
        "application/x-npy",
        "NumPy array of class ids, uint8, height×width",
    ),
    (
        "scores",
        Output::Scores,
        "application/x-npy",
        "NumPy array of probabilities, float32, classes×height×width",
    ),
];

impl Output {
    fn row(self) -> &'static (&'static str, Self, &'static str, &'static str) {
        let row = OUTPUTS.iter().find(|row| row.1 == self);
        row.expect("every output has a row")
    }

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        self.row().0
    }

    /// Its content type.
    pub(crate) fn kind(self) -> &'static str {
        self.row().2
    }

    /// What a file of it ends in.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Npy | Self::Scores => "npy",
            _ => "png",
        }
    }
}

/// What a request says.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) model: Option<String>,
    pub(crate) output: Output,
    pub(crate) alpha: f64,
    pub(crate) polygons: bool,
    pub(crate) probability: bool,
    flip: bool,
    tile: Option<usize>,
    overlap: Option<usize>,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            model: None,
            output: Output::Mask,
            alpha: 0.6,
            polygons: true,
            probability: false,
            flip: false,
            tile: None,
            overlap: None,
        }
    }
}

/// What may be said, with OpenAPI's schema of each and a sentence.
pub(crate) fn parameters() -> Vec<(&'static str, Value, &'static str)> {
    let words: Vec<&str> = OUTPUTS.iter().map(|row| row.0).collect();
    vec![
        (
            "model",
            json!({"type": "string"}),
            "The network's name; the first that is served if it is left out",
        ),
        (
            "output",
            json!({"type": "string", "enum": words, "default": "mask"}),
            "What comes back",
        ),
        (
            "alpha",
            json!({"type": "number", "minimum": 0, "maximum": 1, "default": 0.6}),
            "How strong an overlay's colours are",
        ),
        (
            "tta",
            json!({"type": "string", "enum": ["none", "flip"], "default": "none"}),
            "Test-time augmentation: average with the mirror image",
        ),
        (
            "tile",
            json!({"type": "integer", "minimum": 1}),
            "Cut the picture into tiles of this many pixels, blended, at its own size",
        ),
        (
            "overlap",
            json!({"type": "integer", "minimum": 0}),
            "How far tiles overlap; an eighth of a tile, at most 64, if it is left out",
        ),
        (
            "polygons",
            json!({"type": "boolean", "default": true}),
            "Whether JSON has polygons, which say every pixel's side",
        ),
        (
            "probability",
            json!({"type": "boolean", "default": false}),
            "Whether JSON has how sure the network is of each pixel, a grey PNG in base64",
        ),
    ]
}

impl Ask {
    /// Takes one thing that is said.
    ///
    /// # Errors
    /// A name that means nothing here, or a value that cannot be.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let wrong = |remedy: &str| {
            let shown: String = value.chars().take(40).collect();
            Problem::bad(format!("`{name}` is “{shown}”"), "the request", remedy)
        };
        match name {
            "model" => self.model = Some(value.into()),
            "output" => {
                let row = OUTPUTS.iter().find(|row| row.0 == value);
                let words: Vec<&str> = OUTPUTS.iter().map(|row| row.0).collect();
                self.output = row
                    .ok_or_else(|| wrong(&format!("one of {}", words.join(", "))))?
                    .1;
            }
            "alpha" => {
                let alpha = value
                    .parse()
                    .ok()
                    .filter(|alpha| (0.0..=1.0).contains(alpha));
                self.alpha = alpha.ok_or_else(|| wrong("a number from 0 to 1"))?;
            }
            "tta" => {
                self.flip = match value {
                    "flip" => true,
                    "none" => false,
                    _ => return Err(wrong("`flip` or `none`")),
                };
            }
            "tile" => {
                let tile = value.parse().ok().filter(|&tile: &usize| tile > 0);
                self.tile = Some(tile.ok_or_else(|| wrong("pixels of a tile's side, as 512"))?);
            }
            "overlap" => {
                let overlap = value.parse().map_err(|_| wrong("pixels, as 64"))?;
                self.overlap = Some(overlap);
            }
            "polygons" | "probability" => {
                let said = match value {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(wrong("`true` or `false`")),
                };
                *(if name == "polygons" {
                    &mut self.polygons
                } else {
                    &mut self.probability
                }) = said;
            }
            _ => {
                let shown: String = name.chars().take(40).collect();
                let names: Vec<&str> = parameters().iter().map(|row| row.0).collect();
                return Err(Problem::bad(
                    format!("nothing is called `{shown}` here"),
                    "the request",
                    format!("one of {}", names.join(", ")),
                ));
            }
        }
        Ok(())
    }

    /// All that a query says.
    ///
    /// # Errors
    /// As [`Ask::set`].
    pub(crate) fn read(query: &str) -> Result<Self, Problem> {
        let mut ask = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            ask.set(&name, &value)?;
        }
        Ok(ask)
    }

    /// As the library takes it.
    ///
    /// # Errors
    /// Tiles that cannot be, or what tiles do not give.
    pub(crate) fn options(&self) -> Result<SegmentOptions, Problem> {
        if self.overlap.is_some() && self.tile.is_none() {
            return Err(Problem::bad(
                "`overlap` without `tile`",
                "the request",
                "say how large tiles are: tile=512",
            ));
        }
        let tiles = self.tile.map(|size| {
            let overlap = self.overlap.unwrap_or_else(|| (size / 8).min(64));
            Tiles::new(size, overlap)
        });
        let tiles = tiles.transpose();
        let tiles = tiles.map_err(|error| {
            Problem::of_text(axum::http::StatusCode::BAD_REQUEST, &error.to_string())
        })?;
        if tiles.is_some() && self.output == Output::Scores {
            return Err(Problem::bad(
                "`scores` of a picture in tiles",
                "the request",
                "leave `tile` out",
            ));
        }
        Ok(SegmentOptions::new()
            .flip(self.flip)
            .tiles(tiles)
            .probability(matches!(self.output, Output::Probability | Output::Json))
            .probabilities(self.output == Output::Scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named_with_its_value() {
        for (query, part) in [
            ("output=jpeg", "jpeg"),
            ("alpha=2", "`alpha` is “2”"),
            ("alpha=NaN", "NaN"),
            ("tile=0", "`tile`"),
            ("tile=-1", "“-1”"),
            ("tta=spin", "spin"),
            ("colour=red", "`colour`"),
            ("polygons=maybe", "maybe"),
            ("probability=yes", "`probability`"),
        ] {
            let line = Ask::read(query).unwrap_err().line();
            assert!(line.contains(part), "{query}: {line}");
        }
        for (query, part) in [
            ("overlap=3", "without `tile`"),
            ("tile=64&overlap=40", "third"),
            ("tile=64&output=scores", "leave `tile` out"),
        ] {
            let line = Ask::read(query).unwrap().options().unwrap_err().line();
            assert!(line.contains(part), "{query}: {line}");
        }
        let ask = Ask::read("model=a%20b&output=json&tta=flip&tile=512").unwrap();
        assert_eq!(ask.model.as_deref(), Some("a b"));
        let options = ask.options().unwrap();
        assert!(options.flip && options.probability);
        assert_eq!(options.tiles.unwrap().overlap(), 64);
    }

    #[test]
    fn every_parameter_of_the_description_is_taken() {
        for (name, _, _) in parameters() {
            let value = match name {
                "model" => "m",
                "output" => "mask",
                "alpha" => "0.5",
                "tta" => "none",
                "polygons" | "probability" => "false",
                _ => "64",
            };
            Ask::default().set(name, value).unwrap();
        }
    }
}
