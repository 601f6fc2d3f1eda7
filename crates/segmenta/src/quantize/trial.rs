//! A way to bring a model into 8 bits, and how it is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use segmenta_files::count as counted;
use segmenta_graph::{Node, Shape};
use segmenta_image::{LabelMap, Picture, VOID};
use segmenta_metrics::Confusion;
use segmenta_quantize::{
    Observations, Observed, Parameters, RangeBy, correct_biases, round_weights,
};
use segmenta_runtime::{Int8, Int8Layer, value_names};

use super::report::{LayerRecord, TrialRecord};
use super::work::Work;
use super::{CalibrationData, QuantizeError, QuantizeEvent, QuantizeOptions};
use crate::error::Error;
use crate::evaluate::{EvaluateError, EvaluateEvent, EvaluateOptions};
use crate::model::Model;

/// Pictures on which layers are compared with what f32 gives.
const COMPARED_ON: usize = 8;

/// A way to bring a model into 8 bits.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) by: RangeBy,
    pub(super) int8: Int8,
    /// What its parameters were made of.
    base: Parameters,
    /// With weights rounded and biases corrected.
    pub(super) parameters: Parameters,
    /// Rounded weights by the place of their parameter.
    pub(super) rounded: BTreeMap<usize, (Vec<i8>, Vec<f32>)>,
    /// The largest correction of a layer's bias.
    corrected: BTreeMap<Node, f32>,
    layers: Vec<Int8Layer>,
    pub(super) score: f64,
    pub(super) agreement: f64,
    f32: f64,
}

impl Trial {
    /// Ranges by a rule, and weights rounded in all layers but those of `full`.
    pub(super) fn of(
        work: &Work,
        seen: &Observations,
        by: RangeBy,
        full: BTreeSet<String>,
    ) -> Result<Self, QuantizeError> {
        let mut ranges = seen.ranges(by);
        ranges.extend(work.input_range());
        let mut trial = Self {
            by,
            int8: Int8 { ranges, full },
            base: work.parameters().clone(),
            parameters: work.parameters().clone(),
            rounded: BTreeMap::new(),
            corrected: BTreeMap::new(),
            layers: Vec::new(),
            score: 0.0,
            agreement: 0.0,
            f32: 0.0,
        };
        // Which layers there are, the engine says.
        let engine = work.engine(&trial.parameters, &work.in_int8(&trial, true))?;
        trial.layers = engine.int8_layers();
        let graph = work.graph();
        for layer in trial.layers.iter().filter(|layer| !layer.merged) {
            let weights = graph.node(layer.layer).parameters[0];
            let before = trial.parameters.get(weights).to_vec();
            let rounded = round_weights(graph, &mut trial.parameters, layer.layer);
            trial.rounded.insert(weights.index(), rounded);
            let largest = correct_biases(graph, &mut trial.parameters, seen, layer.layer, &before);
            trial.corrected.insert(layer.layer, largest);
        }
        Ok(trial)
    }

    /// The parameters before they were rounded.
    pub(super) fn base(&self) -> &Parameters {
        &self.base
    }

    /// Points of the score that were lost.
    pub(super) fn drop(&self) -> f64 {
        (self.f32 - self.score) * 100.0
    }

    /// Whether it is to be preferred: because it alone is within the bound, or else because it is nearer to what f32
    /// says. The score itself may rise by chance where pictures are few.
    pub(super) fn is_better(&self, other: &Self, max_drop: f64) -> bool {
        let within = |trial: &Self| trial.drop() <= max_drop;
        (within(self), self.agreement) > (within(other), other.agreement)
    }

    pub(super) fn record(&self, what: &str) -> TrialRecord {
        TrialRecord {
            what: what.into(),
            score: self.score,
            drop: self.drop(),
            agreement: self.agreement,
        }
    }
}

