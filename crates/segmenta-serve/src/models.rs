//! The networks that are served: each by a name that was given at start, loaded, swapped and put away.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use segmenta::{Error, Model, ModelOptions, Picture, SegmentOptions};

use crate::problem::Problem;

/// A network to serve: its name and how it is loaded.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name in requests.
    pub name: String,
    /// What is loaded, and how it runs.
    pub options: ModelOptions,
}

impl Wanted {
    /// From what is typed: a catalogue's name, a repository of the hub, a file of weights, or a run's folder; `NAME=` before
    /// it says under which name, otherwise it is the network's, the folder's or the file's. `base` says how it runs.
    ///
    /// # Errors
    /// A name that could not stand in an address, in words.
    pub fn of(text: &str, base: &ModelOptions) -> Result<Self, String> {
        // A path may have an equals sign; a name has no slash.
        let (name, what) = match text.split_once('=') {
            Some((name, what)) if !name.contains(['/', '\\']) && !Path::new(text).exists() => {
                (Some(name), what)
            }
            _ => (None, text),
        };
        let options = base.clone().named(what);
        let name = match name {
            Some(name) => name.to_owned(),
            None => named_after(what, Path::new(what).is_file()),
        };
        let is_right = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_right) {
            return Err(format!(
                "“{name}” is no name for a network · {text} · give one of letters, digits, `.`, `_` and `-` before it: \
                 cells={what}"
            ));
        }
        Ok(Self { name, options })
    }
}

/// A file called as all of them are is named after its run's folder.
fn named_after(what: &str, is_file: bool) -> String {
    let path = Path::new(what);
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let own = if is_file {
        text(path.file_stem())
    } else {
        text(path.file_name())
    };
    let own = if is_file && ["model", "last", "best", "weights"].contains(&own.as_str()) {
        text(path.parent().and_then(Path::file_name))
    } else if is_file {
        own
    } else {
        // A revision of the hub's is no part of the name.
        own.split('@').next().unwrap_or_default().to_owned()
    };
    let fitting = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    own.chars().map(fitting).collect()
}

/// A network in memory.
#[derive(Debug)]
pub struct Loaded {
    /// The network.
    pub model: Model,
    /// How requests of one size go through it together.
    pub batches: Batches,
}

/// How requests wait for each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batches {
    /// Pictures that go through a network together at most; 1 for each alone.
    pub most: usize,
    /// How long the first of them waits for others.
    pub delay: Duration,
}

/// What happened to a network's requests. Times are sums, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Pictures, and how often the network ran for them.
    pub(crate) pictures: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) request: AtomicU64,
    pub(crate) queue: AtomicU64,
    pub(crate) input: AtomicU64,
    pub(crate) network: AtomicU64,
    pub(crate) output: AtomicU64,
}

pub(crate) fn add(sum: &AtomicU64, time: Duration) {
    sum.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
}

/// A name that was given at start, with what is loaded under it.
#[derive(Debug)]
pub struct Entry {
    wanted: Wanted,
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// Held while it is loaded, so that two requests do not load it twice at once.
    loading: Mutex<()>,
    pub(crate) statistics: Statistics,
}

impl Entry {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.wanted.name
    }

    /// The network, if it is loaded. Whoever has it keeps it: a swap loses no request.
    pub fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The network.
    ///
    /// # Errors
    /// It was unloaded.
    pub fn get(&self) -> Result<Arc<Loaded>, Problem> {
        self.loaded().ok_or_else(|| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the network is not loaded",
                self.name(),
                format!("POST /v2/repository/models/{}/load", self.name()),
            )
        })
    }

    /// Loads it anew and puts it in the place of what was loaded, once it is ready. This takes seconds: not for a thread that
    /// answers requests.
    ///
    /// # Errors
    /// As [`Model::open`]; what was loaded stays.
    pub fn load(
        &self,
        batching: Batching,
        progress: &mut dyn FnMut(segmenta::weights::Progress),
    ) -> Result<(), Error> {
        let _alone = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let model = Model::open(&self.wanted.options, progress)?;
        let batches = batching.of(&model)?;
        let loaded = Arc::new(Loaded { model, batches });
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        Ok(())
    }

    /// Puts it away, once the requests that have it are done.
    pub fn unload(&self) {
        self.loaded
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// What the user said of batches; what was not said is measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batching {
    /// Pictures at most.
    pub most: Option<usize>,
    /// How long the first waits.
    pub delay: Option<Duration>,
}

