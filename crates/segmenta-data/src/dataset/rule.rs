//! The rule by which the values in a data set's mask files stand for classes.

use std::fmt;
use std::str::FromStr;

use segmenta_image::VOID;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Which class each value in a mask file stands for. One rule holds for a whole data set.
///
/// As text: `ids`, `from-one`, or the value of each class in the order of ids with `/` between them: `0/255`,
/// `1/2/3`; `7/8/11/rest-ignored` where values that are not listed are no class instead of mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum MaskRule {
    /// A value is the id of a class; 255 is no class.
    Ids,
    /// A value is the id of a class plus 1; 0 and 255 are no class.
    FromOne,
    /// The value of each class, in the order of ids.
    Listed {
        /// The values, each different.
        values: Vec<u8>,
        /// Whether all other values are no class; otherwise they break the rule.
        rest_ignored: bool,
    },
}

impl MaskRule {
    /// One class before a background: `0/255`.
    pub fn white_on_black() -> Self {
        Self::listed(&[0, VOID])
    }

    /// The value of each class, in the order of ids; any other breaks the rule.
    pub fn listed(values: &[u8]) -> Self {
        Self::Listed {
            values: values.to_vec(),
            rest_ignored: false,
        }
    }

    /// Whether the rule itself makes a value no class.
    pub(crate) fn ignores(&self, value: u8) -> bool {
        match self {
            Self::Ids => value == VOID,
            Self::FromOne => value == VOID || value == 0,
            Self::Listed {
                values,
                rest_ignored,
            } => *rest_ignored && !values.contains(&value),
        }
    }

    /// The id, below `classes`, that a value stands for; 255 where it is no class, `None` where it breaks the rule.
    pub(crate) fn id(&self, value: u8, classes: usize) -> Option<u8> {
        let known = |id: &u8| usize::from(*id) < classes;
        let id = match self {
            Self::Ids => Some(value).filter(known),
            Self::FromOne => value.checked_sub(1).filter(known),
            Self::Listed { values, .. } => {
                let place = values.iter().position(|&listed| listed == value);
                place.map(|place| place as u8)
            }
        };
        id.or_else(|| self.ignores(value).then_some(VOID))
    }
}

impl fmt::Display for MaskRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids => f.write_str("ids"),
            Self::FromOne => f.write_str("from-one"),
            Self::Listed {
                values,
                rest_ignored,
            } => {
                let values: Vec<String> = values.iter().map(u8::to_string).collect();
                f.write_str(&values.join("/"))?;
                f.write_str(if *rest_ignored { "/rest-ignored" } else { "" })
            }
        }
    }
}

impl FromStr for MaskRule {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let wrong = |what: String| {
            let remedy =
                "say ids, 0/255, from-one, or the value of each class in the order of ids: 1/2/3";
            DataError::setting(what, "masks", remedy)
        };
        let lower = text.trim().to_ascii_lowercase();
        match &*lower {
            "ids" => return Ok(Self::Ids),
            "from-one" => return Ok(Self::FromOne),
            _ => {}
        }
        let listed = lower.strip_suffix("/rest-ignored");
        let mut values = Vec::new();
        for part in listed.unwrap_or(&lower).split('/') {
            let Ok(value) = part.trim().parse::<u8>() else {
                return Err(wrong(format!(
                    "`{text}` is no rule for the values of masks"
                )));
            };
            if values.contains(&value) {
                return Err(wrong(format!(
                    "`{text}` gives value {value} to two classes"
                )));
            }
            values.push(value);
        }
        if values.len() == 256 {
            return Err(wrong("256 classes, where 255 is the most".into()));
        }
        Ok(Self::Listed {
            values,
            rest_ignored: listed.is_some(),
        })
    }
}

