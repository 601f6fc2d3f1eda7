//! Where a network's names lie in a file: under whichever key of a checkpoint, behind whichever prefix.

use segmenta_files::count;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    by_order::{self, Disorder},
    mismatch::{Expected, Mismatch, is_derived},
    state_dict::{Entry, StateDict},
};

/// Modules that wrap others without being layers: `torch.compile`, FSDP, checkpointed activations. Nobody's own
/// are called so.
const WRAPPERS: [&str; 3] = [
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// `DataParallel` around a part of a network; may be a module's own name.
const PARALLEL: [&str; 1] = ["module"];

/// Words in the key of a second copy of a network, which is taken only where there is no other or it is asked for.
const COPIES: [&str; 9] = [
    "ema",
    "swa",
    "average",
    "averaged",
    "avg",
    "shadow",
    "teacher",
    "momentum",
    "optimizer",
];

/// What layers do not have: entries that counters of multiply-adds, averages and norms leave behind.
const BY_PRODUCTS: [&str; 3] = ["total_ops", "total_params", "n_averaged"];

/// How a network is looked for in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// The key of the checkpoint that holds it (`ema_state_dict`, `state_dict.generator`), where several do.
    pub key: Option<String>,
    /// Whether entries are matched by their order and shapes instead of their names.
    pub by_order: bool,
}

impl Search {
    /// Under any key, by names.
    pub fn new() -> Search {
        Search::default()
    }

    /// Under this key alone.
    #[must_use]
    pub fn key(mut self, key: Option<String>) -> Search {
        self.key = key;
        self
    }

    /// By order and shape.
    #[must_use]
    pub fn by_order(mut self, by_order: bool) -> Search {
        self.by_order = by_order;
        self
    }

    /// Whether what lies behind `prefix` may be taken.
    pub(crate) fn admits(&self, prefix: &str) -> bool {
        self.key.as_deref().is_none_or(|key| {
            let key = key.trim_end_matches('.');
            prefix
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }
}

/// A prefix behind which names of a network lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What stands before the names: empty, or some parts, each with its dot.
    pub prefix: String,
    /// How many of the names lie there.
    pub names: usize,
}

/// A network that was found in a file.
#[derive(Debug)]
pub struct Found {
    /// Its entries alone, under its own names.
    pub weights: StateDict,
    /// Where they were, and what else there is.
    pub taken: Taken,
}

/// What was taken from a file, and what was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// What stood before the network's names.
    pub prefix: String,
    /// How many entries were taken.
    pub entries: usize,
    /// How many of them had the name that an earlier version of the library gave them.
    pub former: usize,
    /// The first few pairs (name in the file, name in the network) where order and shapes decided.
    pub by_order: Vec<(String, String)>,
    /// Other prefixes behind which the whole network lies as well.
    pub others: Vec<String>,
    /// Entries of the network's own modules that it has no place for.
    pub unused: Vec<String>,
    /// Entries beside the network: what losses, metrics, optimisers and averages keep.
    pub beside: Vec<String>,
    /// Entries of another shape that the wanted results do not need.
    pub unneeded: Vec<String>,
}

/// Why a network was not found in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The names or shapes are another network's.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
    /// The key asked for is not in the file.
    #[error("nothing lies under the key `{key}` · {} · the file has {}", .path.display(), listed(.known))]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        key: String,
        /// Keys that there are.
        known: Vec<String>,
    },
    /// By order, the entries do not agree.
    #[error(transparent)]
    Order(Box<Disorder>),
}

