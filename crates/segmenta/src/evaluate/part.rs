//! Which part of a data set a model is measured on, and whether it has learned from it.

use std::collections::HashSet;
use std::path::Path;

use segmenta_data::{DataError, Dataset, Item, LearnedLists, Split};
use segmenta_weights::{ModelCard, StateDict};

/// The folder of a run's lists, beside its model file.
const LISTS: &str = "lists";

/// What is known of the pictures that a model file's run learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Learned {
    /// The file is of no run, or of an earlier version's: nothing is known.
    Unknown,
    /// The run's lists, found beside the file.
    Lists(LearnedLists),
    /// The file says that there are lists, and beside it there are none, or others: it was moved out of its run.
    Elsewhere,
}

impl Learned {
    /// Of a model file, whose card has the digest of the lists in `lists/` beside it.
    ///
    /// # Errors
    /// A list that is there and cannot be read.
    pub fn of(weights: &Path) -> Result<Self, DataError> {
        // What is wrong with the file itself is told where the model is loaded.
        let dict = StateDict::open(weights).ok();
        let card = dict.and_then(|dict| ModelCard::from_metadata(dict.metadata()).ok().flatten());
        let digest = card
            .and_then(|card| card.training)
            .and_then(|training| Some(training.get("lists")?.get("digest")?.as_str()?.to_owned()));
        let Some(digest) = digest else {
            return Ok(Self::Unknown);
        };
        let folder = weights.parent().unwrap_or(Path::new("")).join(LISTS);
        let lists = LearnedLists::read(&folder)?;
        Ok(match lists.filter(|lists| lists.digest() == digest) {
            Some(lists) => Self::Lists(lists),
            None => Self::Elsewhere,
        })
    }

    fn lists(&self) -> Option<&LearnedLists> {
        match self {
            Self::Lists(lists) => Some(lists),
            Self::Unknown | Self::Elsewhere => None,
        }
    }
}

/// The part that is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WantedPart {
    /// What the run kept to be measured on, where the data are the run's; otherwise the split `test`, or `val`, or all.
    #[default]
    Kept,
    /// A split of the data set, or where it has none the run's list of that name.
    Split(Split),
    /// All pictures.
    All,
}

/// Pictures to measure on, with what a score of them has to say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Part {
    /// The pictures.
    pub dataset: Dataset,
    /// What they are, in words: `the run's validation list`, `the split test`, `all pictures`.
    pub name: String,
    /// The names of those that have the name of a picture that was learned from.
    pub learned_from: Vec<String>,
}

impl Part {
    /// The wanted part of a data set; `None` where there is no such split.
    pub fn of(dataset: &Dataset, wanted: WantedPart, learned: &Learned) -> Option<Self> {
        let lists = learned.lists();
        let own = lists.filter(|lists| lists.are_of(dataset));
        let split = |split| (dataset.only(split), format!("the split {split}"));
        let all = || (dataset.clone(), "all pictures".to_owned());
        let kept = |lists: &LearnedLists| {
            let part = lists.only(dataset, Split::Val);
            (part, "the run's validation list".to_owned())
        };
        let (part, name) = match (wanted, own) {
            (WantedPart::All, _) => all(),
            (WantedPart::Split(wanted), _) if dataset.has(wanted) => split(wanted),
            (WantedPart::Split(Split::Val) | WantedPart::Kept, Some(lists)) => kept(lists),
            (WantedPart::Split(Split::Train), Some(lists)) => {
                let part = lists.only(dataset, Split::Train);
                (part, "the run's training list".into())
            }
            (WantedPart::Split(_), _) => return None,
            (WantedPart::Kept, None) => {
                let mut splits = [Split::Test, Split::Val].into_iter();
                splits
                    .find(|&split| dataset.has(split))
                    .map_or_else(all, split)
            }
        };
        let training = lists.map_or(&[][..], |lists| &lists.training);
        let training: HashSet<&str> = training.iter().map(String::as_str).collect();
        let names = part.items().iter().map(Item::name);
        let learned_from = names.filter(|name| training.contains(name));
        Some(Self {
            learned_from: learned_from.map(Into::into).collect(),
            dataset: part,
            name,
        })
    }
}
