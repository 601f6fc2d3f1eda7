//! How a state dict differs from what a network expects, and what is likely to be the matter.

use segmenta_files::count;
use std::{collections::HashSet, fmt, path::PathBuf};

use crate::{located::is_by_product, state_dict::StateDict};

/// A tensor that a network asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its state-dict name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether the wanted results cannot do without it; one that is not required may be absent, or of another
    /// shape, and then is not taken.
    pub required: bool,
    /// The name that an earlier version of its library gave it.
    pub former: Option<String>,
}

impl Expected {
    /// The names that it may have, today's first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.former.as_deref())
    }
}

/// Everything by which a state dict differs from what a network expects.
///
/// Its `Display` is one line: it counts all, and names the first of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The weight file (or `<memory>`).
    pub path: PathBuf,
    /// The prefix behind which the names were compared.
    pub prefix: String,
    /// How many tensors the network requires.
    pub required: usize,
    /// How many of them are there, in their shape.
    pub fitting: usize,
    /// Names that it requires and the file does not have.
    pub missing: Vec<String>,
    /// Names that the file has and the network does not know.
    pub unexpected: Vec<String>,
    /// Required tensors of another shape.
    pub misshapen: Vec<Misshapen>,
    /// A required tensor that the file has in parts, and what parted it.
    pub parted: Option<(String, &'static str)>,
}

/// A tensor whose shape in the file is not the network's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its state-dict name.
    pub name: String,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// The shape that the network needs.
    pub expected: Vec<usize>,
}

/// What is likely to be the matter where weights do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The file is for another number of classes, and all else fits.
    Classes {
        /// The file's number.
        found: usize,
        /// The network's.
        expected: usize,
    },
    /// Weights that are kept in parts from which a layer makes them: by `weight_norm`, `spectral_norm`, pruning.
    Parted {
        /// The tensor.
        name: String,
        /// What parted it.
        by: &'static str,
    },
    /// Some names fit: another encoder, or the same one with other options.
    Relative,
    /// The file is of that part of the network alone.
    Part(String),
    /// No name is the network's.
    Stranger,
}

/// What no network computes with here, and files may lack: batch norm's count of training steps, and Swin's table of
/// which pair of pixels has which distance, that the window's side says by itself.
pub(crate) fn is_derived(name: &str) -> bool {
    let leaf = name.rsplit('.').next();
    matches!(
        leaf,
        Some("num_batches_tracked" | "relative_position_index")
    )
}

/// Endings beside `weight` under which it is kept in parts, and what parts it.
const PARTS: [(&str, &str); 5] = [
    ("weight_g", "weight_norm"),
    ("weight_v", "weight_norm"),
    (
        "parametrizations.weight.original0",
        "a parametrization (weight_norm)",
    ),
    ("parametrizations.weight.original", "a parametrization"),
    ("weight_orig", "pruning or spectral_norm"),
];

impl Mismatch {
    /// Compares; `None` when nothing is in the way. `own` are the names in `dict` that are the network's.
    pub(crate) fn between(
        dict: &StateDict,
        expected: &[Expected],
        prefix: &str,
        own: &HashSet<String>,
    ) -> Option<Mismatch> {
        let required = || {
            expected
                .iter()
                .filter(|e| e.required && !is_derived(&e.name))
        };
        let mut mismatch = Mismatch {
            path: dict.where_from().to_path_buf(),
            prefix: prefix.into(),
            required: required().count(),
            fitting: 0,
            missing: Vec::new(),
            unexpected: Vec::new(),
            misshapen: Vec::new(),
            parted: None,
        };
        for wanted in required() {
            match wanted.names().find_map(|name| dict.get(name)) {
                Some(info) if info.shape == wanted.shape => mismatch.fitting += 1,
                Some(info) => mismatch.misshapen.push(Misshapen {
                    name: wanted.name.clone(),
                    found: info.shape.clone(),
                    expected: wanted.shape.clone(),
                }),
                None => {
                    if mismatch.parted.is_none() {
                        mismatch.parted = parted(dict, &wanted.name);
                    }
                    mismatch.missing.push(wanted.name.clone());
                }
            }
        }
        if mismatch.is_usable() {
            return None;
        }
        let strangers = dict
            .names()
            .filter(|name| !own.contains(*name) && !is_by_product(name));
        mismatch.unexpected = strangers.map(str::to_string).collect();
        Some(mismatch)
    }

    /// Of a file that has none of the names.
    pub(crate) fn of_strangers(dict: &StateDict, expected: &[Expected]) -> Mismatch {
        let mut mismatch = Mismatch {
            path: dict.where_from().to_path_buf(),
            prefix: String::new(),
            required: 0,
            fitting: 0,
            missing: Vec::new(),
            unexpected: dict.names().map(str::to_string).collect(),
            misshapen: Vec::new(),
            parted: None,
        };
        let required = expected
            .iter()
            .filter(|e| e.required && !is_derived(&e.name));
        mismatch.missing = required.map(|wanted| wanted.name.clone()).collect();
        mismatch.required = mismatch.missing.len();
        mismatch
    }

