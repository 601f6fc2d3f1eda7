//! From the names of a file's tensors to the network that they are of.
//!
//! Two questions, asked in this order. *Which network?* The file's card or the caller says it; otherwise each
//! architecture is tried behind the prefixes where its own names lie, with the options that the entries there
//! say, and the one that finds all of its entries and leaves the fewest over is it. *Where is it?* That is
//! [`StateDict::find`]. Names of another library come in as another kind of [`Expected::former`] names.

use std::fmt;

use segmenta_graph::{Graph, Role};
use segmenta_weights::{
    Cause, Expected, FindError, Found, Mismatch, ModelCard, Place, Search, StateDict, Taken,
};
use segmenta_zoo::{
    Architecture, PublishedWeights, architectures, encoder_of, families, find, find_encoder,
};

use crate::describe::Description;
use crate::error::{Error, ModelError};
use crate::model::ModelOptions;

/// Prefixes that are tried for one architecture.
const PLACES: usize = 6;

/// A network with the weights that a file has for it.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) description: Description,
    pub(crate) graph: Graph,
    pub(crate) found: Found,
}

/// A network that the names of a file are of.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recognised {
    /// Its architecture.
    pub architecture: &'static str,
    /// Its encoder, for architectures that take one.
    pub encoder: Option<&'static str>,
    /// Its number of classes.
    pub classes: usize,
    /// Where its entries are, and what is beside them.
    pub taken: Taken,
}

impl Recognised {
    /// The network in a file: as its card says, or as its names are.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] and [`Error::Ambiguous`], a card that cannot be read, a key that is not there.
    pub fn of(weights: &StateDict, key: Option<&str>) -> Result<Self, Error> {
        let options = ModelOptions {
            weights_key: key.map(Into::into),
            ..ModelOptions::default()
        };
        let source = weights
            .path()
            .map_or("<memory>".into(), |p| p.display().to_string());
        let card = ModelCard::from_metadata(weights.metadata())?;
        let resolved = resolve(weights, card, None, &source, &options)?;
        let options = resolved.description.options;
        Ok(Self {
            architecture: resolved.description.architecture,
            encoder: options.encoder.map(|encoder| encoder.name),
            classes: options.classes,
            taken: resolved.found.taken,
        })
    }
}

/// The network whose names come nearest to a file's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Nearest {
    /// Its architecture.
    pub architecture: &'static str,
    /// Its encoder, for architectures that take one.
    pub encoder: Option<&'static str>,
    /// By what the file differs from it.
    pub mismatch: Mismatch,
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(self.architecture, self.encoder))
    }
}

fn named(architecture: &str, encoder: Option<&str>) -> String {
    match encoder {
        Some(encoder) => format!("`{architecture}` on `{encoder}`"),
        None => format!("`{architecture}`"),
    }
}

/// Finds the network of a file, with what its card says, or what stands for one.
pub(crate) fn resolve(
    weights: &StateDict,
    card: Option<ModelCard>,
    row: Option<&PublishedWeights>,
    source: &str,
    options: &ModelOptions,
) -> Result<Resolved, Error> {
    let search = search(options);
    weights.check_key(&search)?;
    let halved;
    let mut weights = weights;
    if let Some(card) = &card {
        let architecture = find(&card.architecture)?;
        halved = weights.with_halves(|name| architecture.halves(name))?;
        weights = &halved;
    }
    let asked = Asked {
        weights,
        card,
        row,
        source,
        options,
        search,
    };
    match asked.architecture()? {
        Some(architecture) if options.names == Names::ByOrder => asked.in_order(architecture),
        Some(architecture) => asked.of(architecture),
        None if options.names == Names::ByOrder => Err(Error::Unspecified(format!(
            "matched by order, the names do not say which network it is · {source} · name the network"
        ))),
        None => asked.recognised(),
    }
}

/// How entries of a file are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Names {
    /// By their names.
    #[default]
    ByName,
    /// By their order and shapes: for networks of one's own that have the same layers under other names.
    ByOrder,
}

pub(crate) fn search(options: &ModelOptions) -> Search {
    let by_order = options.names == Names::ByOrder;
    Search::new()
        .key(options.weights_key.clone())
        .by_order(by_order)
}