/// The pictures, and the callback that hears of them.
pub(super) struct Bench<'a> {
    data: CalibrationData<'a>,
    paths: Vec<&'a std::path::Path>,
    evaluate: &'a EvaluateOptions,
    observe: &'a mut dyn FnMut(QuantizeEvent<'_>) -> ControlFlow<()>,
    /// What f32 says of the pictures of the calibration.
    labels: Vec<LabelMap>,
    f32: f64,
}

impl<'a> Bench<'a> {
    /// Measures f32.
    pub(super) fn new(
        work: &Work,
        data: CalibrationData<'a>,
        how: &'a QuantizeOptions,
        observe: &'a mut dyn FnMut(QuantizeEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Self, QuantizeError> {
        let paths = match data {
            CalibrationData::Pictures(inputs) => inputs.paths().collect(),
            CalibrationData::Masks { .. } => Vec::new(),
        };
        let mut bench = Self {
            data,
            paths,
            evaluate: &how.evaluate,
            observe,
            labels: Vec::new(),
            f32: 1.0,
        };
        if bench.len() == 0 {
            return Err(QuantizeError::Empty(match data {
                CalibrationData::Masks { calibrate, .. } => calibrate.root().display().to_string(),
                CalibrationData::Pictures(_) => "no file given".into(),
            }));
        }
        let model = work.f32_model()?;
        let mut labels = Vec::new();
        bench.each(how.pictures, "f32", &mut |picture| {
            let found = model.segment_with(picture, &how.evaluate.segment)?;
            labels.push(found.labels().clone());
            Ok(())
        })?;
        bench.labels = labels;
        if let Some(score) = bench.score(&model, "f32")? {
            bench.f32 = score;
        }
        Ok(bench)
    }

