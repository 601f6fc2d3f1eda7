//! A photograph to the tensor that a network reads, by the recipe its weights were trained with.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::{ErrorKind, Filter, Picture, PictureError, Rect, Resize, Size};

/// A recipe: resize (antialiased), crop the centre, pad, normalise. In that order, each optional.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// The size first given to the picture.
    pub resize: Resize,
    /// `[width, height]` cut from the centre as torchvision's `CenterCrop`; where the picture is smaller, black is added.
    pub center_crop: Option<[usize; 2]>,
    /// What is subtracted from values in 0 to 1 (red, green, blue).
    pub mean: [f32; 3],
    /// What they are then divided by. `x/127.5 − 1` is a mean and deviation of 0.5.
    pub std: [f32; 3],
    /// The least size of the tensor.
    pub pad: Option<Pad>,
    /// How pixels are found, and in which order their channels come.
    pub pixels: Pixels,
}

/// How pixels are found between pixels, and in which order their channels come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pixels {
    /// How they are found between pixels.
    pub filter: Filter,
    /// Which of the tensor's planes is of which colour.
    pub order: ChannelOrder,
    /// Where the middle is, of what leaves half a pixel over.
    pub middle: Middle,
}

/// Where the middle of a picture is that has an odd number of pixels more, or less, than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Middle {
    /// As torchvision has it: halves go to the even neighbour, room that is added is one pixel less above and left.
    #[default]
    Torchvision,
    /// As transformers has it with Pillow: a crop begins half a pixel earlier, a smaller picture half a pixel later.
    Transformers,
}

/// Which of a tensor's planes is of which colour. Mean, deviation and the colour of the room follow the planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Room added to the right of and below a picture that is smaller than `width`×`height`; a larger side stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pad {
    /// Least width in pixels.
    pub width: usize,
    /// Least height in pixels.
    pub height: usize,
    /// The colour of the room, 0 to 255 before normalisation.
    pub value: [f32; 3],
}

/// A picture as a network reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Three planes (red, green, blue) of `height` rows of `width` normalised values.
    pub tensor: Vec<f32>,
    /// Columns of the tensor.
    pub width: usize,
    /// Rows of the tensor.
    pub height: usize,
    /// Which part of the photograph is where in the tensor.
    pub geometry: Geometry,
}

/// Where a tensor's picture lies and what it shows, to bring a network's answer back to the photograph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The part of the tensor that holds picture rather than room.
    pub valid: Rect,
    /// The part of the photograph, in its own pixels (edges rounded), that `valid` shows.
    pub covers: Rect,
    /// The photograph's `(width, height)`.
    pub picture: (usize, usize),
}

/// One axis of the recipe: where on the resized picture the visible part starts, where in the tensor, how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    resized: usize,
    source: usize,
    target: usize,
    visible: usize,
    length: usize,
}

impl Preprocess {
    /// The mean of ImageNet's pictures, for values in 0 to 1.
    pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    /// Their standard deviation.
    pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

    /// torchvision's `SemanticSegmentation` preset: the short side resized, ImageNet's mean and deviation.
    pub fn torchvision(short_side: usize) -> Self {
        Self {
            resize: Resize::ShortSide(short_side),
            center_crop: None,
            mean: Self::IMAGENET_MEAN,
            std: Self::IMAGENET_STD,
            pad: None,
            pixels: Pixels::default(),
        }
    }

