//! The weights that a run begins with.

use segmenta_files::count;
use std::path::Path;

use segmenta_graph::{Graph, Role};
use segmenta_weights::{Expected, Search, StateDict};
use segmenta_zoo::Architecture;
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::engine::Parameters;

/// How entries of a file find their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// By their names, behind whatever prefix.
    #[default]
    ByName,
    /// By their order and shapes, whatever their names.
    ByOrder,
}

impl Matching {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands a reference over"
    )]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A file with less than this share of the wanted entries, one in so many, is another network's: what fits there
/// fits by chance.
const LEAST: usize = 10;

/// What torchvision, timm and others call the layer that gives the classes of whole pictures.
const CLASSIFIERS: [&str; 7] = [
    "fc",
    "classifier",
    "head",
    "heads",
    "last_linear",
    "last_layer",
    "_fc",
];

/// What was taken from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Entries of the network that the file gave.
    pub taken: usize,
    /// Entries that it does not have; counters of steps are not counted.
    pub missing: Vec<String>,
    /// Entries that it has in another shape.
    pub misshapen: Vec<String>,
    /// What stood before the names in the file.
    pub prefix: String,
    /// Where names are another library's and order and shapes decided: the first entry's name in the file, and in the
    /// network.
    pub by_order: Option<(String, String)>,
    /// Other keys of the file that hold as much.
    pub others: Vec<String>,
    /// Entries of the file that were left out.
    pub beside: usize,
    /// The module among them that tells ImageNet's classes apart, of a network that an encoder was taken from.
    pub classifier: Option<String>,
    /// What became of the classes' own weights where the file's classes stand in another order, or are called
    /// otherwise.
    pub classes: Option<String>,
}

impl Taken {
    /// In a sentence.
    pub fn summary(&self, file: &Path) -> String {
        let begin = |names: &[String], what: &str| match names {
            [] => String::new(),
            [one] => format!(" · `{one}` {what}: begins fresh"),
            [first, ..] => format!(
                " · {} entries {what} (`{first}`, …): begin fresh",
                names.len()
            ),
        };
        let key = match self.prefix.trim_end_matches('.') {
            "" => String::new(),
            key => format!(" (`{key}`)"),
        };
        let others: Vec<&str> = self
            .others
            .iter()
            .map(|other| other.trim_end_matches('.'))
            .collect();
        let others = match others[..] {
            [] => String::new(),
            _ => format!(
                " · as much lies under {}: model.weights_key chooses",
                others.join(", ")
            ),
        };
        let beside = match self.beside {
            0 => String::new(),
            n => {
                let classifier = self.classifier.iter();
                let classifier = classifier.map(|m| format!(", the classifier `{m}` among them"));
                let classifier: String = classifier.collect();
                format!(" · {n} others in the file left out{classifier}")
            }
        };
        let by_order = self.by_order.iter().map(|(theirs, ours)| {
            format!(
                " · by order and shape, for names are another library's: `{theirs}` as `{ours}`, …"
            )
        });
        let by_order: String = by_order.collect();
        format!(
            "{} from {}{key}{by_order}{}{}{}{beside}{others}",
            count(self.taken, "entry"),
            file.display(),
            begin(&self.misshapen, "have another shape there"),
            begin(&self.missing, "are not there"),
            self.classes
                .iter()
                .fold(String::new(), |_, said| format!(" · {said}")),
        )
    }
}

/// Which entries are to be filled, and how they are looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// The network's architecture, which knows earlier names.
    pub(super) architecture: &'static Architecture,
    /// Entries under this prefix alone.
    pub(super) part: &'a str,
    /// The key of the checkpoint.
    pub(super) key: Option<&'a str>,
    /// By names or by order.
    pub(super) matching: Matching,
}

