//! What a run is to do, as a TOML file says it. `explained.toml` beside this file documents every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use segmenta_data::augment::Augmentation;
use segmenta_data::{Dataset, Kind, MaskRule, Open, Shares, Split};
use segmenta_image::Pixels;
use segmenta_weights::ChannelOrder;
use serde::{Deserialize, Serialize};

mod ranges;
mod settings;
mod told;

pub(super) use self::settings::key_of;
use self::settings::set;
use super::RunError;
use super::begin::Matching;
use crate::loss::LossSpec;
use crate::optim::{Adam, Algorithm, Clip, Parts};
use crate::schedule::ScheduleSpec;

/// Every key with its meaning and default: what `segmenta train --explain` prints.
pub const EXPLAINED: &str = include_str!("explained.toml");

/// A run's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data and its splits.
    pub data: DataConfig,
    /// The network and the weights it begins with.
    pub model: ModelConfig,
    /// How pictures become the network's input.
    pub input: InputConfig,
    /// How training pictures are changed.
    #[serde(skip_serializing_if = "is_empty")]
    pub augment: Augmentation,
    /// The loss; cross entropy, or for one class binary cross entropy, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
    /// The optimiser and its learning rate.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleConfig>,
    /// How long, in what portions, by what score.
    pub train: TrainConfig,
}

fn is_empty(augmentation: &Augmentation) -> bool {
    augmentation.transforms().is_empty()
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The layout; recognised if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where pictures lie, for the layout `folder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
    /// Where masks lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_files: Option<String>,
    /// What the values of masks mean; found if not given. A run's own configuration says what was found. In a recipe
    /// a pattern (`masks/{}.png`) stands for `mask_files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masks: Option<MaskRule>,
    /// Names of the classes in the order of their ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Mask values that count as no class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<u8>,
    /// A folder of `train.txt`, `val.txt`, `test.txt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splits: Option<PathBuf>,
    /// What share learns where the data has no splits of its own.
    pub train_share: f64,
    /// Whether that share is drawn by `seed`, or the first by name.
    pub draw: Draw,
    /// What the share is drawn by.
    pub seed: u64,
    /// What is measured on after each epoch.
    pub validate_on: Split,
    /// Mebibytes of decoded pictures that may be kept for the next epoch.
    pub cache_mb: usize,
    /// Threads that prepare pictures.
    pub workers: usize,
}

/// Which pictures are the first share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Draw {
    /// Drawn by the seed.
    Random,
    /// The first in the order of their names.
    First,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            kind: None,
            images: None,
            mask_files: None,
            masks: None,
            classes: None,
            ignore: Vec::new(),
            splits: None,
            train_share: 0.8,
            draw: Draw::Random,
            seed: 42,
            validate_on: Split::Val,
            cache_mb: 1024,
            workers: 1,
        }
    }
}

impl DataConfig {
    /// How the data set is opened.
    pub fn open(&self) -> Open {
        Open {
            kind: self.kind,
            images: self.images.clone(),
            masks: self.mask_files.clone(),
            rule: self.masks.clone(),
            classes: self.classes.clone(),
            ignore: self.ignore.clone(),
            splits: self.splits.clone(),
            ..Open::default()
        }
    }

    /// Puts down which rule holds for the values of the masks, where the data set has any, so that a run that goes on
    /// learns from what it began with.
    pub fn settle(&mut self, dataset: &Dataset) {
        if dataset.has_mask_files() {
            self.masks = Some(dataset.meaning().rule.clone());
        }
    }

