//! How a state dict differs from what a network expects, and what to try then.

use std::{collections::HashSet, fmt, path::PathBuf};

use crate::state_dict::StateDict;

/// A tensor that a network asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its state-dict name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether the network cannot do without it; one that is not required must only fit if present.
    pub required: bool,
}

/// Everything by which a state dict differs from what a network expects.
///
/// Its `Display` counts it all, shows the first names of each kind, and says what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The weight file (or `<memory>`).
    pub path: PathBuf,
    /// How many tensors the network requires.
    pub required: usize,
    /// Names that it requires and the file does not have.
    pub missing: Vec<String>,
    /// Names that the file has and the network does not know.
    pub unexpected: Vec<String>,
    /// Tensors of another shape.
    pub misshapen: Vec<Misshapen>,
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

/// Batch norm's count of training steps: no network computes with it, and old files lack it.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

impl Mismatch {
    /// Compares; `Ok` when nothing differs.
    pub(crate) fn between(dict: &StateDict, expected: &[Expected]) -> Result<(), Mismatch> {
        let wanted = || expected.iter().filter(|tensor| !is_counter(&tensor.name));
        let known: HashSet<&str> = wanted().map(|tensor| tensor.name.as_str()).collect();
        let mut mismatch = Mismatch {
            path: dict.where_from().to_path_buf(),
            required: wanted().filter(|tensor| tensor.required).count(),
            missing: Vec::new(),
            unexpected: Vec::new(),
            misshapen: Vec::new(),
        };
        for Expected {
            name,
            shape,
            required,
        } in wanted()
        {
            match dict.get(name) {
                Some(info) if info.shape == *shape => {}
                Some(info) => mismatch.misshapen.push(Misshapen {
                    name: name.clone(),
                    found: info.shape.clone(),
                    expected: shape.clone(),
                }),
                None if *required => mismatch.missing.push(name.clone()),
                None => {}
            }
        }
        let strangers = dict
            .names()
            .filter(|name| !known.contains(name) && !is_counter(name));
        mismatch.unexpected = strangers.map(str::to_string).collect();
        if mismatch.is_usable() && mismatch.unexpected.is_empty() {
            Ok(())
        } else {
            Err(mismatch)
        }
    }

    /// Whether the network could run all the same, because the file only has more than it needs
    /// (as an encoder's file has a classifier).
    pub fn is_usable(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }

    /// The number of classes in the file, when it is all that differs.
    ///
    /// A head's tensors then differ in one extent each, and by the same two numbers everywhere.
    pub fn classes(&self) -> Option<usize> {
        let mut pairs = self.misshapen.iter().map(Misshapen::only_difference);
        let first = pairs.next()??;
        let alone = self.missing.is_empty() && self.unexpected.is_empty();
        (alone && pairs.all(|pair| pair == Some(first))).then_some(first.0)
    }

    /// What stands before (or is lacking from) every name of the file, when that is all that differs:
    /// `(in the file, in the network)`, one of them empty.
    fn prefix(&self) -> Option<(&str, &str)> {
        let (missing, unexpected) = (self.missing.first()?, self.unexpected.as_slice());
        let longer = unexpected
            .iter()
            .find_map(|name| name.strip_suffix(missing.as_str()));
        let shorter = unexpected
            .iter()
            .find_map(|name| missing.strip_suffix(name.as_str()));
        let whole = |prefix: &&str| prefix.ends_with('.');
        longer
            .filter(whole)
            .map(|p| (p, ""))
            .or(shorter.filter(whole).map(|p| ("", p)))
    }

    /// What to try, in a sentence.
    fn remedy(&self) -> String {
        if let Some(classes) = self.classes() {
            return format!("the file is for {classes} classes: give --classes {classes}");
        }
        if self.is_usable() {
            return "the file has more than this network uses: another --model or --encoder \
                    may be the one it was made for"
                .into();
        }
        if self.missing.len() < self.required {
            return "the network is a near relative of the file's: try another --encoder, or the \
                    options with which it was built"
                .into();
        }
        match self.prefix() {
            Some((prefix, "")) => format!(
                "the file's names begin with `{prefix}`, the network's do not: the file is of a \
                 larger network; choose its --model"
            ),
            Some((_, prefix)) => format!(
                "the network's names begin with `{prefix}`, the file's do not: the file is of that \
                 part alone; choose another --model, or give it as the --encoder's weights"
            ),
            None => "the file is of another family: choose its --model and --encoder".into(),
        }
    }
}

impl Misshapen {
    /// The one extent that differs, `(found, expected)`; `None` when it is not exactly one.
    fn only_difference(&self) -> Option<(usize, usize)> {
        let pairs = self
            .found
            .iter()
            .copied()
            .zip(self.expected.iter().copied());
        let mut different = pairs.filter(|(found, expected)| found != expected);
        let first = different.next()?;
        let one = self.found.len() == self.expected.len() && different.next().is_none();
        one.then_some(first)
    }
}