/// Fills the wanted entries from a file, whose names may stand behind any prefix; what it lacks or has in another
/// shape stays as it is. Kernels for another number of input channels are made from those of three as
/// segmentation_models_pytorch makes them: repeated, and scaled by 3 / channels; one channel takes the sum.
///
/// # Errors
/// A file that cannot be read, or of another network.
pub(super) fn take(
    parameters: &mut Parameters,
    graph: &Graph,
    file: &Path,
    wanted: &Wanted<'_>,
) -> Result<Taken, RunError> {
    let dict = StateDict::open(file)?;
    let at: Vec<(usize, Expected)> = expected(graph, wanted);
    let expected: Vec<Expected> = at.iter().map(|(_, expected)| expected.clone()).collect();
    let search = Search::new()
        .key(wanted.key.map(Into::into))
        .by_order(wanted.matching == Matching::ByOrder);
    let (mut here, mut found) = locate(&dict, &expected, &search)?;
    // Other libraries make the same encoders' layers in the same order, under names of their own.
    if !wanted.part.is_empty()
        && here.compare(&expected).0 * LEAST < expected.len()
        && let Some(first) = dict.first_in_order(&expected)
    {
        here = first.weights;
        found = Taken {
            by_order: first.taken.by_order.into_iter().next(),
            ..Taken::default()
        };
    }
    for (at, expected) in at {
        let name = expected.names().find(|name| here.get(name).is_some());
        let own = &graph.parameters()[at];
        let Some((name, info)) = name.and_then(|name| Some((name, here.get(name)?))) else {
            if expected.required {
                found.missing.push(own.name.clone());
            }
            continue;
        };
        if info.shape == own.shape {
            parameters.set(at, here.read_f32(name)?);
            found.taken += 1;
        } else if let Some(values) = other_channels(&here, name, &info.shape, &own.shape)? {
            parameters.set(at, values);
            found.taken += 1;
        } else {
            found.misshapen.push(own.name.clone());
        }
    }
    let all = found.taken + found.missing.len() + found.misshapen.len();
    if found.taken * LEAST < all || found.taken == 0 {
        let problem = match found.taken {
            0 => "nothing in it fits the network".into(),
            some => format!(
                "{some} of its {} fit the network, as if by chance",
                count(all, "entry")
            ),
        };
        return Err(RunError::Checkpoint {
            problem,
            path: file.display().to_string(),
            remedy: "look at it with `segmenta weights`, and name the network that it is of (model.arch, model.encoder)",
        });
    }
    found.classifier = classifier(&dict, &found.prefix, wanted);
    found.beside = dict
        .len()
        .saturating_sub(found.taken + found.misshapen.len());
    Ok(found)
}

/// The module of a file that gives classes of whole pictures, where an encoder alone is wanted.
fn classifier(dict: &StateDict, prefix: &str, wanted: &Wanted<'_>) -> Option<String> {
    if wanted.part.is_empty() {
        return None;
    }
    let mut modules = dict.names().filter_map(|name| {
        // Beside an encoder of a whole network, or behind the encoder's own prefix.
        let name = name.strip_prefix(prefix).unwrap_or(name);
        name.split('.').next()
    });
    modules.find(|m| CLASSIFIERS.contains(m)).map(Into::into)
}

/// The entries to fill, under the names that they have in a file of that part, with their places in the graph.
fn expected(graph: &Graph, wanted: &Wanted<'_>) -> Vec<(usize, Expected)> {
    let entries = graph.parameters().iter().enumerate();
    let entries = entries.filter_map(|(at, entry)| {
        let name = entry.name.strip_prefix(wanted.part)?.to_string();
        // Earlier names are those of the whole network, or an encoder's own.
        let architecture = wanted.architecture;
        let whole = architecture.former_name(&entry.name);
        let former = whole.and_then(|whole| Some(whole.strip_prefix(wanted.part)?.to_string()));
        let former = former.or_else(|| architecture.former_name(&name));
        let expected = Expected {
            former,
            name,
            shape: entry.shape.clone(),
            required: !matches!(entry.role, Role::Counter | Role::Buffer),
        };
        Some((at, expected))
    });
    entries.collect()
}

