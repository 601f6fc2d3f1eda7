//! From what was seen at each item to what is to be said.

use segmenta_files::{count, noun};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use segmenta_image::Notice;

use super::report::{Finding, Problem, Report};
use super::scan::{Counts, Marks, Scan, Seen, Unread};
use crate::dataset::{ClassNote, Gap, Rivals};
use crate::{Dataset, Item, Kind, MaskRule, RuleOrigin, Split};

pub(super) fn report(dataset: &Dataset, scans: &[Scan]) -> Report {
    let items = || dataset.items().iter().zip(scans);
    let marks = masks(items()).map(|(_, _, marks)| &marks.values);
    let counts = Counts::of(dataset, marks);
    let mut findings = gaps(dataset);
    findings.push(of_one_name(dataset));
    findings.push(unread_pictures(dataset, items()));
    findings.extend(noticed(dataset, items()));
    findings.extend(unread_masks(dataset, items()));
    findings.push(sizes(dataset, items()));
    findings.push(out_of_range(dataset, items()));
    findings.push(blank(dataset, items()));
    findings.extend(copies(dataset, items()));
    findings.push(empty_classes(dataset, &counts));
    findings.push(white_among_ids(dataset, items()));
    findings.push(class_notes(dataset));
    findings.push(white_on_black(dataset, items()));
    findings.push(turned(dataset, items()));
    findings.push(no_masks(dataset));
    findings.push(annotations(dataset));
    findings.retain(|finding| finding.count > 0);
    findings.sort_by_key(|finding| finding.severity);
    let mut splits = BTreeMap::new();
    for split in dataset.items().iter().filter_map(Item::split) {
        *splits.entry(split).or_insert(0) += 1;
    }
    let sizes: Vec<(usize, usize)> = scans
        .iter()
        .filter_map(|scan| Some(scan.picture.as_ref().ok()?.size))
        .collect();
    let area = |size: &&(usize, usize)| size.0 * size.1;
    Report {
        kind: dataset.kind(),
        root: dataset.root().to_path_buf(),
        pictures: dataset.len(),
        splits,
        smallest: sizes.iter().min_by_key(area).copied(),
        largest: sizes.iter().max_by_key(area).copied(),
        masks: dataset
            .items()
            .iter()
            .any(Item::has_mask)
            .then(|| dataset.meaning().clone()),
        classes: counts.classes,
        ignored: counts.ignored,
        findings,
    }
}

fn picture_name(dataset: &Dataset, item: &Item) -> String {
    item.picture_path()
        .map_or_else(|| item.name().to_owned(), |path| dataset.relative(path))
}

fn mask_name(dataset: &Dataset, item: &Item) -> String {
    item.mask_path().map_or_else(
        || picture_name(dataset, item),
        |path| dataset.relative(path),
    )
}

/// The masks that could be read, each with its item and scan; those that may be another picture's are left out.
fn masks<'a>(
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> impl Iterator<Item = (&'a Item, &'a Scan, &'a Marks)> {
    let items = items.filter(|(item, _)| item.rivals.is_none());
    items.filter_map(|(item, scan)| Some((item, scan, scan.mask.as_ref()?.as_ref().ok()?)))
}

fn gaps(dataset: &Dataset) -> Vec<Finding> {
    let mut missing = [
        Problem::MissingMask,
        Problem::MissingPicture,
        Problem::ListedWithoutFiles,
        Problem::ListedTwice,
    ]
    .map(Finding::new);
    for gap in dataset.gaps() {
        match gap {
            Gap::Mask(picture) => missing[0].add(dataset.relative(picture)),
            Gap::Picture(mask) => missing[1].add(dataset.relative(mask)),
            Gap::Listed { list, name } => {
                missing[2].add(format!("{name} in {}", dataset.relative(list)));
            }
            Gap::Again { list, name } => {
                missing[3].add(format!("{name} in {}", dataset.relative(list)));
            }
        }
    }
    missing.into()
}

fn unread_pictures<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> Finding {
    let mut finding = Finding::new(Problem::UnreadablePicture);
    for (item, scan) in items {
        if let Err(what) = &scan.picture {
            finding.add_at(scan, format!("{}: {what}", picture_name(dataset, item)));
        }
    }
    finding
}

/// Pictures that were read, but perhaps not as their owner thinks.
fn noticed<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> [Finding; 2] {
    let mut dark = Finding::new(Problem::NearlyBlack);
    let mut several = Finding::new(Problem::FirstOfSeveral);
    for (item, scan) in items {
        let Ok(seen) = &scan.picture else { continue };
        for notice in &seen.notices {
            let finding = match notice {
                Notice::TwelveBits { .. } => &mut dark,
                _ => &mut several,
            };
            finding.add_at(
                scan,
                format!("{}: {}", picture_name(dataset, item), notice.what()),
            );
        }
    }
    [dark, several]
}

