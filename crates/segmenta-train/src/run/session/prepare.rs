//! What a configuration means for data: the network, its loss, the pictures.

use std::collections::HashSet;

use segmenta_data::augment::{Augmentation, Transform};
use segmenta_data::check::count_classes;
use segmenta_data::{Dataset, Loader, LoaderOptions, Split};
use segmenta_files::count;
use segmenta_graph::{Filter, Graph, Output};
use segmenta_report::Classes;
use segmenta_zoo::{Answer, Options, Values, find, find_encoder};

use crate::engine::Parameters;
use crate::loss::{Balance, BceWithLogits, CrossEntropy, Loss, LossSpec, Mode};
use crate::run::begin::{Wanted, take};
use crate::run::config::{Config, Draw, ENCODER, Found};
use crate::run::finite::check_parameters;
use crate::run::heads::Heads;
use crate::run::origin::Origin;
use crate::run::{Note, RunError};

/// Whether a run can be what a configuration says, as far as is known before a folder is made.
///
/// # Errors
/// A network, loss, optimiser, schedule or augmentation that cannot be, weights that are not there.
pub fn verify(config: &Config, dataset: &Dataset) -> Result<(), RunError> {
    let classes = classes(config, dataset)?;
    let graph = graph(config, classes)?;
    let loss = config.loss.clone().unwrap_or_else(|| default_loss(classes));
    let mode = if classes == 1 {
        Mode::Binary
    } else {
        Mode::Multiclass
    };
    loss.check(mode, classes)?;
    let entries = graph.parameters().iter().filter(|p| p.is_trainable());
    config.train.parts.check(entries.map(|p| p.name.as_str()))?;
    if let Some(schedule) = &config.schedule {
        schedule.spec.check()?;
    }
    if config.model.encoder_begins_with().is_some() || config.model.begins_with().is_some() {
        let mut parameters = Parameters::initial(&graph, config.train.seed);
        taken(config, &names(classes, dataset), &graph, &mut parameters)?;
    }
    loaders(config, dataset)?;
    Ok(())
}

/// Finds class weights that a recipe gives by a rule, from the pixels of the pictures that are learned from; what there
/// is to tell. A class that is not among them weighs 1.
///
/// # Errors
/// Splits that cannot be.
pub fn weigh(config: &mut Config, dataset: &Dataset) -> Result<Vec<Note>, RunError> {
    let rules = config.loss.as_ref().map(LossSpec::rules);
    if rules.is_none_or(|rules| rules.is_empty()) {
        return Ok(Vec::new());
    }
    let classes = classes(config, dataset)?;
    let (training, _) = parts(config, dataset)?;
    let counts = count_classes(&training, &|| {});
    let mut notes = Vec::new();
    let find = |rule: Balance| {
        let found = match rule {
            Balance::Balanced => counts.balanced_weights(),
            Balance::MedianFrequency => counts.weights(),
        };
        let weight = |id: usize| found.get(id).copied().flatten().unwrap_or(1.0) as f32;
        let weights: Vec<f32> = (0..classes).map(weight).collect();
        let names = (0..classes).map(|id| dataset.classes().name(id));
        notes.push(Note::Weighed {
            rule: rule.name(),
            weights: names.zip(weights.iter().copied()).collect(),
        });
        weights
    };
    if let Some(loss) = &mut config.loss {
        loss.find_weights(find);
    }
    Ok(notes)
}

/// The names of the ids that a run's label maps hold.
pub(super) fn names(classes: usize, dataset: &Dataset) -> Classes {
    let of_data = dataset.classes();
    if classes == 1 {
        // One channel tells the last of the data's classes from the rest.
        let rest = match of_data.len() {
            2 => of_data.name(0),
            _ => "background".into(),
        };
        let last = of_data.name(of_data.len() - 1);
        Classes::new([rest, last], of_data.palette().clone())
    } else {
        let all = 0..classes.max(of_data.len());
        Classes::new(all.map(|id| of_data.name(id)), of_data.palette().clone())
    }
}

