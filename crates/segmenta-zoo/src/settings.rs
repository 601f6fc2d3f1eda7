//! What SMP's architectures can be told, under the names of SMP's keyword arguments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings of SMP's architectures (segmentation_models_pytorch 0.6); what is `None` is as SMP has it by
/// default. Each architecture takes some of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many of the encoder's stages are read, 3 to 5. All of it is built, as SMP does. For `dpt`: how
    /// many of its blocks are read, 1 to 4.
    pub encoder_depth: Option<usize>,
    /// The stride beyond which the encoder dilates: 8, 16 or 32.
    pub encoder_output_stride: Option<usize>,
    /// Which of a transformer's blocks are read, as many as it is deep, from 0 on.
    pub encoder_output_indices: Option<Vec<usize>>,
    /// Channels of the decoder: one number, or one a block from the smallest map to the largest.
    pub decoder_channels: Option<Channels>,
    /// The norm after the decoder's convolutions.
    pub decoder_use_norm: Option<Norm>,
    /// How the decoder's maps are scaled by what they hold.
    pub decoder_attention_type: Option<Attention>,
    /// How the decoder enlarges maps.
    pub decoder_interpolation: Option<Interpolation>,
    /// Channels of FPN's pyramid.
    pub decoder_pyramid_channels: Option<usize>,
    /// Channels of the maps that are brought together in `fpn` and `segformer`.
    pub decoder_segmentation_channels: Option<usize>,
    /// How FPN brings its maps together.
    pub decoder_merge_policy: Option<MergePolicy>,
    /// Probability that FPN drops a channel in training.
    pub decoder_dropout: Option<f32>,
    /// Channels that MA-Net's positions are compared by.
    pub decoder_pab_channels: Option<usize>,
    /// Channels of PSPNet's last map.
    pub psp_out_channels: Option<usize>,
    /// Probability that PSPNet drops a channel in training.
    pub psp_dropout: Option<f32>,
    /// Dilations of DeepLab's three spread windows.
    pub decoder_atrous_rates: Option<[usize; 3]>,
    /// Whether DeepLab's spread windows are depthwise separable.
    pub decoder_aspp_separable: Option<bool>,
    /// Probability that DeepLab drops a value in training.
    pub decoder_aspp_dropout: Option<f32>,
    /// What DPT does with the class token.
    pub decoder_readout: Option<Readout>,
    /// Channels of DPT's maps before they are brought together, as many as it is deep.
    pub decoder_intermediate_channels: Option<Vec<usize>>,
    /// Channels of DPT's maps from there on.
    pub decoder_fusion_channels: Option<usize>,
    /// How many times as large as the decoder's last map the result is; the size of the input if `None`.
    pub upsampling: Option<usize>,
    /// What follows the logits.
    pub activation: Option<OutputActivation>,
    /// The head that classifies the whole picture (result `label`), if there is one.
    pub aux_params: Option<LabelHead>,
}

/// One number of channels for all of a decoder, or one a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "invalid value, expected a whole number, or a list of them: one for each block"
)]
pub enum Channels {
    /// For all of it.
    One(usize),
    /// For each block, from the smallest map to the largest.
    Each(Vec<usize>),
}

/// The norm between a decoder's convolution and its ReLU, as SMP is told it: a name, a truth value (batch norm
/// or none), or an object such as `{"type": "instancenorm", "affine": true}`. A layer norm over the map's
/// width, which SMP can be told, fits one width only; InPlace-ABN is a batch norm for want of memory:
/// neither is here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "NormForm", into = "NormForm")]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// Whether an instance norm has a scale and a shift. (SMP 0.6 cannot build one without.)
    pub affine: bool,
    /// Added to the variance before the root.
    pub eps: f32,
    /// How much of a batch norm's running statistic a training step replaces.
    pub momentum: f32,
}

/// Which norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// Batch norm.
    #[default]
    BatchNorm,
    /// None: the convolution has a bias instead.
    Identity,
    /// Each channel of each picture by itself.
    InstanceNorm,
}

impl From<NormKind> for Norm {
    fn from(kind: NormKind) -> Self {
        Self {
            kind,
            affine: false,
            eps: 1e-5,
            momentum: 0.1,
        }
    }
}

impl Default for Norm {
    fn default() -> Self {
        NormKind::BatchNorm.into()
    }
}

/// The ways to say a [`Norm`].
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "invalid value, expected `batchnorm`, `identity`, `instancenorm`, true, false, or {\"type\": …}"
)]
enum NormForm {
    Present(bool),
    Name(NormKind),
    Full(FullNorm),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullNorm {
    #[serde(rename = "type")]
    kind: NormKind,
    #[serde(default)]
    affine: bool,
    #[serde(default = "FullNorm::eps")]
    eps: f32,
    #[serde(default = "FullNorm::momentum")]
    momentum: f32,
}

impl FullNorm {
    fn eps() -> f32 {
        Norm::default().eps
    }