    /// Whether the network could run all the same, because the file only has more than it needs
    /// (as an encoder's file has a classifier).
    pub fn is_usable(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }

    /// The number of classes in the file and in the network, when it is all that differs.
    ///
    /// A head's tensors then differ in their first extent each, and by the same two numbers everywhere.
    fn classes(&self) -> Option<(usize, usize)> {
        let mut pairs = self.misshapen.iter().map(Misshapen::classes);
        let first = pairs.next()??;
        (self.missing.is_empty() && pairs.all(|pair| pair == Some(first))).then_some(first)
    }

    /// The part of the network that the file is of, when every name lacks it: `encoder.`.
    fn part(&self) -> Option<&str> {
        let ends = |missing: &String| {
            let names = self.unexpected.iter();
            let mut ends = names.filter_map(|name| missing.strip_suffix(name.as_str()));
            ends.find(|part| part.ends_with('.')).map(str::len)
        };
        let (missing, length) = self.missing.iter().find_map(|m| Some((m, ends(m)?)))?;
        Some(&missing[..length])
    }

    /// What is likely to be the matter.
    pub fn cause(&self) -> Cause {
        if let Some((found, expected)) = self.classes() {
            return Cause::Classes { found, expected };
        }
        if let Some((name, by)) = &self.parted {
            return Cause::Parted {
                name: name.clone(),
                by,
            };
        }
        if self.fitting + self.misshapen.len() > 0 {
            return Cause::Relative;
        }
        match self.part() {
            Some(part) => Cause::Part(part.into()),
            None => Cause::Stranger,
        }
    }

    /// What is wrong, and with which file: all of the message but how to mend it.
    pub fn problem(&self) -> String {
        let Mismatch {
            path,
            required,
            fitting,
            missing,
            unexpected,
            misshapen,
            prefix,
            ..
        } = self;
        let first = |names: &[String]| {
            let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect();
            let more = if names.len() > SHOWN { ", …" } else { "" };
            format!("{}{more}", shown.join(", "))
        };
        let place = match prefix.as_str() {
            "" => String::new(),
            prefix => format!(" (behind `{prefix}`)"),
        };
        let mut parts = vec![format!(
            "{fitting} of {} fit{place}",
            count(*required, "tensor")
        )];
        if !missing.is_empty() {
            parts.push(format!("{} missing ({})", missing.len(), first(missing)));
        }
        if !misshapen.is_empty() {
            let shown = misshapen.iter().take(SHOWN).map(|m| {
                format!(
                    "`{}` {:?} in the file, {:?} in the network",
                    m.name, m.found, m.expected
                )
            });
            let shown: Vec<String> = shown.collect();
            let more = if misshapen.len() > SHOWN { "; …" } else { "" };
            parts.push(format!(
                "{} of another shape ({}{more})",
                misshapen.len(),
                shown.join("; ")
            ));
        }
        if !unexpected.is_empty() {
            parts.push(format!(
                "{} unexpected ({})",
                unexpected.len(),
                first(unexpected)
            ));
        }
        format!(
            "the weights do not fit the network: {} · {}",
            parts.join(", "),
            path.display()
        )
    }
}

/// What keeps the tensor `name` in parts.
fn parted(dict: &StateDict, name: &str) -> Option<(String, &'static str)> {
    let module = name.strip_suffix("weight")?;
    let (_, by) = PARTS
        .iter()
        .find(|(part, _)| dict.get(&format!("{module}{part}")).is_some())?;
    Some((name.into(), by))
}

impl Misshapen {
    /// The first extents, `(found, expected)`, where nothing else differs.
    fn classes(&self) -> Option<(usize, usize)> {
        let (found, rest) = self.found.split_first()?;
        let (expected, others) = self.expected.split_first()?;
        (rest == others).then_some((*found, *expected))
    }
}

/// How many names of each kind are shown.
const SHOWN: usize = 3;

