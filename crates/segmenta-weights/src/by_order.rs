//! State dicts whose names are their author's own: matched by the order of their entries and by shapes.
//!
//! PyTorch lists entries in the order in which a network's modules were made, and calls the entries of its layers
//! `weight`, `bias`, `running_mean` and `running_var` whatever their module is called. So the same layers in the
//! same order are the same network; the first place where a shape or such a last part differs refuses it.

use std::{collections::HashMap, fmt, path::PathBuf};

use crate::{
    format::Format,
    located::{Found, Search, Taken, is_by_product, is_copy},
    mismatch::Expected,
    state_dict::{Entry, StateDict},
};

/// What PyTorch's layers call their entries.
const LEAVES: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// How many pairs are told.
const TOLD: usize = 3;

/// Why entries do not match by order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disorder {
    /// The file (or `<memory>`).
    pub path: PathBuf,
    /// What is in the way.
    pub problem: Disagreement,
}

/// What is in the way of matching by order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disagreement {
    /// The file does not say in which order its layers are.
    Unordered,
    /// At a place, from 1 on, the two entries differ; either may be lacking, where one list is shorter.
    At {
        /// The place.
        place: usize,
        /// Name and shape in the file.
        file: Option<(String, Vec<usize>)>,
        /// Name and shape in the network.
        network: Option<(String, Vec<usize>)>,
    },
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let entry = |entry: &Option<(String, Vec<usize>)>| match entry {
            Some((name, shape)) => format!("`{name}` {shape:?}"),
            None => "none".into(),
        };
        match &self.problem {
            Disagreement::Unordered => write!(
                f,
                "the file does not say in which order its layers are (names are sorted, or modules were saved \
                 whole) · {path} · in Python, write the state dict: torch.save(model.state_dict(), \"weights.pth\")"
            ),
            Disagreement::At {
                place,
                file,
                network,
            } => write!(
                f,
                "by order, the entries differ from the {place}. on: {} in the file, {} in the network · {path} · \
                 choose the network with these layers in this order, and its number of classes",
                entry(file),
                entry(network),
            ),
        }
    }
}

impl std::error::Error for Disorder {}

/// Finds a network by the order of its entries.
pub(crate) fn find(
    dict: &StateDict,
    expected: &[Expected],
    search: &Search,
) -> Result<Found, Box<Disorder>> {
    let wanted: Vec<&Expected> = expected
        .iter()
        .filter(|e| !is_by_product(&e.name))
        .collect();
    // Where nothing agrees, what is told is of the group with as many entries, or that agrees longest.
    let mut nearest: Option<((bool, usize), Disagreement)> = None;
    for (prefix, group) in groups(dict, search) {
        let ordered = is_ordered(dict, &group);
        let (place, problem) = match agree(&group, &wanted) {
            Ok(()) if ordered => return Ok(found(dict, prefix, &group, &wanted)),
            Ok(()) => (wanted.len(), Disagreement::Unordered),
            Err((place, _)) if !ordered => (place, Disagreement::Unordered),
            Err(problem) => problem,
        };
        let near = (group.len() == wanted.len(), place);
        if nearest.as_ref().is_none_or(|(nearest, _)| near > *nearest) {
            nearest = Some((near, problem));
        }
    }
    let problem = nearest.map_or(Disagreement::Unordered, |(_, problem)| problem);
    Err(Box::new(Disorder {
        path: dict.where_from().to_path_buf(),
        problem,
    }))
}

impl StateDict {
    /// A network whose entries are the first of the file, in order and shapes, whatever their names; what follows, a
    /// classifier, is left out. `None` if they are others, or the file does not say in which order its layers are.
    pub fn first_in_order(&self, expected: &[Expected]) -> Option<Found> {
        let layer = |name: &str| !is_by_product(name);
        let wanted: Vec<&Expected> = expected.iter().filter(|e| layer(&e.name)).collect();
        let all = self.entries().iter().filter(|e| layer(&e.info.name));
        let group: Vec<&Entry> = all.take(wanted.len()).collect();
        let agrees = is_ordered(self, &group) && agree(&group, &wanted).is_ok();
        agrees.then(|| found(self, "", &group, &wanted))
    }