    fn momentum() -> f32 {
        Norm::default().momentum
    }
}

impl From<NormForm> for Norm {
    fn from(form: NormForm) -> Self {
        match form {
            NormForm::Present(true) => NormKind::BatchNorm.into(),
            NormForm::Present(false) => NormKind::Identity.into(),
            NormForm::Name(kind) => kind.into(),
            NormForm::Full(full) => Self {
                kind: full.kind,
                affine: full.affine,
                eps: full.eps,
                momentum: full.momentum,
            },
        }
    }
}

impl From<Norm> for NormForm {
    fn from(norm: Norm) -> Self {
        if norm == norm.kind.into() {
            return Self::Name(norm.kind);
        }
        Self::Full(FullNorm {
            kind: norm.kind,
            affine: norm.affine,
            eps: norm.eps,
            momentum: norm.momentum,
        })
    }
}

/// An attention within a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// Spatial and channel squeeze-and-excitation (Roy et al. 2018, arXiv:1803.02579).
    Scse,
}

/// How maps are enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions.
    Bilinear,
}

/// How maps are brought together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergePolicy {
    /// Their sum.
    #[default]
    Add,
    /// Side by side.
    Cat,
}

/// What is done with a transformer's class token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readout {
    /// It stands beside each pixel, and a linear layer brings both together.
    #[default]
    Cat,
    /// It is added to each pixel.
    Add,
    /// Nothing.
    Ignore,
}

/// What follows the logits. Losses ask for logits: leave it out for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputActivation {
    /// Nothing.
    Identity,
    /// Each class by itself.
    Sigmoid,
    /// Over the classes.
    #[serde(alias = "softmax2d")]
    Softmax,
    /// Its logarithm.
    LogSoftmax,
    /// The hyperbolic tangent.
    Tanh,
}

/// A head that gives the whole picture a class: SMP's `aux_params`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelHead {
    /// Number of its classes.
    pub classes: usize,
    /// What is taken of each channel.
    #[serde(default)]
    pub pooling: Pooling,
    /// Probability that one of these is dropped in training.
    #[serde(default = "LabelHead::default_dropout")]
    pub dropout: f32,
    /// What follows.
    #[serde(default)]
    pub activation: Option<OutputActivation>,
}

/// What is taken of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Its mean.
    #[default]
    Avg,
    /// Its maximum.
    Max,
}

impl LabelHead {
    /// SMP's default.
    pub const DROPOUT: f32 = 0.2;

    /// For so many classes, with SMP's pooling and dropout.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            pooling: Pooling::default(),
            dropout: Self::DROPOUT,
            activation: None,
        }
    }

    fn default_dropout() -> f32 {
        Self::DROPOUT
    }
}

impl Settings {
    /// More channels than this no decoder has: a mistake, for which memory would be asked.
    const MOST_CHANNELS: usize = 1 << 14;