    /// What the score is.
    pub(super) fn score_name(&self) -> &'static str {
        match self.data {
            CalibrationData::Masks { .. } => "mIoU",
            CalibrationData::Pictures(_) => "mIoU with the labels of f32",
        }
    }

    pub(super) fn f32_score(&self) -> f64 {
        self.f32
    }

    fn len(&self) -> usize {
        match self.data {
            CalibrationData::Masks { calibrate, .. } => calibrate.len(),
            CalibrationData::Pictures(_) => self.paths.len(),
        }
    }

    /// How many pictures a pass of at most so many has.
    pub(super) fn pictures(&self, most: usize) -> usize {
        self.len().min(most)
    }

    /// At most so many pictures of the calibration, spread over all.
    pub(super) fn each(
        &mut self,
        most: usize,
        what: &str,
        work: &mut dyn FnMut(&Picture) -> Result<(), Error>,
    ) -> Result<(), QuantizeError> {
        let (len, total) = (self.len(), self.pictures(most));
        for done in 0..total {
            let at = done * len / total;
            let picture = match self.data {
                CalibrationData::Masks { calibrate, .. } => calibrate.picture(at)?,
                CalibrationData::Pictures(_) => {
                    let path = self.paths[at];
                    Picture::open(path).map_err(Error::from)?
                }
            };
            work(&picture)?;
            let done = done + 1;
            self.tell(QuantizeEvent::Picture { what, done, total })?;
        }
        Ok(())
    }

    fn tell(&mut self, event: QuantizeEvent<'_>) -> Result<(), QuantizeError> {
        match (self.observe)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(QuantizeError::Stopped),
        }
    }

    /// mIoU with the masks, where there are any.
    fn score(&mut self, model: &Model, what: &str) -> Result<Option<f64>, QuantizeError> {
        let CalibrationData::Masks { measure, .. } = self.data else {
            return Ok(None);
        };
        let observe = &mut *self.observe;
        let measured = model.evaluate(measure, self.evaluate, &mut |event| match event {
            EvaluateEvent::Picture { done, total, .. } => {
                observe(QuantizeEvent::Picture { what, done, total })
            }
            EvaluateEvent::Compared { .. } => ControlFlow::Continue(()),
        });
        let measured = measured.map_err(|error| match error {
            EvaluateError::Stopped { .. } => QuantizeError::Stopped,
            other => other.into(),
        })?;
        let score = measured.confusion.mean_iou().value;
        let none = || QuantizeError::NoScore(measure.root().display().to_string());
        Ok(Some(score.ok_or_else(none)?))
    }

    /// Measures a trial.
    pub(super) fn measure(
        &mut self,
        work: &Work,
        mut trial: Trial,
        what: &str,
    ) -> Result<Trial, QuantizeError> {
        if trial.layers.is_empty() && trial.int8.full.is_empty() {
            return Err(QuantizeError::NoLayers(work.source().into()));
        }
        let model = work.int8_model(&trial, true)?;
        let labels = std::mem::take(&mut self.labels);
        let ids = model.description().class_names().len();
        let uncounted = |error| EvaluateError::Metric {
            picture: work.source().into(),
            error,
        };
        let mut confusion = Confusion::new(ids, Some(u32::from(VOID))).map_err(uncounted)?;
        let segment = self.evaluate.segment.clone();
        let (mut at, mut broken) = (0, None);
        let each = self.each(labels.len(), what, &mut |picture| {
            let found = model.segment_with(picture, &segment)?;
            let counted = confusion.add(labels[at].ids(), found.labels().ids());
            // A file that is another picture by now has labels of another size.
            broken = broken.take().or(counted.err());
            at += 1;
            Ok(())
        });
        self.labels = labels;
        each?;
        if let Some(error) = broken {
            return Err(uncounted(error).into());
        }
        trial.agreement = confusion.pixel_accuracy().value.unwrap_or(1.0);
        trial.f32 = self.f32;
        trial.score = match self.score(&model, what)? {
            Some(score) => score,
            None => confusion.mean_iou().value.unwrap_or(1.0),
        };
        let record = trial.record(what);
        self.tell(QuantizeEvent::Tried(&record))?;
        Ok(trial)
    }

    /// The best way to choose ranges, with as many layers kept out of 8 bits as the bound asks for.
    pub(super) fn best(
        &mut self,
        work: &Work,
        seen: &Observations,
        how: &QuantizeOptions,
        trials: &mut Vec<TrialRecord>,
    ) -> Result<Trial, QuantizeError> {
        let ways = match how.range {
            Some(by) => (by, &[][..]),
            None => (
                RangeBy::Extremes,
                &[RangeBy::Percentile(99.99), RangeBy::LeastError][..],
            ),
        };
        let mut way = |by: RangeBy| -> Result<Trial, QuantizeError> {
            let trial = Trial::of(work, seen, by, BTreeSet::new())?;
            let trial = self.measure(work, trial, &by.to_string())?;
            trials.push(trial.record(&by.to_string()));
            Ok(trial)
        };
        let (first, others) = ways;
        let mut best = way(first)?;
        for &by in others {
            let trial = way(by)?;
            if trial.is_better(&best, how.max_drop) {
                best = trial;
            }
        }
        if best.drop() > how.max_drop {
            return self.keep_within(work, seen, &best, how.max_drop, trials);
        }
        Ok(best)
    }

    /// Takes layers out of 8 bits, those first that add most noise, until no more points are lost than may be: so many
    /// as are needed, found by doubling and halving.
    fn keep_within(
        &mut self,
        work: &Work,
        seen: &Observations,
        all: &Trial,
        max_drop: f64,
        trials: &mut Vec<TrialRecord>,
    ) -> Result<Trial, QuantizeError> {
        let noise = self.noise(work, all)?;
        let mut order: Vec<(f64, String)> = all
            .layers
            .iter()
            .map(|layer| {
                let of = |node: Node| noise.get(&node).map_or(0.0, Noise::share);
                let name = work.graph().node(layer.layer).name.clone();
                (of(layer.output) - of(layer.input), name)
            })
            .collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut attempt = |count: usize| -> Result<Trial, QuantizeError> {
            let full = order[..count].iter().map(|(_, name)| name.clone());
            let trial = Trial::of(work, seen, all.by, full.collect())?;
            let what = format!("{} kept out", counted(count, "layer"));
            let trial = self.measure(work, trial, &what)?;
            trials.push(trial.record(&what));
            Ok(trial)
        };
        let (mut too_few, mut count) = (0, 1);
        let mut kept = loop {
            let trial = attempt(count)?;
            if trial.drop() <= max_drop || count == order.len() {
                break trial;
            }
            too_few = count;
            count = (count * 2).min(order.len());
        };
        while count - too_few > 1 {
            let middle = usize::midpoint(too_few, count);
            let trial = attempt(middle)?;
            if trial.drop() <= max_drop {
                (count, kept) = (middle, trial);
            } else {
                too_few = middle;
            }
        }
        Ok(kept)
    }

    /// How far each value of int8 is from that of f32.
    fn noise(
        &mut self,
        work: &Work,
        trial: &Trial,
    ) -> Result<BTreeMap<Node, Noise>, QuantizeError> {
        let plain = work.engine(work.parameters(), &work.watching())?;
        let model = work.int8_model(trial, true)?;
        let mut noise: BTreeMap<Node, Noise> = BTreeMap::new();
        self.each(COMPARED_ON, "layers", &mut |picture| {
            let prepare = || model.prepare(picture, &crate::SegmentOptions::default());
            let mut of_f32: BTreeMap<Node, Vec<f32>> = BTreeMap::new();
            crate::segment::watch(&plain, prepare(), |node, _: Shape, values| {
                of_f32.insert(node, sampled(values).collect());
            })?;
            model.watch(prepare(), |node, _, values| {
                // A value that is converted is seen twice, and is the same.
                if let Some(plain) = of_f32.remove(&node) {
                    noise.entry(node).or_default().add(&plain, sampled(values));
                }
            })
        })?;
        Ok(noise)
    }

    /// What became of each layer.
    pub(super) fn layers(
        &mut self,
        work: &Work,
        seen: &Observations,
        trial: &Trial,
    ) -> Result<Vec<LayerRecord>, QuantizeError> {
        let noise = self.noise(work, trial)?;
        let names = value_names(work.graph());
        // Those that were kept out are found where none is.
        let mut none_out = trial.clone();
        none_out.int8.full.clear();
        let engine = work.engine(&trial.parameters, &work.in_int8(&none_out, true))?;
        let layers = engine.int8_layers().into_iter().map(|layer| {
            let name = work.graph().node(layer.layer).name.clone();
            let observed = seen.of(layer.output);
            let [mean, variance] = observed.map_or([0.0; 2], Observed::moments);
            let range = trial.int8.ranges.get(&names[layer.output.index()]);
            LayerRecord {
                computed: if trial.int8.full.contains(&name) {
                    "full"
                } else {
                    "int8"
                },
                range: range.copied().unwrap_or_default(),
                seen: observed.map_or([0.0; 2], Observed::extremes),
                mean,
                variance,
                signal_to_noise: noise.get(&layer.output).and_then(Noise::decibels),
                bias_correction: trial.corrected.get(&layer.layer).copied().unwrap_or(0.0),
                name,
            }
        });
        Ok(layers.collect())
    }
}

/// Some of a map's numbers, spread over it: those of all maps of a large picture are many times its memory.
fn sampled(values: &[f32]) -> impl Iterator<Item = f32> + '_ {
    const MOST: usize = 1 << 16;
    // An odd step walks over all columns of maps whose sides are even.
    values.iter().step_by((values.len() / MOST) | 1).copied()
}

/// Squares of a value and of how far it is off.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    fn add(&mut self, plain: &[f32], values: impl Iterator<Item = f32>) {
        for (&plain, value) in plain.iter().zip(values) {
            let off = f64::from(value) - f64::from(plain);
            self.signal += f64::from(plain) * f64::from(plain);
            self.noise += off * off;
        }
    }

    fn share(&self) -> f64 {
        if self.signal > 0.0 {
            self.noise / self.signal
        } else {
            0.0
        }
    }

    fn decibels(&self) -> Option<f64> {
        (self.noise > 0.0).then(|| 10.0 * (self.signal / self.noise).log10())
    }
}
