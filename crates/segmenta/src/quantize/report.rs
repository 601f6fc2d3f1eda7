//! What came of bringing a model into 8 bits.

use serde::Serialize;

/// What was tried, what the model reached, and what became of each layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QuantizeReport {
    /// What the score is: mIoU with the masks, or with the labels of f32.
    pub score: &'static str,
    /// The score of f32, 0 to 1.
    pub f32: f64,
    /// The score of int8, 0 to 1.
    pub int8: f64,
    /// Points of the score that int8 lost.
    pub drop: f64,
    /// The share of pixels that have the label that f32 gives them, 0 to 1, on the pictures of the calibration.
    pub agreement: f64,
    /// Points that might be lost.
    pub max_drop: f64,
    /// Pictures that ranges were found on.
    pub pictures: usize,
    /// How ranges were chosen.
    pub ranges: String,
    /// Pairs of layers whose channels were evened out.
    pub equalised: usize,
    /// Pairs whose non-linearity forbids it.
    pub not_equalised: usize,
    /// What was measured, in order.
    pub trials: Vec<TrialRecord>,
    /// The layers that were to be in 8 bits, in the order that they are run in.
    pub layers: Vec<LayerRecord>,
}

/// A way that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrialRecord {
    /// What it was: the rule for ranges, or how many layers stayed out of 8 bits.
    pub what: String,
    /// Its score, 0 to 1.
    pub score: f64,
    /// Points that it lost.
    pub drop: f64,
    /// The share of pixels with the label of f32.
    pub agreement: f64,
}

/// A layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LayerRecord {
    /// Its name.
    pub name: String,
    /// In what it is computed: `int8`, or `full` for f32.
    pub computed: &'static str,
    /// The range that its output is stored in.
    pub range: [f32; 2],
    /// The smallest and the largest number that was seen of it.
    pub seen: [f32; 2],
    /// The mean of what was seen.
    pub mean: f64,
    /// The variance of what was seen.
    pub variance: f64,
    /// Its output's signal to noise, in decibels: what f32 gives over how far int8 is from it, with all layers before
    /// in 8 bits. Higher is better; `None` where nothing was lost.
    pub signal_to_noise: Option<f64>,
    /// The largest correction of its bias.
    pub bias_correction: f32,
}
