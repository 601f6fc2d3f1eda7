//! What a network is built with.

use crate::encoder::Encoder;

/// What a network is built with.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Number of classes, background included.
    pub classes: usize,
    /// Channels of the input; 3 for RGB.
    pub in_channels: usize,
    /// Whether the auxiliary head is there (result `aux`).
    pub aux: bool,
    /// Multiplier of the encoder's channels; 1 except where
    /// [`Architecture::has_width`](crate::Architecture::has_width).
    pub width: f64,
    /// The encoder, for architectures that take one
    /// ([`Architecture::has_encoder`](crate::Architecture::has_encoder)); `None` for resnet34, SMP's
    /// default.
    pub encoder: Option<&'static Encoder>,
    /// How many of the encoder's stages are read, 3 to 5. All of it is built, as SMP does.
    pub encoder_depth: usize,
    /// Channels of the decoder's blocks, as many as the encoder is deep, from the smallest map to the
    /// largest; empty for SMP's.
    pub decoder_channels: Vec<usize>,
    /// Whether the decoder's maps are scaled by what they hold (SMP's `scse`).
    pub attention: bool,
    /// The head that classifies the whole picture (result `label`), if there is one.
    pub label: Option<LabelHead>,
}

/// A head that gives the whole picture a class: SMP's `aux_params`, with the mean as its pooling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelHead {
    /// Number of its classes.
    pub classes: usize,
    /// Probability that a channel's mean is dropped in training.
    pub dropout: f32,
}

impl LabelHead {
    /// SMP's default.
    pub const DROPOUT: f32 = 0.2;
}

impl Options {
    /// For RGB pictures, without auxiliary head, at full width, with the default encoder.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            in_channels: 3,
            aux: false,
            width: 1.0,
            encoder: None,
            encoder_depth: 5,
            decoder_channels: Vec::new(),
            attention: false,
            label: None,
        }
    }
}