    /// Whether every size of the recipe is one that a network may be given, whatever the picture, and its numbers make
    /// finite values of it: for recipes that come from a file or a user.
    ///
    /// # Errors
    /// A size of 0 or above [`Size::MAX_INPUT_SIDE`] and [`Size::MAX_INPUT_PIXELS`], a mean that is no finite number, a
    /// deviation that is not positive, a colour of the room outside 0 to 255; it names which.
    pub fn check(&self) -> Result<(), PictureError> {
        self.resize.check().map_err(|error| error.of("resize"))?;
        let crop = self.center_crop;
        let crop = crop.map(|[width, height]| Size::for_network(width, height));
        crop.transpose().map_err(|error| error.of("center_crop"))?;
        let pad = self.pad.map(|pad| Size::for_network(pad.width, pad.height));
        pad.transpose().map_err(|error| error.of("pad"))?;
        let wrong = |place: &str, value: f32, wanted: &str| {
            let (what, remedy) = (
                format!("{value} among the numbers"),
                format!("give {wanted}"),
            );
            Err(PictureError::new(ErrorKind::Setting, what, place, remedy))
        };
        if let Some(&mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return wrong("mean", mean, "finite numbers, for values in 0 to 1");
        }
        // Denormal ones would divide to infinity.
        if let Some(&std) = self.std.iter().find(|std| !std.is_normal() || **std < 0.0) {
            return wrong("std", std, "numbers above 0, for values in 0 to 1");
        }
        let colour = self.pad.iter().flat_map(|pad| &pad.value);
        match colour.copied().find(|value| !(0.0..=255.0).contains(value)) {
            Some(value) => wrong("pad value", value, "numbers from 0 to 255"),
            None => Ok(()),
        }
    }

    /// The `(width, height)` of the tensor that a picture of `width`×`height` becomes.
    pub fn size_of(&self, width: usize, height: usize) -> (usize, usize) {
        let [x, y] = self.axes(width, height);
        (x.length, y.length)
    }

    /// Prepares a picture.
    pub fn apply(&self, picture: &Picture) -> Prepared {
        let [x, y] = self.axes(picture.width(), picture.height());
        let resized = match self.resize {
            Resize::None => Cow::Borrowed(picture),
            _ => Cow::Owned(picture.resize(x.resized, y.resized, self.pixels.filter)),
        };
        let mut tensor = self.ground(x, y);
        let tables = self.tables();
        let (first, rest) = tensor.split_at_mut(x.length * y.length);
        let (green, last) = rest.split_at_mut(x.length * y.length);
        let [(red, of_red), (blue, of_blue)] = match self.pixels.order {
            ChannelOrder::Rgb => [(first, 0), (last, 2)],
            ChannelOrder::Bgr => [(last, 2), (first, 0)],
        };
        let (pixels, _) = resized.pixels().as_chunks::<3>();
        red.par_chunks_exact_mut(x.length)
            .zip(green.par_chunks_exact_mut(x.length))
            .zip(blue.par_chunks_exact_mut(x.length))
            .skip(y.target)
            .zip(pixels.par_chunks_exact(x.resized).skip(y.source))
            .take(y.visible)
            .for_each(|(((red, green), blue), row)| {
                let seen = x.target..x.target + x.visible;
                let planes = red[seen.clone()]
                    .iter_mut()
                    .zip(&mut green[seen.clone()])
                    .zip(&mut blue[seen]);
                for (((r, g), b), pixel) in planes.zip(&row[x.source..]) {
                    *r = tables[of_red][usize::from(pixel[0])];
                    *g = tables[1][usize::from(pixel[1])];
                    *b = tables[of_blue][usize::from(pixel[2])];
                }
            });
        Prepared {
            tensor,
            width: x.length,
            height: y.length,
            geometry: Geometry {
                valid: Rect::new(x.target, y.target, x.visible, y.visible),
                covers: covered(x, y, picture.size()),
                picture: picture.size(),
            },
        }
    }

    fn axes(&self, width: usize, height: usize) -> [Axis; 2] {
        let (w, h) = self.resize.size_of(width, height);
        let crop = self.center_crop.map_or([None; 2], |sides| sides.map(Some));
        let least = self.pad.map_or([0; 2], |pad| [pad.width, pad.height]);
        [
            Axis::new(w, crop[0], least[0], self.pixels.middle),
            Axis::new(h, crop[1], least[1], self.pixels.middle),
        ]
    }