    /// By order: the shape of the entry that stands where a network whose entries are `names` has `name`.
    pub fn shape_in_order(
        &self,
        names: &[&str],
        name: &str,
        search: &Search,
    ) -> Option<Vec<usize>> {
        let layers = names.iter().filter(|name| !is_by_product(name));
        let layers: Vec<&&str> = layers.collect();
        let at = layers.iter().position(|known| **known == name)?;
        let groups = groups(self, search);
        let group = groups.iter().find(|(_, group)| group.len() == layers.len());
        group.map(|(_, group)| group[at].info.shape.clone())
    }
}

/// The layers' entries behind each prefix: the whole file first, then what holds most; second copies last.
fn groups<'d>(dict: &'d StateDict, search: &Search) -> Vec<(&'d str, Vec<&'d Entry>)> {
    let mut groups: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in dict.entries() {
        let name = &entry.info.name;
        if is_by_product(name) {
            continue;
        }
        let dots = name.match_indices('.').map(|(dot, _)| dot + 1);
        for start in std::iter::once(0).chain(dots) {
            groups.entry(&name[..start]).or_default().push(entry);
        }
    }
    let mut groups: Vec<_> = groups
        .into_iter()
        .filter(|(prefix, _)| search.admits(prefix))
        .collect();
    groups.sort_by_key(|(prefix, group)| {
        (
            is_copy(prefix),
            std::cmp::Reverse(group.len()),
            prefix.len(),
            *prefix,
        )
    });
    groups
}

/// Whether the file says in which order the entries are.
fn is_ordered(dict: &StateDict, group: &[&Entry]) -> bool {
    let known = group.is_sorted_by(|a, b| a.place < b.place && b.place != usize::MAX);
    // The library that writes safetensors sorts them by name.
    let sorted = dict.format() == Format::Safetensors
        && group.len() > 1
        && group.is_sorted_by(|a, b| a.info.name <= b.info.name);
    known && !sorted
}

/// Whether entries agree one by one; otherwise the first place where they do not.
fn agree(group: &[&Entry], wanted: &[&Expected]) -> Result<(), (usize, Disagreement)> {
    let leaf = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or_default();
        LEAVES.iter().position(|leaf| *leaf == last)
    };
    for at in 0..group.len().max(wanted.len()) {
        let (file, network) = (group.get(at), wanted.get(at));
        if let (Some(file), Some(network)) = (file, network)
            && file.info.shape == network.shape
            && (leaf(&file.info.name) == leaf(&network.name)
                || leaf(&file.info.name).is_none()
                || leaf(&network.name).is_none())
        {
            continue;
        }
        let problem = Disagreement::At {
            place: at + 1,
            file: file.map(|entry| (entry.origin.to_string(), entry.info.shape.clone())),
            network: network.map(|entry| (entry.name.clone(), entry.shape.clone())),
        };
        return Err((at, problem));
    }
    Ok(())
}

fn found(dict: &StateDict, prefix: &str, group: &[&Entry], wanted: &[&Expected]) -> Found {
    let renamed = group.iter().zip(wanted).map(|(entry, wanted)| {
        let mut entry = (*entry).clone();
        entry.info.name.clone_from(&wanted.name);
        entry
    });
    let entries: Vec<Entry> = renamed.collect();
    let pairs = entries
        .iter()
        .map(|e| (e.origin.to_string(), e.info.name.clone()));
    let outside = dict
        .entries()
        .iter()
        .filter(|entry| !entry.info.name.starts_with(prefix));
    let taken = Taken {
        prefix: prefix.into(),
        entries: entries.len(),
        by_order: pairs.take(TOLD).collect(),
        beside: outside.map(|entry| entry.origin.to_string()).collect(),
        ..Taken::default()
    };
    Found {
        weights: dict.part(entries),
        taken,
    }
}