impl From<MaskRule> for String {
    fn from(rule: MaskRule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for MaskRule {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

/// Who says which rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RuleOrigin {
    /// The user.
    Told,
    /// The layout: its masks are always so.
    Layout,
    /// The list of classes: three or more have ids.
    Classes,
    /// The values in all masks.
    Found,
}

/// What the values of a data set's masks mean, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MaskMeaning {
    /// The rule.
    pub rule: MaskRule,
    /// Values that count nowhere beside those that the rule leaves out: the user's, and those of classes whose name
    /// says that they are none (`void`, `unlabelled`).
    pub ignored: Vec<u8>,
    /// Who says so.
    pub by: RuleOrigin,
    /// What speaks for it, in words.
    pub evidence: String,
}

impl MaskMeaning {
    /// Whether pixels of this value in a mask file count nowhere.
    pub fn ignores(&self, value: u8) -> bool {
        self.ignored.contains(&value) || self.rule.ignores(value)
    }

    /// Which pixels count nowhere, as protocols of scores say it: `pixels labelled 11, 255 ignored`.
    pub fn ignored_words(&self) -> String {
        if let MaskRule::Listed {
            values,
            rest_ignored: true,
        } = &self.rule
        {
            let kept = values.iter().filter(|value| !self.ignored.contains(value));
            let kept: Vec<String> = kept.map(u8::to_string).collect();
            return format!("pixels labelled otherwise than {} ignored", kept.join(", "));
        }
        let all = (0..=255).filter(|&value| self.ignores(value));
        let all: Vec<String> = all.map(|value: u8| value.to_string()).collect();
        if all.is_empty() {
            "no pixel ignored".into()
        } else {
            format!("pixels labelled {} ignored", all.join(", "))
        }
    }
}

impl fmt::Display for MaskMeaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match &self.rule {
            MaskRule::Ids => ": a value is the id of its class".into(),
            MaskRule::FromOne => ": a value is the id of its class plus 1".into(),
            MaskRule::Listed { values, .. } if values.len() == 2 => {
                format!(": {} is class 0, {} is class 1", values[0], values[1])
            }
            MaskRule::Listed { .. } => {
                ": the values of the classes in the order of their ids".to_string()
            }
        };
        write!(f, "{}{meaning}; {}", self.rule, self.ignored_words())?;
        write!(f, " ({})", self.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for text in [
            "ids",
            "from-one",
            "0/255",
            "1/2/3",
            "7/8/11/rest-ignored",
            "1",
        ] {
            assert_eq!(text.parse::<MaskRule>().unwrap().to_string(), text);
        }
        assert_eq!(" IDs ".parse::<MaskRule>().unwrap(), MaskRule::Ids);
        for wrong in [
            "",
            "binary",
            "0/256",
            "0//1",
            "1/1",
            "0/-1",
            "rest-ignored",
            "masks/{}.png",
        ] {
            let error = wrong.parse::<MaskRule>().unwrap_err().to_string();
            assert!(error.contains("0/255"), "{error}");
        }
        let all: Vec<String> = (0..=255).map(|v: u8| v.to_string()).collect();
        assert!(all.join("/").parse::<MaskRule>().is_err());
    }

    #[test]
    fn what_counts_nowhere_is_what_is_said() {
        let words = |rule: &str, ignored: &[u8]| {
            MaskMeaning {
                rule: rule.parse().unwrap(),
                ignored: ignored.to_vec(),
                by: RuleOrigin::Told,
                evidence: String::new(),
            }
            .ignored_words()
        };
        assert_eq!(words("ids", &[11]), "pixels labelled 11, 255 ignored");
        assert_eq!(words("0/255", &[]), "no pixel ignored");
        assert_eq!(words("0/255", &[128]), "pixels labelled 128 ignored");
        assert_eq!(words("from-one", &[]), "pixels labelled 0, 255 ignored");
        assert_eq!(
            words("7/8/9/rest-ignored", &[8]),
            "pixels labelled otherwise than 7, 9 ignored"
        );
    }
}
