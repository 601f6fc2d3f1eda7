//! The rows of a network that belong to its classes, taken from a file by the classes' names.
//!
//! A model file names its classes. Where a run has the same classes in another order, rows taken by place would begin
//! as other classes; so they go where their names are, and those of classes that the file does not have begin fresh.

use segmenta_data::{are_names, same_name};
use segmenta_graph::Graph;
use segmenta_weights::{ModelCard, StateDict};

use super::RunError;
use super::config::{Config, Found};
use super::session::graph;
use crate::engine::Parameters;

/// The entries of a network that have a place for each class.
pub(super) struct Heads {
    entries: Vec<Head>,
    classes: usize,
}

struct Head {
    /// Its place among the parameters.
    at: usize,
    shape: Vec<usize>,
    /// For each axis whether it counts classes.
    axes: Vec<bool>,
}

impl Heads {
    /// Those of a run's network: the entries that have another shape in the same network of one class more.
    pub(super) fn of(config: &Config, classes: usize, own: &Graph) -> Result<Self, RunError> {
        // One class more than the most is one less.
        let other = graph(
            config,
            if classes < 255 {
                classes + 1
            } else {
                classes - 1
            },
        )?;
        let pairs = own.parameters().iter().zip(other.parameters()).enumerate();
        let entries = pairs.filter(|(_, (own, other))| own.shape != other.shape);
        let head = |(at, (own, other)): (
            usize,
            (&segmenta_graph::Parameter, &segmenta_graph::Parameter),
        )| Head {
            at,
            shape: own.shape.clone(),
            axes: own
                .shape
                .iter()
                .zip(&other.shape)
                .map(|(a, b)| a != b)
                .collect(),
        };
        Ok(Self {
            entries: entries.map(head).collect(),
            classes,
        })
    }

    /// Their values.
    pub(super) fn values(&self, parameters: &Parameters) -> Result<Vec<Vec<f32>>, RunError> {
        let values = |head: &Head| Ok(parameters.values(head.at)?.into_owned());
        self.entries.iter().map(values).collect()
    }