/// Fills parameters from the files that a configuration names, which must hold numbers; what came of each, and whose
/// they are. Rows that belong to classes go by the classes' names.
pub(super) fn taken(
    config: &Config,
    names: &Classes,
    graph: &Graph,
    parameters: &mut Parameters,
) -> Result<(Vec<Note>, Vec<Origin>), RunError> {
    // SMP's networks have an encoder, torchvision's a backbone.
    let parts = [ENCODER, "backbone."];
    let has = |part: &&&str| {
        graph
            .parameters()
            .iter()
            .any(|p| p.name.starts_with(**part))
    };
    let encoder = parts.iter().find(has).copied();
    let files = [
        config.model.encoder_begins_with().map(|found| Found {
            part: encoder.unwrap_or(ENCODER),
            ..found
        }),
        config.model.begins_with(),
    ];
    let (mut notes, mut origins) = (Vec::new(), Vec::new());
    for found in files.into_iter().flatten() {
        let file = &found.path;
        let wanted = Wanted {
            architecture: find(&config.model.arch)?,
            part: found.part,
            key: config.model.weights_key.as_deref(),
            matching: config.model.names,
        };
        let classes = graph.node(graph.outputs()[0].node).channels;
        let heads = Heads::of(config, classes, graph)?;
        let fresh = heads.values(parameters)?;
        let mut taken = match (take(parameters, graph, file, &wanted), encoder) {
            // A backbone's own file, given as the whole network's.
            (Err(RunError::Checkpoint { .. }), Some(part)) if wanted.part.is_empty() => take(
                parameters,
                graph,
                file,
                &Wanted {
                    part,
                    ..wanted.clone()
                },
            )?,
            (taken, _) => taken?,
        };
        // An encoder's file has no rows for classes.
        if found.part.is_empty() {
            taken.classes = heads.by_name(parameters, &fresh, &found, names.names())?;
        }
        check_parameters(
            parameters,
            &file.display().to_string(),
            "take weights that were saved before they became so",
        )?;
        origins.push(Origin::of(&found)?);
        let file = file.clone();
        notes.push(Note::Taken { file, taken });
    }
    Ok((notes, origins))
}

/// Settings that were given, for they are not the defaults, and change nothing for this data set.
pub(super) fn idle(config: &Config, dataset: &Dataset) -> Vec<Note> {
    let (data, default) = (&config.data, crate::run::DataConfig::default());
    let parts = Parts::of(config, dataset);
    let mut notes: Vec<Note> = parts.note().into_iter().collect();
    let mut idle = |given: bool, key: &'static str, why: String| {
        if given {
            notes.push(Note::NoEffect { key, why });
        }
    };
    if parts.are_drawn() {
        let first = data.draw == Draw::First && data.seed != default.seed;
        idle(
            first,
            "data.seed",
            "data.draw = \"first\" draws nothing".into(),
        );
    } else {
        let why = || "the data set has its own splits".to_string();
        idle(
            data.train_share != default.train_share,
            "data.train_share",
            why(),
        );
        idle(data.seed != default.seed, "data.seed", why());
        idle(data.draw != default.draw, "data.draw", why());
    }
    let encoder = config.model.encoder_begins_with();
    if let (Some(weights), Some(_)) = (&config.model.weights, encoder) {
        let why = format!(
            "model.weights ({}) gives the encoder, too",
            weights.display()
        );
        idle(true, "model.encoder_weights", why);
    }
    notes
}