fn unread_masks<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> [Finding; 2] {
    let mut colours = Finding::new(Problem::ColourMask);
    let mut others = Finding::new(Problem::UnreadableMask);
    for (item, scan) in items {
        match &scan.mask {
            Some(Err(Unread::Colours)) => colours.add_at(scan, mask_name(dataset, item)),
            Some(Err(Unread::Other(what))) => {
                others.add_at(scan, format!("{}: {what}", mask_name(dataset, item)));
            }
            _ => {}
        }
    }
    [colours, others]
}

fn sizes<'a>(dataset: &Dataset, items: impl Iterator<Item = (&'a Item, &'a Scan)>) -> Finding {
    let mut finding = Finding::new(Problem::SizesDiffer);
    for (item, scan, marks) in masks(items) {
        if let Ok(Seen { size: (w, h), .. }) = scan.picture
            && marks.size != (w, h)
        {
            let ((mw, mh), name) = (marks.size, mask_name(dataset, item));
            let told = format!("{name}: {mw}×{mh} for a picture of {w}×{h}");
            finding.add_at(scan, told);
        }
    }
    finding
}

/// Names that several pictures or masks have, so that nobody knows which belong together.
fn of_one_name(dataset: &Dataset) -> Finding {
    let mut finding = Finding::new(Problem::TwoOfOneName);
    let mut told: Vec<&Rivals> = Vec::new();
    for (index, item) in dataset.items().iter().enumerate() {
        let Some(rivals) = item.rivals.as_deref() else {
            continue;
        };
        finding.items.push(index);
        if told.contains(&rivals) {
            continue;
        }
        told.push(rivals);
        let files = rivals.pictures.iter().chain(&rivals.masks);
        let files: Vec<String> = files.map(|path| dataset.relative(path)).collect();
        finding.add(format!("{}: {}", files.join(", "), rivals.words().0));
    }
    finding
}

/// Masks that break the rule, with each value and its pixels.
fn out_of_range<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> Finding {
    let mut finding = Finding::new(Problem::IdsOutOfRange);
    let (mut all, mut wrong_ones) = (BTreeSet::new(), BTreeSet::new());
    for (item, scan, marks) in masks(items) {
        let there = (0..=255).filter(|&value: &u8| marks.values[usize::from(value)] > 0);
        all.extend(there.clone());
        let wrong: Vec<u8> = there
            .filter(|&value| dataset.values().id(value).is_none())
            .collect();
        if wrong.is_empty() {
            continue;
        }
        wrong_ones.extend(&wrong);
        let pixels = |&value: &u8| {
            let pixels = marks.values[usize::from(value)];
            format!("{value} ({})", count(pixels, "pixel"))
        };
        let mut text = values_text(&wrong, pixels);
        if wrong.len() > NAMED_VALUES {
            let all = wrong.iter().map(|&value| marks.values[usize::from(value)]);
            // Writing to a string cannot fail.
            let _ = write!(text, ", {} in all", count(all.sum::<u64>(), "pixel"));
        }
        finding.add_at(scan, format!("{}: {text}", mask_name(dataset, item)));
    }
    let meaning = dataset.meaning();
    let wrong: Vec<u8> = wrong_ones.into_iter().collect();
    let classes = dataset.classes().len();
    finding.detail = format!(
        "{} where masks are {}{}",
        values_text(&wrong, u8::to_string),
        meaning.rule,
        match &meaning.rule {
            MaskRule::Listed { .. } => String::new(),
            _ => format!(" of {}", count(classes, "class")),
        }
    );
    // Grey levels, one a class.
    all.retain(|&value| !meaning.ignored.contains(&value));
    let is_guess = matches!(meaning.by, RuleOrigin::Found | RuleOrigin::Classes);
    let as_many =
        all.len() == classes || meaning.by == RuleOrigin::Found && (2..=8).contains(&all.len());
    if is_guess && meaning.rule == MaskRule::Ids && as_many {
        let levels: Vec<u8> = all.into_iter().collect();
        let rule = MaskRule::listed(&levels);
        let _ = write!(
            finding.remedy,
            "; if each value is a class: masks = \"{rule}\""
        );
    }
    finding
}

/// So many values of a mask are named.
const NAMED_VALUES: usize = 10;

/// `value 200`, `values 3, 7, 200`, the first ten.
fn values_text(values: &[u8], text: impl Fn(&u8) -> String) -> String {
    let shown: Vec<String> = values.iter().take(NAMED_VALUES).map(text).collect();
    let more = if values.len() > NAMED_VALUES {
        format!(" and {} more", values.len() - NAMED_VALUES)
    } else {
        String::new()
    };
    let values = noun(values.len(), "value");
    format!("{values} {}{more}", shown.join(", "))
}