    pub(super) fn shares(&self) -> Result<Shares, RunError> {
        Ok(Shares::new(self.train_share, None, None)?)
    }
}

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The architecture, as `segmenta models` lists them; or, for whoever begins the run to look up, a repository of
    /// the hub or a folder like one, which say architecture, settings and weights ([`Self::hub`]).
    pub arch: String,
    /// The repository or the folder that `arch`, `settings` and the weights come from, where one was named as `arch`:
    /// what a run's own configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// The file of weights that was found there; not part of what a configuration says.
    #[serde(skip)]
    pub hub_file: Option<Found>,
    /// The encoder, as `segmenta models encoders` lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Channels of the logits: the data's classes if not given; 1 tells the last class from the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// A file that the whole network begins with; entries of other shapes begin fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// The key of the checkpoints that holds the network, where several do: `ema_state_dict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// How entries of these files find their place.
    #[serde(skip_serializing_if = "Matching::is_default")]
    pub names: Matching,
    /// What the encoder begins with: a file, or a word that whoever begins the run looks up ([`Self::encoder_file`]):
    /// the name of published weights, a repository of the hub. [`FRESH`] for nothing, as if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_weights: Option<String>,
    /// What `encoder_weights` was found to be, where it is no file; not part of what a configuration says.
    #[serde(skip)]
    pub encoder_file: Option<Found>,
    /// What the auxiliary head's loss counts; 0 leaves the head out.
    pub aux_weight: f64,
    /// The architecture's own settings by name, as `segmenta models show` lists them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, toml::Value>,
}

/// The word for an encoder that begins with fresh weights.
pub const FRESH: &str = "none";

/// A file of weights that was found by another name than its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Where it comes from, in words: `smp-hub/resnet34.imagenet`.
    pub source: String,
    /// The licence that the weights are under, where it is known.
    pub licence: Option<String>,
    /// The module that its entries are of, with a dot: `segformer.` of an encoder alone; nothing of a whole network.
    pub part: &'static str,
    /// The names of its classes by id, of a network that has some and no card.
    pub classes: Vec<String>,
}

impl Found {
    /// A file that a configuration names.
    fn named(path: &Path, part: &'static str) -> Self {
        Self {
            path: path.into(),
            source: path.display().to_string(),
            licence: None,
            part,
            classes: Vec::new(),
        }
    }
}

/// The module that an encoder is in a network that stands on one.
pub const ENCODER: &str = "encoder.";

impl ModelConfig {
    /// Sets a setting of the architecture, unless it is given.
    pub fn suggest(&mut self, name: String, value: String) {
        let value = || toml::Value::String(value);
        self.settings.entry(name).or_insert_with(value);
    }

    /// The file that the whole network begins with: one that is given, before what the hub has.
    pub(super) fn begins_with(&self) -> Option<Found> {
        let given = self.weights.as_ref();
        let given = given.map(|path| Found::named(path, ""));
        given.or_else(|| self.hub_file.clone())
    }

    /// The file that the encoder begins with; `None` if it begins fresh.
    pub(super) fn encoder_begins_with(&self) -> Option<Found> {
        let word = self.encoder_weights.as_deref()?;
        let file = || Found::named(word.as_ref(), ENCODER);
        (word != FRESH).then(|| self.encoder_file.clone().unwrap_or_else(file))
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            arch: "unet".into(),
            hub: None,
            hub_file: None,
            encoder: None,
            classes: None,
            weights: None,
            weights_key: None,
            names: Matching::ByName,
            encoder_weights: None,
            encoder_file: None,
            aux_weight: 0.0,
            settings: BTreeMap::new(),
        }
    }
}

/// `[input]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputConfig {
    /// Width and height that pictures are resized to before all else; as they are if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Subtracted from values in 0 to 1; ImageNet's if not given, unless the encoder's weights say another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// What divides the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
    /// Which channel is of which colour: red first if not given, unless the network that is trained on reads blue
    /// first. Mean and deviation follow the channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_order: Option<ChannelOrder>,
}

impl InputConfig {
    /// Mean and deviation: what is given, and ImageNet's otherwise.
    pub fn normalisation(&self) -> [[f32; 3]; 2] {
        [
            self.mean
                .unwrap_or(segmenta_image::Preprocess::IMAGENET_MEAN),
            self.std.unwrap_or(segmenta_image::Preprocess::IMAGENET_STD),
        ]
    }