    /// Sets one by its name; `value` is as in JSON or TOML (`16`, `[256, 128, 64]`, `"scse"`), and words
    /// need no quotes.
    ///
    /// ```
    /// use segmenta_zoo::{Attention, Settings};
    /// let mut settings = Settings::default();
    /// settings.set("encoder_depth", "4")?;
    /// settings.set("decoder_attention_type", "scse")?;
    /// assert_eq!(settings.decoder_attention_type, Some(Attention::Scse));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong with the name or the value, in words.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
        let mut all = self.given();
        let text = value.to_string();
        all.insert(name.into(), value);
        let object = Value::Object(all.into_iter().collect());
        *self = serde_json::from_value(object).map_err(|error| {
            let problem = segmenta_files::of_type(&error.to_string());
            match problem.split_once("; give ") {
                Some((_, wanted)) => {
                    format!("the setting `{name}` cannot be {text}; give {wanted}")
                }
                None => format!("the setting `{name}` cannot be {text}: {problem}"),
            }
        })?;
        Ok(())
    }

    /// Whether every number is one that a network can be built with; what is wrong, in words.
    pub(crate) fn check(&self, classes: usize) -> Result<(), String> {
        let one = |channels: &Option<Channels>| match channels {
            Some(Channels::One(channels)) => vec![*channels],
            Some(Channels::Each(each)) => each.clone(),
            None => Vec::new(),
        };
        let several = |given: &Option<Vec<usize>>| given.clone().unwrap_or_default();
        let single = |given: Option<usize>| given.into_iter().collect::<Vec<_>>();
        let rates = self.decoder_atrous_rates;
        let widths = 1..=Self::MOST_CHANNELS;
        let counts = [
            (
                "decoder_channels",
                one(&self.decoder_channels),
                widths.clone(),
            ),
            (
                "decoder_pyramid_channels",
                single(self.decoder_pyramid_channels),
                widths.clone(),
            ),
            (
                "decoder_segmentation_channels",
                single(self.decoder_segmentation_channels),
                widths.clone(),
            ),
            (
                "decoder_pab_channels",
                single(self.decoder_pab_channels),
                widths.clone(),
            ),
            (
                "psp_out_channels",
                single(self.psp_out_channels),
                widths.clone(),
            ),
            (
                "decoder_intermediate_channels",
                several(&self.decoder_intermediate_channels),
                widths.clone(),
            ),
            (
                "decoder_fusion_channels",
                single(self.decoder_fusion_channels),
                widths,
            ),
            (
                "decoder_atrous_rates",
                rates.map_or_else(Vec::new, Vec::from),
                1..=1024,
            ),
            ("upsampling", single(self.upsampling), 1..=64),
            (
                "aux_params.classes",
                single(self.aux_params.map(|head| head.classes)),
                1..=Self::MOST_CHANNELS,
            ),
        ];
        for (name, given, range) in counts {
            if let Some(wrong) = given.iter().find(|&count| !range.contains(count)) {
                let (least, most) = (range.start(), range.end());
                return Err(format!(
                    "takes `{name}` from {least} to {most}, not {wrong}"
                ));
            }
        }
        let shares = [
            ("decoder_dropout", self.decoder_dropout),
            ("psp_dropout", self.psp_dropout),
            ("decoder_aspp_dropout", self.decoder_aspp_dropout),
            (
                "aux_params.dropout",
                self.aux_params.map(|head| head.dropout),
            ),
            (
                "decoder_use_norm.momentum",
                self.decoder_use_norm.map(|norm| norm.momentum),
            ),
        ];
        for (name, share) in shares {
            if let Some(wrong) = share.filter(|share| !(0.0..=1.0).contains(share)) {
                return Err(format!("takes `{name}` from 0 to 1, not {wrong}"));
            }
        }
        if let Some(eps) = self.decoder_use_norm.map(|norm| norm.eps)
            && !(eps > 0.0 && eps <= 1.0)
        {
            return Err(format!(
                "takes `decoder_use_norm.eps` above 0, up to 1, not {eps}"
            ));
        }
        let over_classes = [OutputActivation::Softmax, OutputActivation::LogSoftmax];
        let is_constant = |activation: Option<OutputActivation>, classes: usize| {
            classes == 1 && activation.is_some_and(|a| over_classes.contains(&a))
        };
        let head = self.aux_params;
        if is_constant(self.activation, classes)
            || head.is_some_and(|head| is_constant(head.activation, head.classes))
        {
            return Err(
                "takes no softmax over one class, which is 1 whatever the picture; `sigmoid` is the \
                 activation of one class"
                    .into(),
            );
        }
        Ok(())
    }

    /// Those that are given, by name, as JSON.
    pub fn given(&self) -> BTreeMap<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(all)) => all
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .collect(),
            _ => BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_given() {
        let mut settings = Settings::default();
        assert!(settings.given().is_empty());
        for (name, value) in [
            ("decoder_channels", "[64, 32, 16]"),
            (
                "decoder_use_norm",
                "{\"type\": \"instancenorm\", \"affine\": true}",
            ),
            ("activation", "softmax2d"),
            ("aux_params", "{\"classes\": 4}"),
        ] {
            settings.set(name, value).unwrap();
        }
        assert_eq!(
            settings.decoder_channels,
            Some(Channels::Each(vec![64, 32, 16]))
        );
        assert_eq!(settings.aux_params, Some(LabelHead::new(4)));
        let norm = settings.decoder_use_norm.unwrap();
        assert_eq!(
            (norm.kind, norm.affine, norm.eps),
            (NormKind::InstanceNorm, true, 1e-5)
        );
        settings.set("decoder_channels", "32").unwrap();
        let mut again = Settings::default();
        for (name, value) in settings.given() {
            again.set(&name, &value.to_string()).unwrap();
        }
        assert_eq!(again, settings);
        settings.set("decoder_use_norm", "false").unwrap();
        assert_eq!(settings.decoder_use_norm, Some(NormKind::Identity.into()));
        assert_eq!(settings.given()["decoder_use_norm"], "identity");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut settings = Settings::default();
        let unknown = settings.set("decoder_chanels", "3").unwrap_err();
        assert!(unknown.contains("`decoder_chanels`") && unknown.contains("`decoder_channels`"));
        let wrong = settings.set("decoder_use_norm", "layernorm").unwrap_err();
        assert!(
            wrong.contains("layernorm") && wrong.contains("instancenorm"),
            "{wrong}"
        );
        assert_eq!(settings, Settings::default());
    }
}