/// How many names of each kind are shown.
const SHOWN: usize = 3;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch {
            path,
            required,
            missing,
            unexpected,
            misshapen,
        } = self;
        writeln!(f, "the weights do not fit the network · {}", path.display())?;
        let mut list = |kind: &str, count: usize, lines: Vec<String>| {
            if count == 0 {
                return Ok(());
            }
            writeln!(f, "  {kind}:")?;
            for line in lines {
                writeln!(f, "    {line}")?;
            }
            if count > SHOWN {
                writeln!(f, "    and {} more", count - SHOWN)
            } else {
                Ok(())
            }
        };
        let first = |names: &[String]| names.iter().take(SHOWN).cloned().collect();
        let kind = format!("{} of {required} missing", missing.len());
        list(&kind, missing.len(), first(missing))?;
        let kind = format!("{} unexpected", unexpected.len());
        list(&kind, unexpected.len(), first(unexpected))?;
        let kind = format!("{} of another shape", misshapen.len());
        let lines = misshapen.iter().take(SHOWN).map(
            |Misshapen {
                 name,
                 found,
                 expected,
             }| {
                format!("{name}: {found:?} in the file, {expected:?} in the network")
            },
        );
        list(&kind, misshapen.len(), lines.collect())?;
        write!(f, "  {}", self.remedy())
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_dict::Tensor;

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
        };
        tensors.iter().map(expect).collect()
    }

    #[test]
    fn counters_and_what_is_not_required_may_be_absent_or_present() {
        let wanted = expected(&[
            ("a", &[2]),
            ("bn.num_batches_tracked", &[]),
            ("aux.w", &[1]),
        ]);
        assert_eq!(dict(&[("a", &[2])]).check(&wanted), Ok(()));
        let more = dict(&[
            ("a", &[2]),
            ("other.num_batches_tracked", &[1]),
            ("aux.w", &[1]),
        ]);
        assert_eq!(more.check(&wanted), Ok(()));
        let wrong = dict(&[("a", &[2]), ("aux.w", &[3])])
            .check(&wanted)
            .unwrap_err();
        assert_eq!(wrong.misshapen.len(), 1);
    }

    #[test]
    fn another_number_of_classes_is_named() {
        let file = dict(&[
            ("x", &[8]),
            ("head.weight", &[21, 8, 1, 1]),
            ("head.bias", &[21]),
        ]);
        let wanted = [
            ("x", &[8][..]),
            ("head.weight", &[4, 8, 1, 1]),
            ("head.bias", &[4]),
        ];
        let mismatch = file.check(&expected(&wanted)).unwrap_err();
        assert_eq!(mismatch.classes(), Some(21));
        let text = mismatch.to_string();
        assert!(text.contains("2 of another shape"), "{text}");
        assert!(
            text.contains("head.bias: [21] in the file, [4] in the network"),
            "{text}"
        );
        assert!(text.ends_with("give --classes 21"), "{text}");
        // A wider layer elsewhere is no question of classes.
        let wider = [
            ("x", &[9][..]),
            ("head.weight", &[4, 8, 1, 1]),
            ("head.bias", &[4]),
        ];
        assert_eq!(file.check(&expected(&wider)).unwrap_err().classes(), None);
    }

    #[test]
    fn counts_all_and_shows_three() {
        let file = dict(&[
            ("u1", &[1]),
            ("u2", &[1]),
            ("u3", &[1]),
            ("u4", &[1]),
            ("u5", &[1]),
        ]);
        let mismatch = file.check(&expected(&[("m", &[1])])).unwrap_err();
        let text = mismatch.to_string();
        assert!(text.contains("1 of 1 missing:\n    m\n"), "{text}");
        assert!(
            text.contains("5 unexpected:\n    u1\n    u2\n    u3\n    and 2 more\n"),
            "{text}"
        );
        assert!(text.contains("another family"), "{text}");
    }

    #[test]
    fn another_prefix_is_named() {
        let file = dict(&[("features.0.weight", &[1])]);
        let wanted = expected(&[("encoder.features.0.weight", &[1])]);
        let text = file.check(&wanted).unwrap_err().to_string();
        assert!(
            text.contains("network's names begin with `encoder.`"),
            "{text}"
        );
        let file = dict(&[("net.features.0.weight", &[1])]);
        let text = file
            .check(&expected(&[("features.0.weight", &[1])]))
            .unwrap_err()
            .to_string();
        assert!(text.contains("file's names begin with `net.`"), "{text}");
    }
}