/// Channels of the logits.
pub(super) fn classes(config: &Config, dataset: &Dataset) -> Result<usize, RunError> {
    let of_data = dataset.classes().len();
    if of_data == 0 {
        return Err(RunError::Config {
            origin: "data".into(),
            problem: "no mask has a pixel of any class".into(),
        });
    }
    let classes = config.model.classes.unwrap_or(of_data);
    if classes != 1 && classes < of_data {
        return Err(RunError::Config {
            origin: "model.classes".into(),
            problem: format!("{} for data of {of_data}", count(classes, "class")),
        });
    }
    // Masks of nothing but 0: their one class would be taken for the one to be found.
    if of_data == 1 && !dataset.classes().are_named() {
        return Err(RunError::Config {
            origin: "data".into(),
            problem: "no mask has any class but 0, so there is nothing to tell apart".into(),
        });
    }
    Ok(classes)
}

/// The network, whose results are what losses take: logits for each pixel of a picture.
pub(in crate::run) fn graph(config: &Config, classes: usize) -> Result<Graph, RunError> {
    let graph = find(&config.model.arch)?.build(&options(config, classes)?)?;
    let refuse = |problem: &str| {
        Err(RunError::Config {
            origin: "model.settings".into(),
            problem: problem.into(),
        })
    };
    match Answer::of_main(&graph) {
        Answer::PerPixel(answer) if answer.values == Values::Scores => refuse(
            "losses are of logits, and this network of queries gives scores of classes; there is no loss of queries with \
             masks · choose another model.arch",
        ),
        Answer::PerPixel(answer) if answer.values != Values::Logits => refuse(
            "losses are of logits, and this network ends in an activation · leave `activation` out: masks and \
             probabilities come out the same",
        ),
        // As transformers does it in its losses, and as masks are made of such a map.
        Answer::PerPixel(_) => {
            Ok(graph.with_results_like_input(Filter::BILINEAR, is_of_other_size))
        }
        _ => refuse("losses are of maps, and this network gives none · choose another model.arch"),
    }
}

/// Whether a result is a map of another size than the input.
fn is_of_other_size(graph: &Graph, result: &Output) -> bool {
    let answer = Answer::of(graph, &result.name);
    let stride = answer
        .ok()
        .and_then(|answer| Some(answer.per_pixel()?.stride));
    stride.is_some_and(|stride| stride != [1.0; 2])
}

/// What the network is built with.
pub(super) fn options(config: &Config, classes: usize) -> Result<Options, RunError> {
    let encoder = config.model.encoder.as_deref().map(find_encoder);
    let mut options = Options {
        aux: config.model.aux_weight > 0.0,
        encoder: encoder.transpose()?,
        ..Options::new(classes)
    };
    for (name, value) in &config.model.settings {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        options
            .set(name, &text)
            .map_err(|problem| RunError::Config {
                origin: "model.settings".into(),
                problem,
            })?;
    }
    Ok(options)
}

/// Cross entropy, or for one class binary cross entropy.
pub(super) fn default_loss(classes: usize) -> LossSpec {
    if classes == 1 {
        Loss::BceWithLogits(BceWithLogits::default()).into()
    } else {
        Loss::CrossEntropy(CrossEntropy::default()).into()
    }
}

/// Which pictures are learned from, and which are measured on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Parts {
    /// Those of the split `train`, and of another.
    Splits { measured: Split },
    /// The data set says what is measured on and not what is learned from: those that are in no split.
    Rest { measured: Split },
    /// A share each, drawn from one split or from all pictures.
    Drawn { from: Option<Split> },
}

impl Parts {
    /// A split that is to be measured on is never learned from, unless there is nothing else.
    fn of(config: &Config, dataset: &Dataset) -> Self {
        let candidates = [config.data.validate_on, Split::Test];
        let measured = candidates.into_iter().find(|&split| dataset.has(split));
        let has_rest = || dataset.items().iter().any(|item| item.split().is_none());
        match (dataset.has(Split::Train), measured) {
            (true, Some(measured)) => Self::Splits { measured },
            (true, None) => Self::Drawn {
                from: Some(Split::Train),
            },
            (false, Some(measured)) if has_rest() => Self::Rest { measured },
            (false, measured) => Self::Drawn { from: measured },
        }
    }