impl fmt::Display for Cause {
    /// How to mend it, of things.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Classes { found, .. } => write!(
                f,
                "the file is for {}: build the network so",
                count(*found, "class")
            ),
            Cause::Parted { name, by } => write!(
                f,
                "`{name}` is kept in parts by {by}: in Python, make it whole before saving \
                 (torch.nn.utils.remove_weight_norm, parametrize.remove_parametrizations, prune.remove)"
            ),
            Cause::Relative => f.write_str(
                "the network is a near relative of the file's: choose another encoder, or the options with which \
                 it was built",
            ),
            Cause::Part(part) => write!(
                f,
                "the network's names begin with `{part}`, the file's do not: the file is of that part alone; \
                 choose another network, or begin a training with it as that part's weights"
            ),
            Cause::Stranger => f.write_str(
                "the file is of another family: choose its network and encoder, or, if the names are their \
                 author's own, match them by order",
            ),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {}", self.problem(), self.cause())
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        located::{FindError, Search},
        state_dict::Tensor,
    };

    fn dict(tensors: &[(&str, &[usize])]) -> StateDict {
        StateDict::from_tensors(tensors.iter().map(|(name, shape)| {
            let zeros = vec![0.0; shape.iter().product()];
            ((*name).to_string(), Tensor::new(*shape, zeros))
        }))
    }

    fn expected(tensors: &[(&str, &[usize])]) -> Vec<Expected> {
        let expect = |(name, shape): &(&str, &[usize])| Expected {
            name: (*name).into(),
            shape: shape.to_vec(),
            required: !name.starts_with("aux"),
            former: None,
        };
        tensors.iter().map(expect).collect()
    }

    fn mismatch(file: &[(&str, &[usize])], network: &[(&str, &[usize])]) -> Mismatch {
        match dict(file).find(&expected(network), &Search::new()) {
            Err(FindError::Mismatch(mismatch)) => *mismatch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn counters_and_what_is_not_required_may_be_absent_or_of_another_shape() {
        let wanted = expected(&[
            ("a", &[2]),
            ("bn.num_batches_tracked", &[]),
            ("aux.w", &[1]),
        ]);
        let find =
            |file: &[(&str, &[usize])]| dict(file).find(&wanted, &Search::new()).unwrap().taken;
        assert_eq!(find(&[("a", &[2])]).summary(), None);
        let more = find(&[
            ("a", &[2]),
            ("other.num_batches_tracked", &[1]),
            ("attention.self.relative_position_index", &[9, 9]),
            ("aux.w", &[1]),
        ]);
        assert_eq!((more.entries, more.summary()), (2, None));
        let other = find(&[("a", &[2]), ("aux.w", &[3])]);
        assert_eq!(other.unneeded, ["aux.w"]);
        assert!(other.summary().unwrap().contains("`aux.w`"));
    }

    #[test]
    fn another_number_of_classes_is_named() {
        let file = [
            ("x", &[8][..]),
            ("head.weight", &[21, 8, 1, 1]),
            ("head.bias", &[21]),
        ];
        let network = [
            ("x", &[8][..]),
            ("head.weight", &[4, 8, 1, 1]),
            ("head.bias", &[4]),
        ];
        let found = mismatch(&file, &network);
        assert_eq!(
            found.cause(),
            Cause::Classes {
                found: 21,
                expected: 4
            }
        );
        let text = found.to_string();
        assert!(
            text.contains("1 of 3 tensors fit, 2 of another shape"),
            "{text}"
        );
        assert!(
            text.contains("`head.bias` [21] in the file, [4] in the network"),
            "{text}"
        );
        // A wider layer elsewhere is no question of classes.
        let wider = [
            ("x", &[9][..]),
            ("head.weight", &[4, 8, 1, 1]),
            ("head.bias", &[4]),
        ];
        assert_eq!(mismatch(&file, &wider).cause(), Cause::Relative);
        // Nor are a head's two tensors that disagree with each other.
        let file = [
            ("x", &[8][..]),
            ("head.weight", &[21, 8, 1, 1]),
            ("head.bias", &[3]),
        ];
        assert_eq!(mismatch(&file, &network).cause(), Cause::Relative);
    }

    #[test]
    fn counts_all_shows_three_in_one_line() {
        let file = [
            ("u1", &[1][..]),
            ("u2", &[1]),
            ("u3", &[1]),
            ("u4", &[1]),
            ("u5", &[1]),
        ];
        let text = mismatch(&file, &[("m", &[1])]).to_string();
        assert!(
            text.contains("0 of 1 tensor fit, 1 missing (`m`)"),
            "{text}"
        );
        assert!(
            text.contains("5 unexpected (`u1`, `u2`, `u3`, …)"),
            "{text}"
        );
        assert!(
            text.contains("another family") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn a_part_alone_and_weights_in_parts_are_named() {
        let found = mismatch(
            &[("features.0.weight", &[1])],
            &[("encoder.features.0.weight", &[1])],
        );
        assert_eq!(found.cause(), Cause::Part("encoder.".into()));
        for (parts, by) in [
            (["c.weight_g", "c.weight_v"], "weight_norm"),
            (
                ["c.weight_orig", "c.weight_mask"],
                "pruning or spectral_norm",
            ),
            (
                [
                    "c.parametrizations.weight.original0",
                    "c.parametrizations.weight.original1",
                ],
                "a parametrization (weight_norm)",
            ),
        ] {
            let file = [("b", &[1][..]), (parts[0], &[1]), (parts[1], &[1])];
            let found = mismatch(&file, &[("b", &[1]), ("c.weight", &[1])]);
            let name = "c.weight".to_string();
            assert_eq!(found.cause(), Cause::Parted { name, by });
        }
    }
}