/// The part of the file where most of the entries lie in their shapes.
fn locate(
    dict: &StateDict,
    expected: &[Expected],
    search: &Search,
) -> Result<(StateDict, Taken), RunError> {
    if search.by_order {
        let found = dict.find(expected, search)?;
        let prefix = found.taken.prefix;
        return Ok((
            found.weights,
            Taken {
                prefix,
                ..Taken::default()
            },
        ));
    }
    dict.check_key(search)?;
    let all = expected.iter().filter(|e| e.required).count();
    let mut best: Option<(usize, StateDict, Taken)> = None;
    for reading in dict.readings() {
        // Another reading of the names is worth while where it finds more.
        let found = best.as_ref().map_or(0, |(fitting, _, _)| *fitting);
        if found == all {
            break;
        }
        let names = expected.iter().flat_map(Expected::names);
        let places = reading.places(names, search);
        let enough = places.first().map_or(0, |place| place.names / 2);
        for place in places.into_iter().filter(|place| place.names >= enough) {
            let here = reading.under(&place.prefix);
            let (fitting, _) = here.compare(expected);
            match &mut best {
                Some((most, _, _)) if fitting < *most || fitting <= found => {}
                Some((most, _, taken)) if fitting == *most => {
                    if !taken.others.contains(&place.prefix) && taken.prefix != place.prefix {
                        taken.others.push(place.prefix);
                    }
                }
                _ => {
                    let taken = Taken {
                        prefix: place.prefix,
                        ..Taken::default()
                    };
                    best = Some((fitting, here, taken));
                }
            }
        }
    }
    let nothing = || (StateDict::from_tensors([]), Taken::default());
    Ok(best.map_or_else(nothing, |(_, here, taken)| (here, taken)))
}