    fn are_drawn(self) -> bool {
        matches!(self, Self::Drawn { .. })
    }

    /// What is worth knowing where the data set says a part of it.
    fn note(self) -> Option<Note> {
        match self {
            Self::Splits { .. } | Self::Drawn { from: None } => None,
            Self::Rest { measured } => Some(Note::Rest { measured }),
            Self::Drawn { from: Some(from) } => Some(Note::Drawn { from }),
        }
    }
}

/// A share to learn from, and the others.
fn drawn(config: &Config, all: &Dataset) -> Result<(Dataset, Dataset), RunError> {
    match config.data.draw {
        Draw::Random => {
            let dealt = all.split(config.data.shares()?, config.data.seed);
            Ok((dealt.only(Split::Train), dealt.only(Split::Val)))
        }
        Draw::First => {
            let count = (config.data.train_share * all.len() as f64).round() as usize;
            let first: HashSet<String> = all
                .items()
                .iter()
                .take(count)
                .map(|item| item.name().to_string())
                .collect();
            let first = |name: &str| first.contains(name);
            Ok((
                all.filtered(|item| first(item.name())),
                all.filtered(|item| !first(item.name())),
            ))
        }
    }
}

/// What is learned from, and what is measured on.
fn parts(config: &Config, dataset: &Dataset) -> Result<(Dataset, Dataset), RunError> {
    match Parts::of(config, dataset) {
        Parts::Splits { measured } => Ok((dataset.only(Split::Train), dataset.only(measured))),
        Parts::Rest { measured } => Ok((
            dataset.filtered(|item| item.split().is_none()),
            dataset.only(measured),
        )),
        Parts::Drawn { from } => {
            let all = from.map_or_else(|| dataset.clone(), |split| dataset.only(split));
            drawn(config, &all)
        }
    }
}

/// The splits, what they are read by, and what a validation picture goes through.
pub(super) fn loaders(
    config: &Config,
    dataset: &Dataset,
) -> Result<(Loader, Loader, Augmentation), RunError> {
    let wanted = config.data.validate_on;
    let asked_for = wanted != crate::run::DataConfig::default().validate_on;
    if asked_for && !dataset.has(wanted) {
        return Err(RunError::Config {
            origin: "data.validate_on".into(),
            problem: format!(
                "the data set has no split `{wanted}`; leave the key out to hold a share back"
            ),
        });
    }
    let (train, validation) = parts(config, dataset)?;
    let resize = config.input.size.map(|[width, height]| {
        let table = format!("name = \"resize\"\nsize = \"{width}x{height}\"");
        toml::from_str::<Transform>(&table)
    });
    let resize = resize.transpose().map_err(|e| RunError::Config {
        origin: "input.size".into(),
        problem: e.message().to_string(),
    })?;
    let whole = Augmentation::new(resize.iter().cloned().collect())?;
    let changed = resize
        .into_iter()
        .chain(config.augment.transforms().iter().cloned());
    let changed = Augmentation::new(changed.collect())?;
    let [mean, std] = config.input.normalisation();
    let options = LoaderOptions {
        batch: config.train.batch,
        shuffle: true,
        seed: config.train.seed,
        drop_last: config.train.drop_last,
        workers: config.data.workers,
        cache_bytes: config.data.cache_mb << 20,
        mean,
        std,
        pixels: config.input.pixels(),
        ..LoaderOptions::default()
    };
    // Pictures of many sizes cannot lie in one batch.
    let together = if whole.size().is_some() {
        config.train.batch
    } else {
        1
    };
    let measured = LoaderOptions {
        batch: together,
        shuffle: false,
        drop_last: false,
        cache_bytes: options.cache_bytes / 2,
        ..options.clone()
    };
    let validation = Loader::new(validation, whole.clone(), measured)?;
    Ok((Loader::new(train, changed, options)?, validation, whole))
}