/// What is asked for, of which file.
struct Asked<'a> {
    weights: &'a StateDict,
    card: Option<ModelCard>,
    row: Option<&'a PublishedWeights>,
    source: &'a str,
    options: &'a ModelOptions,
    search: Search,
}

/// An architecture tried behind a prefix.
struct Attempt {
    architecture: &'static Architecture,
    description: Description,
    graph: Graph,
    expected: Vec<Expected>,
    fitting: usize,
    required: usize,
    /// Entries behind the prefix that it has no place for.
    left: usize,
}

impl Asked<'_> {
    /// The architecture that the user or the file names; they may not contradict each other.
    fn architecture(&self) -> Result<Option<&'static Architecture>, Error> {
        match (&self.card, &self.options.architecture) {
            (Some(card), Some(name)) if card.architecture != *name => {
                Err(Error::Model(ModelError::OtherArchitecture {
                    file: self.source.into(),
                    found: card.architecture.clone(),
                    named: name.clone(),
                }))
            }
            (Some(card), _) => Ok(Some(find(&card.architecture)?)),
            (None, Some(name)) => Ok(Some(find(name)?)),
            (None, None) => Ok(None),
        }
    }

    /// A network whose architecture is known.
    fn of(&self, architecture: &'static Architecture) -> Result<Resolved, Error> {
        let attempt = match self.best(&[architecture], self.options)? {
            Some(attempt) => attempt,
            // None of its names is there: built as by default, for the comparison.
            None => {
                let none = StateDict::from_tensors([]);
                self.attempt(architecture, &none, self.options)?
            }
        };
        let found = self.weights.find(&attempt.expected, &self.search);
        match found {
            Err(FindError::Mismatch(mismatch)) => Err(self.instead(&attempt, mismatch)),
            found => Ok(attempt.resolved(found?)),
        }
    }

    /// What to say where the network that was asked for does not fit: which network it is then.
    fn instead(&self, asked: &Attempt, mismatch: Box<Mismatch>) -> Error {
        let classes = matches!(
            mismatch.cause(),
            Cause::Classes { .. } | Cause::Parted { .. }
        );
        if self.card.is_some() || classes {
            return mismatch.into();
        }
        let free = self.free();
        let all: Vec<&Architecture> = architectures().iter().collect();
        let other = self.best(&all, &free).ok().flatten();
        match other.filter(|other| other.fitting == other.required && other.name() != asked.name())
        {
            Some(other) => Error::AnotherNetwork {
                file: self.source.into(),
                asked: asked.name(),
                found: other.name(),
                architecture: other.architecture.name,
                encoder: other.encoder(),
            },
            None => mismatch.into(),
        }
    }

    /// The options without what they say of the network.
    fn free(&self) -> ModelOptions {
        ModelOptions {
            architecture: None,
            encoder: None,
            classes: None,
            settings: Vec::new(),
            ..self.options.clone()
        }
    }

    /// The one network that all entries are of.
    fn recognised(&self) -> Result<Resolved, Error> {
        let all: Vec<&'static Architecture> = architectures().iter().collect();
        let mut fits = Vec::new();
        let mut nearest: Option<Attempt> = None;
        for architecture in all {
            let Some(attempt) = self.best(&[architecture], self.options)? else {
                continue;
            };
            if attempt.fitting == attempt.required {
                fits.push(attempt);
            } else if nearest.as_ref().is_none_or(|n| attempt.share() > n.share()) {
                nearest = Some(attempt);
            }
        }
        let least = fits.iter().map(|fit| fit.left).min();
        fits.retain(|fit| Some(fit.left) == least);
        match fits.len() {
            0 => Err(self.unrecognised(nearest)),
            1 => {
                let attempt = fits.remove(0);
                let found = self.weights.find(&attempt.expected, &self.search)?;
                Ok(attempt.resolved(found))
            }
            _ => Err(Error::Ambiguous {
                file: self.source.into(),
                fits: fits.iter().map(|fit| fit.architecture.name).collect(),
            }),
        }
    }

    fn unrecognised(&self, nearest: Option<Attempt>) -> Error {
        let compare = |attempt: Attempt| {
            let (architecture, encoder) = (attempt.architecture.name, attempt.encoder());
            match self.weights.find(&attempt.expected, &self.search) {
                Err(FindError::Mismatch(mismatch)) => Some((architecture, encoder, mismatch)),
                _ => None,
            }
        };
        let nearest = match nearest.and_then(compare) {
            // The names are this network's; the number of classes that was asked for is not.
            Some((_, _, mismatch)) if matches!(mismatch.cause(), Cause::Classes { .. }) => {
                return mismatch.into();
            }
            nearest => nearest,
        };
        // A network without its head, all of whose encoder is there, is that encoder; but a head in parts is no
        // missing one.
        let headless = nearest.as_ref().is_none_or(|(architecture, _, mismatch)| {
            let head = find(architecture)
                .map(|a| a.classes_entry)
                .unwrap_or_default();
            let parted = matches!(mismatch.cause(), Cause::Parted { .. });
            !parted && mismatch.missing.iter().any(|name| name == head)
        });
        let alone = if headless { self.encoder_alone() } else { None };
        let nearest = nearest.filter(|_| alone.is_none());
        Error::Unrecognised {
            file: self.source.into(),
            encoder: alone,
            names: self.weights.names().take(3).map(Into::into).collect(),
            nearest: nearest.map(|(architecture, encoder, mismatch)| {
                Box::new(Nearest {
                    architecture,
                    encoder,
                    mismatch: *mismatch,
                })
            }),
        }
    }

    /// The encoder that the file is of, where it is of nothing else.
    fn encoder_alone(&self) -> Option<&'static str> {
        let entries: Vec<&str> = families().iter().map(|family| family.entry()).collect();
        self.weights.readings().iter().find_map(|reading| {
            let places = reading.places(entries.iter().copied(), &self.search);
            places.iter().take(PLACES).find_map(|place| {
                let here = reading.under(&place.prefix);
                let shape_of = |name: &str| here.get(name).map(|info| info.shape.clone());
                encoder_of(&shape_of).map(|encoder| encoder.name)
            })
        })
    }

    /// The attempt that finds most of what it requires.
    fn best(
        &self,
        architectures: &[&'static Architecture],
        options: &ModelOptions,
    ) -> Result<Option<Attempt>, Error> {
        let (mut best, mut failed): (Option<Attempt>, Option<Error>) = (None, None);
        let named = options.architecture.is_some() || self.card.is_some();
        for reading in self.weights.readings() {
            for architecture in architectures {
                let own = architecture.own_names();
                let places = reading.places(own.iter().map(String::as_str), &self.search);
                // A third of them; fewer where a decoder is shallower than by default and its head is there.
                let likely = |place: &Place| {
                    let head = format!("{}{}", place.prefix, architecture.classes_entry);
                    let share = if reading.get(&head).is_some() { 12 } else { 3 };
                    named || share * place.names >= own.len()
                };
                for place in places.into_iter().filter(likely).take(PLACES) {
                    let here = reading.under(&place.prefix);
                    let attempt = match self.attempt(architecture, &here, options) {
                        Ok(attempt) => attempt,
                        // Entries that no network of this kind has, or a wish that it cannot have.
                        Err(error) => {
                            failed.get_or_insert(error);
                            continue;
                        }
                    };
                    if best.as_ref().is_none_or(|best| attempt.is_better(best)) {
                        best = Some(attempt);
                    }
                }
            }
            if best
                .as_ref()
                .is_some_and(|best| best.fitting == best.required)
            {
                break;
            }
        }
        match (best, failed) {
            (None, Some(error)) if named => Err(error),
            (best, _) => Ok(best),
        }
    }

    /// An architecture with the options that the entries `here` say.
    fn attempt(
        &self,
        architecture: &'static Architecture,
        here: &StateDict,
        options: &ModelOptions,
    ) -> Result<Attempt, Error> {
        let source = self.source.into();
        let mut description = match &self.card {
            Some(card) => Description::from_card(card, here, architecture, source)?,
            None => {
                let classes = options.classes;
                Description::from_state_dict(here, architecture, self.row, classes, source)
            }
        };
        architecture.read_values(&mut description.options, &|name| here.read_f32(name).ok());
        overridden(&mut description, options)?;
        let graph = architecture.build(&description.options)?;
        let expected = expected(architecture, &graph, &options.outputs);
        let required = expected.iter().filter(|e| e.required).count();
        let (fitting, left) = here.compare(&expected);
        Ok(Attempt {
            architecture,
            description,
            graph,
            expected,
            fitting,
            required,
            left,
        })
    }

    /// A network whose entries are matched by their order.
    fn in_order(&self, architecture: &'static Architecture) -> Result<Resolved, Error> {
        let none = StateDict::from_tensors([]);
        let mut attempt = self.attempt(architecture, &none, self.options)?;
        let names: Vec<&str> = attempt.expected.iter().map(|e| e.name.as_str()).collect();
        let shape = |name: &str| self.weights.shape_in_order(&names, name, &self.search);
        let rows = shape(architecture.classes_entry).and_then(|shape| shape.first().copied());
        let classes = rows.and_then(|rows| rows.checked_sub(architecture.beside_classes));
        let inputs = attempt.graph.input_parameters();
        let channels = inputs.first().and_then(|name| shape(name)?.get(1).copied());
        if let (Some(classes), None, None) = (classes, self.options.classes, &self.card) {
            let source = self.source.into();
            let options = attempt.description.options;
            attempt.description = Description::plain(architecture, self.row, classes, source);
            attempt.description.options = segmenta_zoo::Options { classes, ..options };
        }
        if let Some(channels) = channels.filter(|_| self.card.is_none()) {
            attempt.description.options.in_channels = channels;
        }
        attempt.graph = architecture.build(&attempt.description.options)?;
        attempt.expected = expected(architecture, &attempt.graph, &self.options.outputs);
        let found = self.weights.find(&attempt.expected, &self.search)?;
        Ok(attempt.resolved(found))
    }
}

