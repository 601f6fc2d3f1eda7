//! Classes of two lists matched by their names: those of a data set and those of a network.

use segmenta_files::count;
use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

/// By what classes of two lists are matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MatchBy {
    /// Their names, where both lists have any; otherwise their places.
    #[default]
    Name,
    /// Their places, whatever they are called.
    Place,
}

/// Which class of a network each class of the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassMatch {
    /// For each id of the data the network's; `None` where the network has no such class and none is needed.
    pub ids: Vec<Option<u8>>,
    /// Whether names were compared, or places taken.
    pub by: MatchBy,
}

/// Two lists of classes that do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassesDiffer {
    /// What is wrong, where not the names: `classes 1 and 4 are both called car`.
    pub problem: Option<String>,
    /// How many classes the data has.
    pub of_data: usize,
    /// How many the network has.
    pub of_network: usize,
    /// The data's classes that the network has not.
    pub data_only: Vec<String>,
    /// The network's that the data has not.
    pub network_only: Vec<String>,
}

impl ClassMatch {
    /// Matches the classes of the data with those of a network. Names are the same whatever their case, with blanks,
    /// `-` or `_` anywhere in them. Lists of placeholders (`class 3`) count as lists without names. `is_needed` says
    /// whether a class of the data counts at all: one that is ignored may be missing.
    ///
    /// # Errors
    /// A class that the network does not have, or two of one name.
    pub fn new(
        data: &[String],
        network: &[String],
        by: MatchBy,
        is_needed: impl Fn(usize) -> bool,
    ) -> Result<Self, Box<ClassesDiffer>> {
        let differ = |problem, data_only, network_only| {
            Box::new(ClassesDiffer {
                problem,
                of_data: data.len(),
                of_network: network.len(),
                data_only,
                network_only,
            })
        };
        if by == MatchBy::Place || !are_names(data) || !are_names(network) {
            let inside = |id: usize| (id < network.len()).then_some(id as u8);
            let ids: Vec<Option<u8>> = (0..data.len()).map(inside).collect();
            let missing = (0..data.len()).filter(|&id| ids[id].is_none() && is_needed(id));
            let missing: Vec<String> = missing.map(|id| data[id].clone()).collect();
            if !missing.is_empty() {
                return Err(differ(None, missing, Vec::new()));
            }
            let by = MatchBy::Place;
            return Ok(Self { ids, by });
        }
        let index = |names: &[String], whose: &str| {
            let mut places: HashMap<String, usize> = HashMap::new();
            for (id, name) in names.iter().enumerate() {
                if let Some(first) = places.insert(normal(name), id) {
                    let problem =
                        format!("classes {first} and {id} of the {whose} are both called {name}");
                    return Err(differ(Some(problem), Vec::new(), Vec::new()));
                }
            }
            Ok(places)
        };
        let (of_data, of_network) = (index(data, "data")?, index(network, "model")?);
        let ids = data.iter().map(|name| of_network.get(&normal(name)));
        let ids: Vec<Option<u8>> = ids.map(|id| id.map(|&id| id as u8)).collect();
        let missing = (0..data.len()).filter(|&id| ids[id].is_none() && is_needed(id));
        let data_only: Vec<String> = missing.map(|id| data[id].clone()).collect();
        if data_only.is_empty() {
            let by = MatchBy::Name;
            return Ok(Self { ids, by });
        }
        let spare = network
            .iter()
            .filter(|name| !of_data.contains_key(&normal(name)));
        Err(differ(None, data_only, spare.cloned().collect()))
    }

    /// Which class of the data a network tells from the rest: the one of its name, where both sides have names;
    /// otherwise the last. It becomes id 1, all others 0.
    ///
    /// # Errors
    /// No class of that name, or two.
    pub fn one_class(data: &[String], name: &str, by: MatchBy) -> Result<Self, Box<ClassesDiffer>> {
        let differ = |problem| {
            Box::new(ClassesDiffer {
                problem,
                of_data: data.len(),
                of_network: 2,
                data_only: data
                    .iter()
                    .filter(|name| !is_placeholder(name))
                    .cloned()
                    .collect(),
                network_only: vec![name.to_owned()],
            })
        };
        let by_place = by == MatchBy::Place || !are_names(data) || is_placeholder(name);
        let class = if by_place {
            // A background alone has nothing to be told from it.
            let last = data.len().checked_sub(1);
            last.filter(|&last| last > 0 || !is_placeholder(&data[last]))
        } else {
            let called = |other: &String| normal(other) == normal(name);
            let mut found = (0..data.len()).filter(|&id| called(&data[id]));
            let class = found.next().ok_or_else(|| differ(None))?;
            if let Some(second) = found.next() {
                let problem =
                    format!("classes {class} and {second} of the data are both called {name}");
                return Err(differ(Some(problem)));
            }
            Some(class)
        };
        Ok(Self {
            ids: (0..data.len())
                .map(|id| Some(u8::from(Some(id) == class)))
                .collect(),
            by: if by_place {
                MatchBy::Place
            } else {
                MatchBy::Name
            },
        })
    }

    /// Whether any class has another id in the network.
    pub fn renumbers(&self) -> bool {
        let mut ids = self.ids.iter().enumerate();
        ids.any(|(id, &other)| other.is_some_and(|other| usize::from(other) != id))
    }
}

/// Whether a list has names of its own: one that no program made up.
pub fn are_names(names: &[String]) -> bool {
    names.iter().any(|name| !is_placeholder(name))
}