    /// The smallest and the largest value that a tensor has, whatever the picture.
    pub fn range(&self) -> [f32; 2] {
        let ends = (0..3).flat_map(|c| [0.0, 255.0].map(|value| self.normalise(c, value)));
        ends.fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], x| {
            [low.min(x), high.max(x)]
        })
    }

    /// A byte's normalised value, by channel: torchvision's two float32 steps, `v / 255` and `(v − mean) / std`.
    fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|c| std::array::from_fn(|v| self.normalise(c, v as f32)))
    }

    fn normalise(&self, channel: usize, value: f32) -> f32 {
        (value / 255.0 - self.mean[channel]) / self.std[channel]
    }

    /// The tensor before the picture is in it: black where the crop reaches beyond the picture, then the pad's colour.
    fn ground(&self, x: Axis, y: Axis) -> Vec<f32> {
        let count = x.length * y.length;
        if x.visible * y.visible == count {
            return vec![0.0; count * 3];
        }
        let crop = self
            .center_crop
            .map(|[width, height]| (width.max(1), height.max(1)));
        let pad = self.pad.map_or([0.0; 3], |pad| pad.value);
        let mut tensor = Vec::with_capacity(count * 3);
        for (channel, value) in pad.into_iter().enumerate() {
            tensor.resize(tensor.len() + count, self.normalise(channel, value));
            let Some((width, height)) = crop else {
                continue;
            };
            let plane = &mut tensor[channel * count..];
            let rows = plane.chunks_exact_mut(x.length).take(height);
            rows.for_each(|row| row[..width].fill(self.normalise(channel, 0.0)));
        }
        tensor
    }
}

impl Axis {
    fn new(resized: usize, crop: Option<usize>, least: usize, middle: Middle) -> Self {
        let kept = crop.map_or(resized, |side| side.max(1));
        let (more, fewer) = (resized.saturating_sub(kept), kept.saturating_sub(resized));
        let (source, target) = match middle {
            // Python rounds a half to the even neighbour.
            Middle::Torchvision => ((more as f64 / 2.0).round_ties_even() as usize, fewer / 2),
            Middle::Transformers => (more / 2, fewer.div_ceil(2)),
        };
        Self {
            resized,
            source,
            target,
            visible: kept.min(resized),
            length: kept.max(least),
        }
    }

    /// The visible part on the photograph's own axis of `side` pixels: first pixel and count, edges rounded, at least one.
    fn covers(self, side: usize) -> (usize, usize) {
        let on_photograph =
            |edge: usize| (edge as f64 * side as f64 / self.resized as f64).round() as usize;
        let first = on_photograph(self.source).min(side - 1);
        let end = on_photograph(self.source + self.visible).max(first + 1);
        (first, end - first)
    }
}