impl Attempt {
    fn share(&self) -> f64 {
        self.fitting as f64 / self.required.max(1) as f64
    }

    fn is_better(&self, other: &Self) -> bool {
        let whole = |attempt: &Self| attempt.fitting == attempt.required;
        match (whole(self), whole(other)) {
            (true, true) => self.left < other.left,
            (true, false) => true,
            (false, true) => false,
            (false, false) => self.share() > other.share(),
        }
    }

    fn encoder(&self) -> Option<&'static str> {
        let named = self.description.options.encoder.map(|encoder| encoder.name);
        named.or_else(|| self.architecture.default_encoder())
    }

    fn name(&self) -> String {
        named(self.architecture.name, self.encoder())
    }

    fn resolved(self, found: Found) -> Resolved {
        Resolved {
            description: self.description,
            graph: self.graph,
            found,
        }
    }
}

/// Puts what the caller says over what the file says.
fn overridden(description: &mut Description, options: &ModelOptions) -> Result<(), Error> {
    if let Some(classes) = options.classes {
        description.options.classes = classes;
    }
    if let Some(encoder) = &options.encoder {
        description.options.encoder = Some(find_encoder(encoder)?);
    }
    for (name, value) in &options.settings {
        let set = description.options.set(name, value);
        set.map_err(|problem| ModelError::setting(name, value, problem))?;
    }
    Ok(())
}

/// The entries of a network; those are required that the wanted results need.
fn expected(architecture: &Architecture, graph: &Graph, outputs: &[String]) -> Vec<Expected> {
    let asked = |name: &String| graph.outputs().iter().find(|output| output.name == *name);
    let found: Option<Vec<_>> = outputs.iter().map(asked).collect();
    // A result that the network does not have is refused by the engine, whatever the weights.
    let wanted: Vec<_> = match found.filter(|found| !found.is_empty()) {
        Some(found) => found.iter().map(|output| output.node).collect(),
        None => graph
            .outputs()
            .iter()
            .take(1)
            .map(|output| output.node)
            .collect(),
    };
    let needed = graph.needed_for(&wanted);
    let mut required = vec![false; graph.parameters().len()];
    for (_, data) in graph.iter().filter(|(node, _)| needed[node.index()]) {
        for parameter in &data.parameters {
            required[parameter.index()] = true;
        }
    }
    let entries = graph.parameters().iter().zip(required);
    let expected = entries.map(|(parameter, required)| Expected {
        name: parameter.name.clone(),
        shape: parameter.shape.clone(),
        required: required && parameter.role != Role::Counter,
        former: architecture.former_name(&parameter.name),
    });
    expected.collect()
}