/// `class 3`, `3`, and what one class is called where nobody named it; the background says nothing of the others.
fn is_placeholder(name: &str) -> bool {
    let name = normal(name);
    let rest = name
        .strip_prefix("class")
        .or_else(|| name.strip_prefix("label"))
        .unwrap_or(&name);
    rest.chars().all(|c| c.is_ascii_digit()) || matches!(&*name, "background" | "foreground")
}

/// Whether two classes have the same name, whatever its case, blanks, `-` and `_`.
pub fn same_name(a: &str, b: &str) -> bool {
    normal(a) == normal(b)
}

/// A name as it is compared.
fn normal(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-') && !c.is_whitespace());
    let name: String = kept.flat_map(char::to_lowercase).collect();
    if name == "bg" {
        "background".into()
    } else {
        name
    }
}

impl std::error::Error for ClassesDiffer {}

impl fmt::Display for ClassesDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(problem) = &self.problem {
            return write!(f, "{problem}");
        }
        let list = |names: &[String]| {
            let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
            let more = if names.len() > 8 { ", …" } else { "" };
            format!("{}{more}", shown.join(", "))
        };
        let Self {
            of_data,
            of_network,
            data_only,
            network_only,
            ..
        } = self;
        if network_only.is_empty() {
            return write!(
                f,
                "{} in the data, {of_network} in the model, which has no {}",
                count(*of_data, "class"),
                list(data_only)
            );
        }
        write!(
            f,
            "the model has no class {} of the data, but {}",
            list(data_only),
            list(network_only)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(
        data: &[&str],
        network: &[&str],
        by: MatchBy,
    ) -> Result<(Vec<Option<u8>>, MatchBy), String> {
        let [data, network] =
            [data, network].map(|names| names.iter().map(|&n| n.into()).collect::<Vec<String>>());
        ClassMatch::new(&data, &network, by, |_| true)
            .map(|found| (found.ids, found.by))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_go_before_places() {
        use MatchBy::{Name, Place};
        let ids = |ids: &[u8]| ids.iter().map(|&id| Some(id)).collect::<Vec<_>>();
        let named = |data, network| matched(data, network, Name).unwrap();
        assert_eq!(
            named(&["bg", "cat", "dog"], &["background", "dog", "cat"]),
            (ids(&[0, 2, 1]), Name)
        );
        assert_eq!(
            named(&["Traffic Light"], &["road", "traffic_light"]),
            (ids(&[1]), Name)
        );
        assert_eq!(
            named(
                &["background", "tv-monitor"],
                &["__background__", "tvmonitor"]
            ),
            (ids(&[0, 1]), Name)
        );
        // Made-up names are none.
        assert_eq!(
            named(&["class 0", "class 1"], &["cat", "dog"]),
            (ids(&[0, 1]), Place)
        );
        assert_eq!(
            named(&["bg", "nucleus"], &["background", "foreground"]),
            (ids(&[0, 1]), Place)
        );
        // By place where somebody insists.
        assert_eq!(
            matched(&["cat", "dog"], &["dog", "cat"], Place).unwrap(),
            (ids(&[0, 1]), Place)
        );
    }

    #[test]
    fn lists_that_do_not_agree_are_refused_in_words() {
        let refused = |data, network| matched(data, network, MatchBy::Name).unwrap_err();
        let text = refused(&["bg", "wolf", "cat"], &["bg", "cat", "dog"]);
        assert_eq!(text, "the model has no class wolf of the data, but dog");
        let text = refused(&["bg", "cat", "dog", "owl"], &["bg", "cat", "dog"]);
        assert_eq!(
            text,
            "4 classes in the data, 3 in the model, which has no owl"
        );
        let text = refused(&["class 0", "class 1", "class 2"], &["bg", "cat"]);
        assert_eq!(
            text,
            "3 classes in the data, 2 in the model, which has no class 2"
        );
        let text = refused(&["bg", "Cat", "cat"], &["bg", "cat", "dog"]);
        assert!(
            text.contains("classes 1 and 2 of the data are both called cat"),
            "{text}"
        );
    }

    #[test]
    fn a_binary_network_tells_the_class_of_its_name() {
        let ids = |data: &[&str], name: &str| {
            let data: Vec<String> = data.iter().map(|&n| n.into()).collect();
            let found = ClassMatch::one_class(&data, name, MatchBy::Name);
            found.map(|found| {
                found
                    .ids
                    .into_iter()
                    .map(Option::unwrap)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(ids(&["bg", "cat", "dog"], "Cat").unwrap(), [0, 1, 0]);
        assert_eq!(ids(&["class 0", "class 1"], "cat").unwrap(), [0, 1]);
        assert_eq!(ids(&["bg", "cat", "dog"], "foreground").unwrap(), [0, 0, 1]);
        // Masks of nothing but 0 show no class.
        assert_eq!(ids(&["class 0"], "cat").unwrap(), [0]);
        let error = ids(&["bg", "dog"], "cat").unwrap_err().to_string();
        assert_eq!(error, "the model has no class dog of the data, but cat");
    }

    #[test]
    fn a_class_that_counts_nowhere_may_be_missing() {
        let [data, network] = [
            ["bg", "cat", "owl"].map(String::from),
            ["cat", "bg", "dog"].map(String::from),
        ];
        let found = ClassMatch::new(&data, &network, MatchBy::Name, |id| id != 2).unwrap();
        assert_eq!(found.ids, [Some(1), Some(0), None]);
        assert!(found.renumbers());
    }
}