fn covered(x: Axis, y: Axis, (width, height): (usize, usize)) -> Rect {
    let (left, width) = x.covers(width);
    let (top, height) = y.covers(height);
    Rect::new(left, top, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Preprocess {
        Preprocess {
            resize: Resize::None,
            center_crop: None,
            mean: [0.5; 3],
            std: [0.5; 3],
            pad: None,
            pixels: Pixels::default(),
        }
    }

    #[test]
    fn what_no_network_can_be_given_is_refused_by_name() {
        let pad = |width, value| Pad {
            width,
            height: 8,
            value: [0.0, value, 0.0],
        };
        let wrong: [(&str, Preprocess); 9] = [
            (
                "resize",
                Preprocess {
                    resize: Resize::ShortSide(0),
                    ..plain()
                },
            ),
            (
                "resize",
                Preprocess {
                    resize: Resize::LongSide(1 << 17),
                    ..plain()
                },
            ),
            (
                "resize",
                Preprocess {
                    resize: Resize::Exact {
                        width: 9000,
                        height: 9000,
                    },
                    ..plain()
                },
            ),
            (
                "center_crop",
                Preprocess {
                    center_crop: Some([0, 8]),
                    ..plain()
                },
            ),
            (
                "pad",
                Preprocess {
                    pad: Some(pad(1 << 20, 0.0)),
                    ..plain()
                },
            ),
            (
                "pad value",
                Preprocess {
                    pad: Some(pad(8, 300.0)),
                    ..plain()
                },
            ),
            (
                "mean",
                Preprocess {
                    mean: [0.0, f32::NAN, 0.0],
                    ..plain()
                },
            ),
            (
                "std",
                Preprocess {
                    std: [1.0, 0.0, 1.0],
                    ..plain()
                },
            ),
            (
                "std",
                Preprocess {
                    std: [1.0, f32::INFINITY, 1.0],
                    ..plain()
                },
            ),
        ];
        for (place, recipe) in wrong {
            let text = recipe.check().unwrap_err().to_string();
            assert!(text.contains(&format!(" · {place} · give ")), "{text}");
        }
        let padded = Preprocess {
            pad: Some(pad(8, 255.0)),
            ..plain()
        };
        padded.check().unwrap();
    }

    #[test]
    fn deeplab_recipe_pads_on_grey() {
        let recipe = Preprocess {
            resize: Resize::LongSide(513),
            pad: Some(Pad {
                width: 513,
                height: 513,
                value: [127.5; 3],
            }),
            ..plain()
        };
        let prepared = recipe.apply(&Picture::filled(500, 375, [255, 0, 255]));
        assert_eq!((prepared.width, prepared.height), (513, 513));
        assert_eq!(recipe.size_of(500, 375), (513, 513));
        assert_eq!(prepared.geometry.valid, Rect::new(0, 0, 513, 384));
        assert_eq!(prepared.geometry.covers, Rect::new(0, 0, 500, 375));
        let plane = 513 * 513;
        assert_eq!(prepared.tensor[513 * 383 + 512], 1.0);
        assert_eq!(prepared.tensor[plane], -1.0);
        assert_eq!(prepared.tensor[513 * 384], 0.0);
    }

    #[test]
    fn a_crop_larger_than_the_picture_is_black_around_it() {
        let recipe = Preprocess {
            center_crop: Some([4, 2]),
            pad: Some(Pad {
                width: 5,
                height: 1,
                value: [127.5; 3],
            }),
            ..plain()
        };
        let prepared = recipe.apply(&Picture::filled(1, 4, [255; 3]));
        assert_eq!((prepared.width, prepared.height), (5, 2));
        assert_eq!(prepared.tensor[..5], [-1.0, 1.0, -1.0, -1.0, 0.0]);
        assert_eq!(prepared.geometry.valid, Rect::new(1, 0, 1, 2));
        assert_eq!(prepared.geometry.covers, Rect::new(0, 1, 1, 2));
    }

    #[test]
    fn sizes_that_no_network_is_given_are_named() {
        let pad = |width| Pad {
            width,
            height: 1 << 20,
            value: [0.0; 3],
        };
        let side = 1_000_000;
        let exact = Resize::Exact {
            width: side,
            height: side,
        };
        for (recipe, name) in [
            (
                Preprocess {
                    resize: exact,
                    ..plain()
                },
                "resize",
            ),
            (
                Preprocess {
                    resize: Resize::LongSide(side),
                    ..plain()
                },
                "resize",
            ),
            (
                Preprocess {
                    center_crop: Some([side, 1]),
                    ..plain()
                },
                "center_crop",
            ),
            (
                Preprocess {
                    pad: Some(pad(usize::MAX)),
                    ..plain()
                },
                "pad",
            ),
        ] {
            let error = recipe.check().unwrap_err().to_string();
            assert!(error.contains(&format!(" · {name} · ")), "{error}");
        }
        Preprocess::torchvision(520).check().unwrap();
    }

    #[test]
    fn a_crop_is_told_in_the_photographs_pixels() {
        let recipe = Preprocess {
            resize: Resize::ShortSide(64),
            center_crop: Some([56, 56]),
            ..plain()
        };
        let prepared = recipe.apply(&Picture::filled(256, 128, [0; 3]));
        assert_eq!(prepared.geometry.valid, Rect::new(0, 0, 56, 56));
        assert_eq!(prepared.geometry.covers, Rect::new(72, 8, 112, 112));
    }
}