/// Masks of 0 and 255 alone in a set whose rule makes 255 no class, though no mask has 255 beside classes.
fn white_among_ids<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> Finding {
    let mut finding = Finding::new(Problem::WhiteAmongIds);
    let meaning = dataset.meaning();
    let is_guess = matches!(meaning.by, RuleOrigin::Found | RuleOrigin::Classes);
    if !is_guess || meaning.rule != MaskRule::Ids || meaning.ignored.contains(&255) {
        return finding;
    }
    for (item, scan, marks) in masks(items) {
        let classes = marks.values[1..255].iter().any(|&pixels| pixels > 0);
        let (black, white) = (marks.values[0] > 0, marks.values[255] > 0);
        if classes && white {
            return Finding::new(Problem::WhiteAmongIds);
        }
        if black && white {
            finding.add_at(scan, mask_name(dataset, item));
        }
    }
    finding
}

/// Classes whose names say that they are none.
fn class_notes(dataset: &Dataset) -> Finding {
    let mut finding = Finding::new(Problem::NoClass);
    for note in dataset.notes() {
        finding.add(match note {
            ClassNote::TakenOut { id, name } => {
                format!("{name} ({id}): taken out of the classes, its pixels count nowhere")
            }
            ClassNote::Kept { id, name } => format!("{name} ({id}): a class like any other"),
        });
    }
    finding
}

/// Masks in which nothing counts.
fn blank<'a>(dataset: &Dataset, items: impl Iterator<Item = (&'a Item, &'a Scan)>) -> Finding {
    let mut finding = Finding::new(Problem::BlankMask);
    for (item, scan, marks) in masks(items) {
        let counts = |(value, &pixels): (usize, &u64)| {
            pixels > 0 && dataset.values().id(value as u8) != Some(segmenta_image::VOID)
        };
        if !marks.values.iter().enumerate().any(counts) {
            finding.add_at(scan, mask_name(dataset, item));
        }
    }
    finding
}

/// The same file more than once: in two splits it is an error of measurement, in one a waste.
fn copies<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> [Finding; 2] {
    let mut by_hash: BTreeMap<[u8; 16], Vec<(usize, &Item)>> = BTreeMap::new();
    for (item, scan) in items {
        if let Ok(seen) = &scan.picture {
            let same = by_hash.entry(seen.hash).or_default();
            same.push((scan.index, item));
        }
    }
    let mut across = Finding::new(Problem::InTwoSplits);
    let mut within = Finding::new(Problem::Copies);
    let mut groups: Vec<Vec<(usize, &Item)>> = by_hash
        .into_values()
        .filter(|same| same.len() > 1)
        .collect();
    groups.sort_by_key(|same| same[0].1.name().to_owned());
    for same in groups {
        let splits: BTreeSet<Split> = same.iter().filter_map(|(_, item)| item.split()).collect();
        let name = |(_, item): &(usize, &Item)| match item.split() {
            Some(split) => format!("{} ({split})", picture_name(dataset, item)),
            None => picture_name(dataset, item),
        };
        let names: Vec<String> = same.iter().map(name).collect();
        let finding = if splits.len() > 1 {
            &mut across
        } else {
            &mut within
        };
        finding.add(names.join(" = "));
        finding.items.extend(same.iter().map(|(index, _)| index));
    }
    [across, within]
}

fn empty_classes(dataset: &Dataset, counts: &Counts) -> Finding {
    let mut finding = Finding::new(Problem::EmptyClass);
    if counts.masks > 0 {
        for class in counts.classes.iter().filter(|class| class.pixels == 0) {
            finding.add(format!(
                "{} ({})",
                dataset.classes().name(class.id),
                class.id
            ));
        }
    }
    finding
}

fn white_on_black<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> Finding {
    let mut finding = Finding::new(Problem::WhiteOnBlack);
    if dataset.meaning().rule == MaskRule::white_on_black() {
        for (item, scan, marks) in masks(items) {
            if marks.values[255] > 0 {
                finding.add_at(scan, mask_name(dataset, item));
            }
        }
    }
    finding
}

fn turned<'a>(dataset: &Dataset, items: impl Iterator<Item = (&'a Item, &'a Scan)>) -> Finding {
    let mut finding = Finding::new(Problem::Turned);
    for (item, scan, marks) in masks(items) {
        if marks.turned {
            finding.add_at(scan, mask_name(dataset, item));
        }
    }
    finding
}

fn no_masks(dataset: &Dataset) -> Finding {
    let mut finding = Finding::new(Problem::NoMasks);
    if dataset.kind() == Kind::ImageFolder || !dataset.items().iter().any(Item::has_mask) {
        // That there are none is said once, of the set; no picture of it is at fault.
        let without = dataset.items().iter().filter(|item| !item.has_mask());
        without.for_each(|item| finding.add(picture_name(dataset, item)));
    }
    finding
}

fn annotations(dataset: &Dataset) -> Finding {
    let mut finding = Finding::new(Problem::Annotations);
    let remarks = dataset.remarks();
    remarks.for_each(|remark| finding.add(remark.to_string()));
    finding
}