fn listed(keys: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = keys
        .iter()
        .take(SHOWN)
        .map(|key| format!("`{key}`"))
        .collect();
    let more = if keys.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl StateDict {
    /// The ways to read the names: without what wraps parts of a network, and, where that differs, without
    /// `DataParallel`'s `module` between other parts as well. `LayerNorm.gamma` and `LayerNorm.beta`, as checkpoints
    /// that began in TensorFlow have them, are its weight and bias, as transformers reads them.
    pub fn readings(&self) -> Vec<StateDict> {
        let without = |dict: &StateDict, wrappers: &[&str]| {
            let entries = dict.entries().iter().map(|entry| {
                let mut entry = entry.clone();
                let parts = entry.info.name.split('.');
                let mut kept: Vec<&str> = parts.filter(|part| !wrappers.contains(part)).collect();
                if let [.., "LayerNorm", last] = &mut kept[..] {
                    *last = match *last {
                        "gamma" => "weight",
                        "beta" => "bias",
                        other => other,
                    };
                }
                entry.info.name = kept.join(".");
                entry
            });
            dict.part(entries.collect())
        };
        let plain = without(self, &WRAPPERS);
        let bare = without(&plain, &PARALLEL);
        let same = bare.names().eq(plain.names());
        let mut readings = vec![plain];
        readings.extend((!same).then_some(bare));
        readings
    }

    /// Prefixes behind which some of the `names` lie, those with most of them first; second copies of a network
    /// (averaged weights) come after the others.
    pub fn places<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
        search: &Search,
    ) -> Vec<Place> {
        let wanted: HashSet<&str> = names.into_iter().collect();
        let mut found: HashMap<&str, (usize, usize)> = HashMap::new();
        for (at, name) in self.names().enumerate() {
            let dots = name.match_indices('.').map(|(dot, _)| dot + 1);
            for start in std::iter::once(0).chain(dots) {
                if wanted.contains(&name[start..]) {
                    found.entry(&name[..start]).or_insert((0, at)).0 += 1;
                }
            }
        }
        let mut places: Vec<_> = found
            .into_iter()
            .filter(|(prefix, _)| search.admits(prefix))
            .collect();
        places.sort_by_key(|&(prefix, (names, at))| {
            (std::cmp::Reverse(names), is_copy(prefix), at, prefix.len())
        });
        let place = |(prefix, (names, _)): (&str, (usize, usize))| Place {
            prefix: prefix.into(),
            names,
        };
        places.into_iter().map(place).collect()
    }

    /// What lies behind a prefix, without it.
    #[must_use]
    pub fn under(&self, prefix: &str) -> StateDict {
        let here = self.entries().iter().filter_map(|entry| {
            let name = entry.info.name.strip_prefix(prefix)?.to_string();
            let mut entry = entry.clone();
            entry.info.name = name;
            Some(entry)
        });
        self.part(here.collect())
    }

    /// Finds a network: all of its names, behind any prefix.
    ///
    /// # Errors
    /// [`FindError`]: a mismatch with the place where most of the names lie, a key that is not there, or, by
    /// order, the first place where the shapes disagree.
    pub fn find(&self, expected: &[Expected], search: &Search) -> Result<Found, FindError> {
        self.check_key(search)?;
        if search.by_order {
            return by_order::find(self, expected, search).map_err(FindError::Order);
        }
        let mut nearest: Option<Box<Mismatch>> = None;
        for reading in self.readings() {
            let names = expected.iter().flat_map(Expected::names);
            // Behind most prefixes lie a few names by chance.
            let places = reading.places(names, search);
            let enough = places.first().map_or(0, |place| place.names / 2);
            let likely = places.into_iter().filter(|place| place.names >= enough);
            let mut fits = Vec::new();
            for Place { prefix, .. } in likely {
                match reading.under(&prefix).fit(expected, &prefix) {
                    Ok(fit) => fits.push((prefix, fit)),
                    Err(mismatch) => {
                        if nearest
                            .as_ref()
                            .is_none_or(|n| mismatch.fitting > n.fitting)
                        {
                            nearest = Some(mismatch);
                        }
                    }
                }
            }
            fits.sort_by_key(|(prefix, _)| is_copy(prefix));
            if !fits.is_empty() {
                let (prefix, fit) = fits.remove(0);
                let others = fits.into_iter().map(|(prefix, _)| prefix).collect();
                return Ok(self.found(fit, &reading, prefix, others, expected));
            }
        }
        let strange = || Box::new(Mismatch::of_strangers(self, expected));
        Err(FindError::Mismatch(nearest.unwrap_or_else(strange)))
    }

    /// How many of the required entries are here, in their shapes and under the names as they are; and how many
    /// entries are left over that are no by-products.
    pub fn compare(&self, expected: &[Expected]) -> (usize, usize) {
        let (mut fitting, mut own) = (0, HashSet::new());
        for wanted in expected {
            let entry = wanted.names().find_map(|name| self.get(name));
            if let Some(info) = entry {
                own.insert(&info.name);
                fitting += usize::from(wanted.required && info.shape == wanted.shape);
            }
        }
        let left = self
            .iter()
            .filter(|info| !own.contains(&info.name) && !is_by_product(&info.name));
        (fitting, left.count())
    }

    /// Whether anything lies under the key that is asked for.
    ///
    /// # Errors
    /// [`FindError::NoKey`].
    pub fn check_key(&self, search: &Search) -> Result<(), FindError> {
        let Some(key) = &search.key else {
            return Ok(());
        };
        if self
            .readings()
            .iter()
            .any(|reading| reading.names().any(|name| search.admits(name)))
        {
            return Ok(());
        }
        let mut known: Vec<String> = Vec::new();
        for name in self.names() {
            if let Some((first, _)) = name.split_once('.')
                && !known.iter().any(|key| key == first)
            {
                known.push(first.into());
            }
        }
        Err(FindError::NoKey {
            path: self.where_from().to_path_buf(),
            key: key.clone(),
            known,
        })
    }

    /// The network's entries among these, whose names are as they are.
    pub(crate) fn fit(&self, expected: &[Expected], prefix: &str) -> Result<Fit, Box<Mismatch>> {
        let mut fit = Fit::default();
        for wanted in expected {
            let Some(entry) = wanted.names().find_map(|name| self.entry(name)) else {
                continue;
            };
            fit.former += usize::from(entry.info.name != wanted.name);
            fit.own.insert(entry.info.name.clone());
            if entry.info.shape == wanted.shape {
                let mut entry = entry.clone();
                entry.info.name.clone_from(&wanted.name);
                fit.entries.push(entry);
            } else if !wanted.required && !is_derived(&wanted.name) {
                fit.unneeded.push(entry.origin.to_string());
            }
        }
        Mismatch::between(self, expected, prefix, &fit.own)
            .map_or(Ok(fit), |mismatch| Err(Box::new(mismatch)))
    }

    fn found(
        &self,
        fit: Fit,
        reading: &StateDict,
        prefix: String,
        others: Vec<String>,
        expected: &[Expected],
    ) -> Found {
        let modules: HashSet<&str> = expected.iter().map(|e| first_part(&e.name)).collect();
        let (mut unused, mut beside) = (Vec::new(), Vec::new());
        for entry in reading.entries() {
            let name = &entry.info.name;
            let here = name.strip_prefix(&prefix);
            let taken = here.is_some_and(|name| fit.own.contains(name));
            let copied = others
                .iter()
                .any(|other| name.starts_with(other) && !other.is_empty());
            if taken || copied || is_derived(name) {
                continue;
            }
            let own = here.is_some_and(|name| modules.contains(first_part(name)));
            let list = if own && !is_by_product(name) {
                &mut unused
            } else {
                &mut beside
            };
            list.push(entry.origin.to_string());
        }
        let taken = Taken {
            prefix,
            entries: fit.entries.len(),
            former: fit.former,
            by_order: Vec::new(),
            others,
            unused,
            beside,
            unneeded: fit.unneeded,
        };
        Found {
            weights: self.part(fit.entries),
            taken,
        }
    }
}