/// A first kernel `[out, 3, h, w]` for another number of channels.
fn other_channels(
    dict: &StateDict,
    name: &str,
    from: &[usize],
    to: &[usize],
) -> Result<Option<Vec<f32>>, RunError> {
    let ([out, 3, h, w], [out_to, channels, h_to, w_to]) = (from, to) else {
        return Ok(None);
    };
    if (out, h, w) != (out_to, h_to, w_to) {
        return Ok(None);
    }
    let values = dict.read_f32(name)?;
    let (taps, channels) = (h * w, *channels);
    let mut made = Vec::with_capacity(out * channels * taps);
    for kernel in values.chunks_exact(3 * taps) {
        for channel in 0..channels {
            for tap in 0..taps {
                made.push(if channels == 1 {
                    (0..3).map(|c| kernel[c * taps + tap]).sum()
                } else {
                    kernel[channel % 3 * taps + tap] * 3.0 / channels as f32
                });
            }
        }
    }
    Ok(Some(made))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use segmenta_weights::{TensorView, save};
    use segmenta_zoo::{Options, find};

    use super::*;

    /// A file of `graph`'s entries, renamed, each filled with the number of its place.
    fn write(path: &Path, graph: &Graph, name: impl Fn(&str) -> Vec<String>) {
        let entries: Vec<(String, &[usize], Vec<f32>)> = graph
            .parameters()
            .iter()
            .enumerate()
            .flat_map(|(at, p)| {
                let values = vec![at as f32; p.len()];
                name(&p.name)
                    .into_iter()
                    .map(move |name| (name, &p.shape[..], values.clone()))
            })
            .collect();
        let views: Vec<TensorView<'_>> = entries
            .iter()
            .map(|(n, s, v)| (n.as_str(), *s, &v[..]))
            .collect();
        save(path, &views, &BTreeMap::default()).unwrap();
    }

    fn taken(
        graph: &Graph,
        path: &Path,
        part: &str,
        key: Option<&str>,
        matching: Matching,
    ) -> Result<Taken, RunError> {
        let mut parameters = Parameters::initial(graph, 0);
        let architecture = find("unet").unwrap();
        let wanted = Wanted {
            architecture,
            part,
            key,
            matching,
        };
        take(&mut parameters, graph, path, &wanted)
    }

    #[test]
    fn a_run_begins_with_a_network_behind_any_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let unet = find("unet").unwrap();
        let resnet = segmenta_zoo::find_encoder("resnet18").unwrap();
        let options = Options {
            encoder: Some(resnet),
            ..Options::new(2)
        };
        let graph = unet.build(&options).unwrap();
        let all = graph.parameters().len();
        let taken = |part, key, matching| taken(&graph, &path, part, key, matching);
        let by_name = |key| taken("", key, Matching::ByName);

        for prefix in ["", "module.", "state_dict.model.", "net._orig_mod."] {
            write(&path, &graph, |name| vec![format!("{prefix}{name}")]);
            let found = by_name(None).unwrap();
            assert_eq!((found.taken, found.beside), (all, 0), "{prefix}");
        }
        // Beside averaged weights of as many names; the key chooses.
        write(&path, &graph, |name| {
            vec![format!("ema.{name}"), format!("model.{name}")]
        });
        let found = by_name(None).unwrap();
        assert_eq!(
            (&*found.prefix, &found.others[..]),
            ("model.", &["ema.".to_string()][..])
        );
        assert!(
            found.summary(&path).contains("under ema"),
            "{}",
            found.summary(&path)
        );
        assert_eq!(by_name(Some("ema")).unwrap().prefix, "ema.");
        let error = by_name(Some("emma")).unwrap_err().to_string();
        assert!(
            error.contains("`emma`") && error.contains("`ema`, `model`"),
            "{error}"
        );
        // An encoder of a whole network, and an encoder alone.
        let of_encoder = graph
            .parameters()
            .iter()
            .filter(|p| p.name.starts_with("encoder."));
        let of_encoder = of_encoder.count();
        let found = taken("encoder.", None, Matching::ByName).unwrap();
        assert_eq!(
            (found.taken, &*found.prefix),
            (of_encoder, "model.encoder.")
        );
        write(&path, &graph, |name| {
            vec![format!("backbone.{}", name.replace("encoder.", ""))]
        });
        let found = taken("encoder.", None, Matching::ByName).unwrap();
        assert_eq!((found.taken, &*found.prefix), (of_encoder, "backbone."));
        // A network of ImageNet's classes.
        write(&path, &graph, |name| {
            let head = name.replace("segmentation_head.0", "fc");
            vec![head.replace("encoder.", "")]
        });
        let found = taken("encoder.", None, Matching::ByName).unwrap();
        assert_eq!(found.taken, of_encoder);
        let said = found.summary(&path);
        assert!(said.contains("the classifier `fc` among them"), "{said}");
        // The same layers in the same order, under another library's names, and others behind them.
        write(&path, &graph, |name| {
            vec![format!("zoo_{}", name.replace("encoder.", "features_"))]
        });
        let found = taken("encoder.", None, Matching::ByName).unwrap();
        let layers = graph
            .parameters()
            .iter()
            .filter(|p| p.name.starts_with("encoder.") && p.role != Role::Counter);
        assert_eq!((found.taken, found.missing.len()), (layers.count(), 0));
        let said = found.summary(&path);
        assert!(
            said.contains("`zoo_features_conv1.weight` as `conv1.weight`"),
            "{said}"
        );
        // One layer less.
        write(&path, &graph, |name| {
            let other = name.contains("layer1.0.conv1");
            vec![format!("zoo_{}", name.replace("encoder.", "features_"))]
                .into_iter()
                .filter(|_| !other)
                .collect()
        });
        assert!(taken("encoder.", None, Matching::ByName).is_err());
        // An author's own names.
        write(&path, &graph, |name| {
            vec![format!(
                "my.{}",
                name.replace("encoder", "z").replace("decoder", "a")
            )]
        });
        assert!(by_name(None).unwrap_err().to_string().contains("fit"));
        let layers = graph
            .parameters()
            .iter()
            .filter(|p| p.role != Role::Counter)
            .count();
        assert_eq!(taken("", None, Matching::ByOrder).unwrap().taken, layers);
    }
}
