//! What a network is built with.

use crate::encoders::Encoder;
use crate::settings::Settings;

/// What a network is built with.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Number of classes, background included.
    pub classes: usize,
    /// Channels of the input; 3 for RGB.
    pub in_channels: usize,
    /// Whether the auxiliary head of torchvision's networks is there (result `aux`).
    pub aux: bool,
    /// Multiplier of the encoder's channels; 1 except where
    /// [`Architecture::has_width`](crate::Architecture::has_width).
    pub width: f64,
    /// The encoder, for architectures that take one
    /// ([`Architecture::has_encoder`](crate::Architecture::has_encoder)); `None` for
    /// [`Architecture::default_encoder`](crate::Architecture::default_encoder).
    pub encoder: Option<&'static Encoder>,
    /// What else SMP's architectures can be told; [`Architecture::settings`](crate::Architecture::settings)
    /// lists what each takes.
    pub settings: Settings,
}

impl Options {
    /// For RGB pictures, without auxiliary head, at full width, with the default encoder and settings.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            in_channels: 3,
            aux: false,
            width: 1.0,
            encoder: None,
            settings: Settings::default(),
        }
    }
}