/// Entries of a network among those of a file.
#[derive(Default)]
pub(crate) struct Fit {
    entries: Vec<Entry>,
    /// Their names in the file.
    own: HashSet<String>,
    former: usize,
    unneeded: Vec<String>,
}

fn first_part(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Whether an entry is no layer's.
pub(crate) fn is_by_product(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    BY_PRODUCTS.contains(&last) || is_derived(name)
}

/// Whether a prefix is a second copy's.
pub(crate) fn is_copy(prefix: &str) -> bool {
    let mut words = prefix.split(['.', '_', '/']);
    words.any(|word| COPIES.contains(&word.to_ascii_lowercase().as_str()))
}

impl Taken {
    /// What is worth knowing of it, in one line without the file's name; `None` where the file holds the network
    /// and nothing else.
    pub fn summary(&self) -> Option<String> {
        let Taken {
            prefix,
            entries,
            former,
            by_order,
            others,
            beside,
            unneeded,
            unused: _,
        } = self;
        let mut parts = vec![match prefix.trim_end_matches('.') {
            "" => format!("{} taken", count(*entries, "tensor")),
            key => format!("{} taken from `{key}`", count(*entries, "tensor")),
        }];
        if let Some((theirs, ours)) = by_order.first() {
            parts.push(format!(
                "by order and shape, whatever their names: `{theirs}` as `{ours}`, …"
            ));
        }
        if *former > 0 {
            parts.push(format!("{former} under names of an earlier version"));
        }
        if !others.is_empty() {
            let keys: Vec<String> = others
                .iter()
                .map(|o| o.trim_end_matches('.').into())
                .collect();
            let has = if keys.len() == 1 { "has" } else { "have" };
            parts.push(format!("{} {has} all of them too", listed(&keys)));
        }
        if !beside.is_empty() {
            parts.push(format!(
                "{} beside the network left out: {}",
                beside.len(),
                groups(beside)
            ));
        }
        if !unneeded.is_empty() {
            let (n, first) = (unneeded.len(), &unneeded[0]);
            parts.push(format!(
                "{n} of another shape left out, which the result does not need: `{first}`"
            ));
        }
        (parts.len() > 1).then(|| parts.join("; "))
    }

    /// The same with the file's name.
    pub fn told(&self, file: &Path) -> Option<String> {
        self.summary()
            .map(|summary| format!("{summary} · {}", file.display()))
    }
}

/// Names by what they have in common: the module, or the last part for what counters leave everywhere.
fn groups(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut groups: Vec<(&str, usize)> = Vec::new();
    for name in names {
        let group = match name.rsplit('.').next() {
            Some(last) if BY_PRODUCTS.contains(&last) => last,
            _ => first_part(name),
        };
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, count)) => *count += 1,
            None => groups.push((group, 1)),
        }
    }
    let shown = groups.iter().take(SHOWN).map(|(group, count)| match count {
        1 => format!("`{group}`"),
        _ => format!("`{group}` ({count})"),
    });
    let shown: Vec<String> = shown.collect();
    let more = if groups.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind `{}`", count(self.names, "name"), self.prefix)
    }
}
