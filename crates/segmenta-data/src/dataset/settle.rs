//! Which classes a data set has and what its masks' values mean: as the user says, as the layout or a list of classes
//! says, or as all masks show.

use segmenta_files::count;
use std::path::Path;

use super::classes::{check_names, is_no_class, read_names};
use super::infer::Seen;
use super::{ClassNote, Classes, Item, Kind, Listing, MaskMeaning, MaskRule, Open, RuleOrigin};
use crate::DataError;

/// What was settled.
pub(super) struct Settled {
    pub(super) classes: Classes,
    pub(super) meaning: MaskMeaning,
    pub(super) notes: Vec<ClassNote>,
}

pub(super) fn settle(
    kind: Kind,
    root: &Path,
    open: &Open,
    listing: &Listing,
) -> Result<Settled, DataError> {
    if let Some(names) = &open.classes {
        check_names(names, "classes")?;
    }
    if let Some(MaskRule::Listed { values, .. }) = &open.rule
        && let Some(value) = open.ignore.iter().find(|value| values.contains(value))
    {
        return Err(DataError::setting(
            format!("value {value} is a class and no class"),
            "masks, ignore",
            "leave it out of one of them",
        ));
    }
    let has_files = listing.items.iter().any(|item| item.mask_path().is_some());
    if let Some(rule) = open
        .rule
        .as_ref()
        .filter(|_| kind != Kind::Folder && !has_files)
    {
        return Err(DataError::setting(
            format!("the rule {rule} for masks, where there is no file of a mask"),
            "masks",
            format!("leave it out: {kind} has {}", kind.layout()),
        ));
    }
    match &listing.rule {
        Some(rule) => of_layout(kind, open, listing, rule),
        None if kind == Kind::Folder => of_folder(root, open, &listing.items),
        None => Ok(Settled {
            classes: match &open.classes {
                Some(names) => Classes::new(names.clone()),
                None => listing.classes.clone(),
            },
            meaning: meaning(MaskRule::Ids, open, RuleOrigin::Layout, "no masks"),
            notes: Vec::new(),
        }),
    }
}

fn meaning(
    rule: MaskRule,
    open: &Open,
    by: RuleOrigin,
    evidence: impl Into<String>,
) -> MaskMeaning {
    let mut ignored = open.ignore.clone();
    ignored.sort_unstable();
    ignored.dedup();
    MaskMeaning {
        rule,
        ignored,
        by,
        evidence: evidence.into(),
    }
}

/// Of a layout that knows its classes and its masks.
fn of_layout(
    kind: Kind,
    open: &Open,
    listing: &Listing,
    rule: &MaskRule,
) -> Result<Settled, DataError> {
    let known = &listing.classes;
    let classes = match &open.classes {
        None => known.clone(),
        Some(names) if names.len() == known.len() => known.renamed(names.clone()),
        Some(names) => {
            return Err(DataError::setting(
                format!(
                    "{}, where {kind} has {}",
                    count(names.len(), "class"),
                    known.len()
                ),
                "classes",
                "leave them out, or name as many",
            ));
        }
    };
    let mut meaning = match &open.rule {
        Some(told) => {
            fits(told, classes.len())?;
            meaning(told.clone(), open, RuleOrigin::Told, TOLD)
        }
        None => meaning(
            rule.clone(),
            open,
            RuleOrigin::Layout,
            format!("as {kind} has them"),
        ),
    };
    meaning.ignored.extend(&listing.ignored);
    meaning.ignored.sort_unstable();
    meaning.ignored.dedup();
    Ok(Settled {
        classes,
        meaning,
        notes: Vec::new(),
    })
}

const TOLD: &str = "as told";

/// A rule that lists the values of another number of classes.
fn fits(rule: &MaskRule, classes: usize) -> Result<(), DataError> {
    match rule {
        MaskRule::Listed { values, .. } if values.len() != classes => Err(DataError::setting(
            format!(
                "{} for {}",
                count(values.len(), "value"),
                count(classes, "class")
            ),
            format!("masks: {rule}"),
            "give the value of each class in the order of ids, or name as many classes",
        )),
        _ => Ok(()),
    }
}

/// Of a folder: names as the user says or as `classes.txt` in the root says.
fn of_folder(root: &Path, open: &Open, items: &[Item]) -> Result<Settled, DataError> {
    let list = root.join("classes.txt");
    let names = match &open.classes {
        Some(names) => Some(names.iter().map(|name| name.trim().to_owned()).collect()),
        None if list.is_file() => Some(read_names(&list)?),
        None => None,
    };
    let mut notes = Vec::new();
    let (names, taken_out) = match names {
        Some(names) => without_no_class(names, &mut notes),
        None => (Vec::new(), None),
    };
    let mut settled = match &open.rule {
        Some(rule) => told(rule, open, names, items)?,
        None if names.len() > 2 || taken_out.is_some() && names.len() > 1 => {
            let evidence = format!("{} are named", count(names.len(), "class"));
            Settled {
                classes: Classes::new(names),
                meaning: meaning(MaskRule::Ids, open, RuleOrigin::Classes, evidence),
                notes: Vec::new(),
            }
        }
        None => found(open, names, items),
    };
    settled.meaning.ignored.extend(taken_out);
    settled.meaning.ignored.sort_unstable();
    settled.meaning.ignored.dedup();
    settled.notes = notes;
    Ok(settled)
}

/// The names without a last one that says that it is no class, and that one's id. Others of the kind cannot go
/// without renumbering those after them.
fn without_no_class(
    mut names: Vec<String>,
    notes: &mut Vec<ClassNote>,
) -> (Vec<String>, Option<u8>) {
    let mut taken_out = None;
    if names.len() > 1
        && let Some(name) = names.pop_if(|name| is_no_class(name))
    {
        let id = names.len() as u8;
        notes.push(ClassNote::TakenOut { id, name });
        taken_out = Some(id);
    }
    for (id, name) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| is_no_class(name))
    {
        let (id, name) = (id as u8, name.clone());
        notes.push(ClassNote::Kept { id, name });
    }
    (names, taken_out)
}

/// By the user's rule.
fn told(
    rule: &MaskRule,
    open: &Open,
    names: Vec<String>,
    items: &[Item],
) -> Result<Settled, DataError> {
    let classes = if names.is_empty() {
        let count = Seen::of(items, &open.ignore).classes_of(rule);
        Classes::unnamed(count, matches!(rule, MaskRule::Listed { .. }))
    } else {
        Classes::new(with_background(names))
    };
    fits(rule, classes.len())?;
    Ok(Settled {
        classes,
        meaning: meaning(rule.clone(), open, RuleOrigin::Told, TOLD),
        notes: Vec::new(),
    })
}

/// By the values in all masks, where there are two names, one, or none.
fn found(open: &Open, names: Vec<String>, items: &[Item]) -> Settled {
    let seen = Seen::of(items, &open.ignore);
    let found = seen.rule(names.len());
    let classes = if names.is_empty() {
        let one_class = matches!(found.rule, MaskRule::Listed { .. });
        Classes::unnamed(found.classes, one_class)
    } else {
        Classes::new(with_background(names))
    };
    Settled {
        classes,
        meaning: meaning(found.rule, open, RuleOrigin::Found, found.evidence),
        notes: Vec::new(),
    }
}

/// One class stands before a background.
fn with_background(mut names: Vec<String>) -> Vec<String> {
    if names.len() == 1 && !names[0].eq_ignore_ascii_case("background") {
        names.insert(0, "background".into());
    }
    names
}