    /// Which colour comes first, as pictures are prepared.
    pub(super) fn pixels(&self) -> Pixels {
        let order = match self.channel_order.unwrap_or_default() {
            ChannelOrder::Rgb => segmenta_image::ChannelOrder::Rgb,
            ChannelOrder::Bgr => segmenta_image::ChannelOrder::Bgr,
        };
        Pixels {
            order,
            ..Pixels::default()
        }
    }
}

/// `[optimizer]`: the settings of `torch.optim`'s namesake, and what holds for some parameters only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimizerConfig {
    /// The optimiser.
    #[serde(flatten)]
    pub algorithm: Algorithm,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Adam(Adam::default()),
        }
    }
}

/// `[schedule]`: one of `torch.optim.lr_scheduler`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleConfig {
    /// What its counts count.
    #[serde(default)]
    pub per: Per,
    /// The schedule.
    #[serde(flatten)]
    pub spec: ScheduleSpec,
}

/// What a schedule counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Steps of the optimiser.
    #[default]
    Step,
    /// Epochs.
    Epoch,
}

/// `[train]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// How often all training pictures are seen.
    pub epochs: u32,
    /// Pictures in a batch.
    pub batch: usize,
    /// Batches whose gradients make a step.
    pub accumulate: usize,
    /// What fresh weights, order, augmentation and dropout are drawn by.
    pub seed: u64,
    /// The score by which the best epoch is kept.
    pub score: ScoreName,
    /// What is counted together for Dice.
    #[serde(skip_serializing_if = "Reduction::is_default")]
    pub reduction: Reduction,
    /// Epochs without a better score after which the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<u32>,
    /// Limits of gradients.
    pub clip: Clip,
    /// Decay of the moving average of weights, which then is measured and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Parts of the network that are frozen or learn at another pace.
    #[serde(flatten)]
    pub parts: Parts,
    /// Whether what batch norms wrote is computed again, not kept: less memory, a little slower.
    pub checkpointing: bool,
    /// Whether a last batch with fewer pictures is left out.
    pub drop_last: bool,
    /// Validation pictures whose predictions are drawn after each epoch.
    pub previews: usize,
    /// Steps between checkpoints within an epoch; 0 for none but at its end.
    pub checkpoint_steps: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 8,
            accumulate: 1,
            seed: 0,
            score: ScoreName::Miou,
            reduction: Reduction::Pixels,
            early_stop: None,
            clip: Clip::default(),
            ema: None,
            parts: Parts::default(),
            checkpointing: false,
            drop_last: false,
            previews: 6,
            checkpoint_steps: 0,
        }
    }
}

/// What tells the best epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreName {
    /// Mean IoU of the classes.
    Miou,
    /// Mean Dice of the classes; for one class its own.
    Dice,
    /// Share of right pixels.
    PixelAccuracy,
    /// Mean recall of the classes.
    ClassAccuracy,
    /// IoU weighted by the classes' pixels.
    FrequencyWeightedIou,
}

impl ScoreName {
    /// All, in the order in which they are recorded.
    pub const ALL: [Self; 5] = [
        Self::Miou,
        Self::Dice,
        Self::PixelAccuracy,
        Self::ClassAccuracy,
        Self::FrequencyWeightedIou,
    ];

    /// As reports print it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Miou => "mIoU",
            Self::Dice => "Dice",
            Self::PixelAccuracy => "pixel accuracy",
            Self::ClassAccuracy => "class accuracy",
            Self::FrequencyWeightedIou => "fwIoU",
        }
    }
}

/// What is counted together before the mean, of Dice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// The pixels of all pictures.
    #[default]
    Pixels,
    /// Those of each batch: what tutorials do that add up what each batch of their loader gives.
    Batch,
    /// Those of each picture.
    Images,
}

