//! Whose the weights are that a run begins with: what is trained from them is under their licence, too.

use segmenta_weights::{ModelCard, StateDict};
use serde::{Deserialize, Serialize};

use super::RunError;
use super::config::Found;

/// Weights that a run began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Where they come from, in words.
    source: String,
    /// Whether they are the encoder's alone.
    encoder: bool,
    /// Their licence, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
}

impl Origin {
    /// That of a file. A model file says its own licence.
    pub(super) fn of(found: &Found) -> Result<Self, RunError> {
        let licence = match &found.licence {
            Some(licence) => Some(licence.clone()),
            None => {
                let dict = StateDict::open(&found.path)?;
                let card = ModelCard::from_metadata(dict.metadata()).ok().flatten();
                card.and_then(|card| card.licence)
            }
        };
        Ok(Self {
            source: found.source.clone(),
            encoder: !found.part.is_empty(),
            licence,
        })
    }

    /// What a model file says of the licences of all that it began with; `None` where none is known.
    pub(super) fn licence(all: &[Self]) -> Option<String> {
        let one = |origin: &Self| {
            let what = if origin.encoder {
                "the encoder's weights"
            } else {
                "the weights"
            };
            let licence = origin.licence.as_ref()?;
            // One that is handed on says already whose it is.
            if licence.contains("trained from ") {
                return Some(licence.clone());
            }
            Some(format!("{licence} (trained from {what} {})", origin.source))
        };
        let mut said: Vec<String> = all.iter().filter_map(one).collect();
        said.dedup();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(licence: Option<&str>) -> Origin {
        Origin {
            source: "smp-hub/resnet18.ssl".into(),
            encoder: true,
            licence: licence.map(Into::into),
        }
    }

    #[test]
    fn a_licence_is_handed_on_with_whose_it_is() {
        assert_eq!(Origin::licence(&[origin(None)]), None);
        let said = Origin::licence(&[origin(Some("cc-by-nc-4.0"))]).unwrap();
        assert_eq!(
            said,
            "cc-by-nc-4.0 (trained from the encoder's weights smp-hub/resnet18.ssl)"
        );
        // What is trained from that in turn says the same.
        let again = Origin {
            encoder: false,
            ..origin(Some(&said))
        };
        assert_eq!(Origin::licence(&[again]), Some(said));
    }
}