/// The batch that is tried when nothing is said.
const TRIED: usize = 4;
/// A batch has to save this share of a picture's time, or it is not worth waiting for.
const WORTH: f64 = 0.9;
/// Nobody waits longer for others unless it was asked for.
const LONGEST: Duration = Duration::from_millis(5);

impl Batching {
    /// For a network: what was said, or what was measured here and now on grey pictures of a photograph's size.
    fn of(self, model: &Model) -> Result<Batches, Error> {
        let delay = |one: Duration| self.delay.unwrap_or_else(|| (one / 8).min(LONGEST));
        if let Some(most) = self.most {
            let delay = if most > 1 {
                delay(LONGEST * 8)
            } else {
                Duration::ZERO
            };
            return Ok(Batches { most, delay });
        }
        let picture = Picture::filled(480, 360, [127; 3]);
        let options = SegmentOptions::new();
        let time = |count: usize| -> Result<Duration, Error> {
            let prepared = || {
                (0..count)
                    .map(|_| model.prepare(&picture, &options))
                    .collect()
            };
            // The first run plans the size.
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let prepared = prepared();
                let start = Instant::now();
                model.segment_prepared(prepared, &options)?;
                best = best.min(start.elapsed());
            }
            Ok(best)
        };
        // What makes no mask serves its tensors, one by one.
        let alone = Batches {
            most: 1,
            delay: Duration::ZERO,
        };
        let Ok(one) = time(1) else {
            return Ok(alone);
        };
        // A network that takes seconds is not made to wait for its server, which would start in minutes.
        if one > Duration::from_millis(500) {
            return Ok(alone);
        }
        let each = time(TRIED)? / TRIED as u32;
        model.engine().trim();
        if each.as_secs_f64() < WORTH * one.as_secs_f64() {
            return Ok(Batches {
                most: TRIED,
                delay: delay(one),
            });
        }
        Ok(alone)
    }
}

/// All of them, in the order in which they were given.
#[derive(Debug)]
pub struct Models(Vec<Arc<Entry>>);

impl Models {
    /// Under their names, none loaded yet.
    ///
    /// # Errors
    /// Two of one name, or none at all, in words.
    pub fn new(wanted: Vec<Wanted>) -> Result<Self, String> {
        if wanted.is_empty() {
            return Err(
                "no network to serve · name one: segmenta serve lraspp_mobilenet_v3_large".into(),
            );
        }
        let source = |wanted: &Wanted| {
            let options = &wanted.options;
            let file = options
                .weights
                .as_ref()
                .map(|file| file.display().to_string());
            file.or_else(|| options.architecture.clone())
                .unwrap_or_default()
        };
        for (i, one) in wanted.iter().enumerate() {
            if let Some(other) = wanted[..i].iter().find(|other| other.name == one.name) {
                return Err(format!(
                    "two networks of the name “{}” · {} and {} · give one of them another: other={}",
                    one.name,
                    source(other),
                    source(one),
                    source(one)
                ));
            }
        }
        let entry = |wanted| {
            Arc::new(Entry {
                wanted,
                loaded: RwLock::default(),
                loading: Mutex::default(),
                statistics: Statistics::default(),
            })
        };
        Ok(Self(wanted.into_iter().map(entry).collect()))
    }

    /// None: what is served is something else.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Entry>> {
        self.0.iter()
    }

    /// The one of that name; the first where no name is given.
    ///
    /// # Errors
    /// No such name, with those that there are.
    pub fn find(&self, name: Option<&str>) -> Result<&Arc<Entry>, Problem> {
        let found = match name {
            None => self.0.first(),
            Some(name) => self.0.iter().find(|entry| entry.name() == name),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.iter().map(|entry| entry.name()).collect();
            Problem::new(
                StatusCode::NOT_FOUND,
                format!("no network “{}” is served here", name.unwrap_or_default()),
                "model",
                format!("one of {}", names.join(", ")),
            )
        })
    }
}