impl Reduction {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands a reference over"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A key of two configurations, and what each says. `Display` reads `train.epochs: 1 and 2`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The key, with its section.
    pub key: String,
    /// The one's value, as TOML writes it.
    pub was: String,
    /// The other's.
    pub now: String,
}

impl Difference {
    /// What stands for the value of a key that is not there.
    pub const NOTHING: &'static str = "nothing";
}

impl Config {
    /// Reads a configuration; `settings` are `key.key=value` pairs that go before what it says.
    ///
    /// # Errors
    /// Text that is no TOML, a key that there is not (with the nearest that there is), a value that cannot be.
    pub fn parse(text: &str, settings: &[String], origin: &str) -> Result<Self, RunError> {
        let wrong = |problem: String| RunError::Config {
            origin: origin.into(),
            problem,
        };
        let mut table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| wrong(told::message(&e)))?;
        for setting in settings {
            set(&mut table, setting).map_err(|problem| RunError::Config {
                origin: format!("the setting {setting}"),
                problem,
            })?;
        }
        settings::check_all_hold(&table, settings)?;
        if let Some(toml::Value::Table(optimizer)) = table.get_mut("optimizer") {
            let adam = || toml::Value::String("adam".into());
            optimizer.entry("name").or_insert_with(adam);
        }
        ranges::check(&table)?;
        pattern_of_masks(&mut table).map_err(wrong)?;
        // Through text again, so that an error shows its line.
        let text = toml::to_string(&table).map_err(|e| wrong(e.to_string()))?;
        let config: Self =
            toml::from_str(&text).map_err(|error| told::wrong(&error, &text, origin))?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as a file, all defaults spelled out.
    ///
    /// # Errors
    /// None that a configuration which was read can give.
    pub fn to_toml(&self) -> Result<String, RunError> {
        toml::to_string_pretty(self).map_err(|e| RunError::Config {
            origin: "the resolved configuration".into(),
            problem: e.to_string(),
        })
    }

    /// What another configuration says otherwise, key by key in the order of the file.
    ///
    /// # Errors
    /// None that configurations which were read can give.
    pub fn differences(&self, other: &Self) -> Result<Vec<Difference>, RunError> {
        settings::differences(&self.to_toml()?, &other.to_toml()?)
    }

    fn check(&self) -> Result<(), RunError> {
        let wrong = |key: &str, problem: &str| {
            Err(RunError::Config {
                origin: key.into(),
                problem: problem.into(),
            })
        };
        if let Some([width, height]) = self.input.size
            && let Err(error) = segmenta_image::Size::for_network(width, height)
        {
            return wrong(
                "input.size",
                &format!("{}; {}", error.what(), error.remedy()),
            );
        }
        let [mean, std] = self.input.normalisation();
        if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
            return wrong("input.mean", &format!("{mean} is no number to subtract"));
        }
        // A model file refuses others, and a run would learn in vain.
        if let Some(std) = std.iter().find(|std| !std.is_normal() || **std < 0.0) {
            return wrong(
                "input.std",
                &format!("{std} divides nothing; give numbers above 0"),
            );
        }
        self.augment.check()?;
        self.optimizer.algorithm.check()?;
        self.train.clip.check()?;
        Ok(())
    }
}

/// A pattern in `data.masks` is where masks lie, as recipes wrote it before values had a rule.
fn pattern_of_masks(table: &mut toml::Table) -> Result<(), String> {
    let Some(toml::Value::Table(data)) = table.get_mut("data") else {
        return Ok(());
    };
    let is_pattern = |value: &toml::Value| value.as_str().is_some_and(|text| text.contains("{}"));
    let Some(pattern) = data.get("masks").filter(|value| is_pattern(value)).cloned() else {
        return Ok(());
    };
    data.remove("masks");
    match data.insert("mask_files".into(), pattern) {
        None => Ok(()),
        Some(_) => Err(
            "masks and mask_files both say where masks lie: masks is for what their values mean"
                .into(),
        ),
    }
}