    /// Puts what was taken from a file where the names of its classes are; `names` are the run's, `fresh` the values
    /// before. What was done, in words; `None` where nothing was.
    pub(super) fn by_name(
        &self,
        parameters: &mut Parameters,
        fresh: &[Vec<f32>],
        file: &Found,
        names: &[String],
    ) -> Result<Option<String>, RunError> {
        let dict = StateDict::open(&file.path)?;
        let card = ModelCard::from_metadata(dict.metadata()).ok().flatten();
        let theirs = card.map_or_else(|| file.classes.clone(), |card| card.classes);
        // One channel has one name, behind a background that has none.
        let names = &names[usize::from(self.classes == 1)..];
        if theirs.len() != self.classes
            || names.len() != self.classes
            || !are_names(&theirs)
            || !are_names(names)
        {
            return Ok(None);
        }
        let from: Vec<Option<usize>> = names
            .iter()
            .map(|name| theirs.iter().position(|other| same_name(name, other)))
            .collect();
        if from.iter().enumerate().all(|(id, from)| *from == Some(id)) {
            return Ok(None);
        }
        for (head, fresh) in self.entries.iter().zip(fresh) {
            let taken = parameters.values(head.at)?;
            let arranged = head.arranged(&taken, fresh, &from);
            parameters.set(head.at, arranged);
        }
        let unknown: Vec<&str> = names
            .iter()
            .zip(&from)
            .filter(|(_, from)| from.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        Ok(Some(match unknown.as_slice() {
            [] => {
                "its classes stand in another order: the last layer is taken by their names".into()
            }
            unknown => format!(
                "it has no class {}: the last layer is taken by the classes' names and begins fresh for the others",
                unknown.join(", ")
            ),
        }))
    }
}

impl Head {
    /// The values of a file, `from` naming its class for each of the run's; `fresh` ones where it has none.
    fn arranged(&self, taken: &[f32], fresh: &[f32], from: &[Option<usize>]) -> Vec<f32> {
        let value = |(at, &fresh): (usize, &f32)| {
            let (mut rest, mut source, mut stride) = (at, 0, 1);
            for (&extent, &is_class) in self.shape.iter().zip(&self.axes).rev() {
                let place = rest % extent;
                rest /= extent;
                let place = if is_class {
                    // Fresh where any of its classes is not in the file.
                    from.get(place).copied().flatten()
                } else {
                    Some(place)
                };
                let Some(place) = place else { return fresh };
                source += place * stride;
                stride *= extent;
            }
            taken[source]
        };
        fresh.iter().enumerate().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use segmenta_weights::save;

    use super::*;

    /// A file of a U-Net whose classes are `theirs`, begun from by a run whose are `ours`: the rows of the head's
    /// weight that the file has, that the run has, and that are fresh; what was said.
    fn begun(theirs: &[&str], ours: &[&str]) -> ([Vec<f32>; 3], Option<String>) {
        let set = |n: usize| vec![format!("model.classes={n}")];
        let recipe = "[model]\narch = \"unet\"\nencoder = \"mobilenet_v2\"\n";
        let config = Config::parse(recipe, &set(ours.len()), "the test").unwrap();
        let network = graph(&config, ours.len()).unwrap();
        let heads = Heads::of(&config, ours.len(), &network).unwrap();
        let names: Vec<&str> = heads
            .entries
            .iter()
            .map(|head| &*network.parameters()[head.at].name)
            .collect();
        assert_eq!(
            names,
            ["segmentation_head.0.weight", "segmentation_head.0.bias"]
        );
        let [taken, mut parameters] = [1, 2].map(|seed| Parameters::initial(&network, seed));
        let card = serde_json::json!({
            "format-version": segmenta_weights::CARD_VERSION, "architecture": "unet", "encoder": "mobilenet_v2",
            "classes": theirs, "in-channels": 3,
            "preprocessing": {"resize": "none", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        });
        let card: ModelCard = serde_json::from_value(card).unwrap();
        let metadata: BTreeMap<String, String> = card.to_metadata().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        let values = [0.5_f32];
        save(&file, &[("x", &[1][..], &values[..])], &metadata).unwrap();
        // As `take` leaves them: by place.
        let fresh = heads.values(&parameters).unwrap();
        for head in &heads.entries {
            parameters.set(head.at, taken.values(head.at).unwrap().into_owned());
        }
        let names: Vec<String> = ours.iter().map(|&name| name.into()).collect();
        let found = Found {
            path: file,
            source: String::new(),
            licence: None,
            part: "",
            classes: Vec::new(),
        };
        let said = heads
            .by_name(&mut parameters, &fresh, &found, &names)
            .unwrap();
        let at = heads.entries[0].at;
        let rows = [
            taken.values(at).unwrap().into_owned(),
            parameters.values(at).unwrap().into_owned(),
            fresh[0].clone(),
        ];
        (rows, said)
    }

    #[test]
    fn a_file_whose_classes_stand_otherwise_gives_them_by_name() {
        let row = |values: &[f32], class: usize| values[class * 144..][..144].to_vec();
        let ([file, run, _], said) = begun(&["bg", "cat", "dog"], &["background", "Dog", "cat"]);
        assert!(said.unwrap().contains("another order"));
        for (class, from) in [(0, 0), (1, 2), (2, 1)] {
            assert_eq!(row(&run, class), row(&file, from), "class {class}");
        }
        let ([file, run, fresh], said) = begun(&["bg", "cat", "dog"], &["bg", "owl", "cat"]);
        assert!(said.unwrap().contains("no class owl"));
        assert_eq!(
            (row(&run, 1), row(&run, 2)),
            (row(&fresh, 1), row(&file, 1))
        );
        // The same names, and names that nobody gave, are taken by place.
        for names in [["bg", "cat", "dog"], ["class 0", "class 1", "class 2"]] {
            let ([file, run, _], said) = begun(&["bg", "cat", "dog"], &names);
            assert_eq!((run, said), (file, None));
        }
    }

    #[test]
    fn a_file_without_a_card_goes_by_the_names_that_were_found_with_it() {
        let recipe = "[model]\narch = \"unet\"\nencoder = \"mobilenet_v2\"\n";
        let config = Config::parse(recipe, &[], "the test").unwrap();
        let network = graph(&config, 2).unwrap();
        let heads = Heads::of(&config, 2, &network).unwrap();
        let mut parameters = Parameters::initial(&network, 1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        save(&path, &[("x", &[1][..], &[0.5_f32][..])], &[].into()).unwrap();
        let names = |names: [&str; 2]| names.map(String::from).to_vec();
        let found = Found {
            path,
            source: String::new(),
            licence: None,
            part: "",
            classes: names(["road", "sky"]),
        };
        let taken = heads.values(&parameters).unwrap();
        let said = heads
            .by_name(&mut parameters, &taken, &found, &names(["sky", "road"]))
            .unwrap();
        assert!(said.unwrap().contains("another order"));
        let [row, after] = [&taken[0], &heads.values(&parameters).unwrap()[0]].map(Clone::clone);
        assert_eq!(row[..144], after[144..]);
    }

    #[test]
    fn rows_go_where_their_names_are() {
        let head = Head {
            at: 0,
            shape: vec![3, 2],
            axes: vec![true, false],
        };
        let taken = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0];
        let arranged = head.arranged(&taken, &[-1.0; 6], &[Some(0), Some(2), None]);
        assert_eq!(arranged, [0.0, 1.0, 20.0, 21.0, -1.0, -1.0]);
        let square = Head {
            at: 0,
            shape: vec![2, 2],
            axes: vec![true, true],
        };
        assert_eq!(
            square.arranged(&[1.0, 2.0, 3.0, 4.0], &[0.0; 4], &[Some(1), Some(0)]),
            [4.0, 3.0, 2.0, 1.0]
        );
    }
}
