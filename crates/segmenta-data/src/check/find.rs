//! From what was seen at each item to what is to be said.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Finding, Problem, Report};
use super::scan::{Counts, Marks, Scan, Seen, Unread};
use crate::dataset::Gap;
use crate::{Dataset, Item, Kind, Split};

pub(super) fn report(dataset: &Dataset, scans: &[Scan]) -> Report {
    let items = || dataset.items().iter().zip(scans);
    let marks = scans
        .iter()
        .filter_map(|scan| Some(&scan.mask.as_ref()?.as_ref().ok()?.values));
    let counts = Counts::of(dataset, dataset.values(), marks);
    let mut findings = gaps(dataset);
    findings.push(unread_pictures(dataset, items()));
    findings.extend(unread_masks(dataset, items()));
    findings.push(sizes(dataset, items()));
    findings.push(out_of_range(dataset, items()));
    findings.push(blank(dataset, items()));
    findings.extend(copies(dataset, items()));
    findings.push(empty_classes(dataset, &counts));
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

/// The masks that could be read, each with its item and scan.
fn masks<'a>(
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> impl Iterator<Item = (&'a Item, &'a Scan, &'a Marks)> {
    items.filter_map(|(item, scan)| Some((item, scan, scan.mask.as_ref()?.as_ref().ok()?)))
}

fn gaps(dataset: &Dataset) -> Vec<Finding> {
    let mut missing = [
        Problem::MissingMask,
        Problem::MissingPicture,
        Problem::ListedWithoutFiles,
    ]
    .map(Finding::new);
    for gap in dataset.gaps() {
        match gap {
            Gap::Mask(picture) => missing[0].add(dataset.relative(picture)),
            Gap::Picture(mask) => missing[1].add(dataset.relative(mask)),
            Gap::Listed { list, name } => {
                missing[2].add(format!("{name} in {}", dataset.relative(list)));
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
            finding.add(format!("{}: {what}", picture_name(dataset, item)));
        }
    }
    finding
}

fn unread_masks<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> [Finding; 2] {
    let mut colours = Finding::new(Problem::ColourMask);
    let mut others = Finding::new(Problem::UnreadableMask);
    for (item, scan) in items {
        match &scan.mask {
            Some(Err(Unread::Colours)) => colours.add(mask_name(dataset, item)),
            Some(Err(Unread::Other(what))) => {
                others.add(format!("{}: {what}", mask_name(dataset, item)));
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
            finding.add(format!("{name}: {mw}×{mh} for a picture of {w}×{h}"));
        }
    }
    finding
}

fn out_of_range<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> Finding {
    let mut finding = Finding::new(Problem::IdsOutOfRange);
    let mut all = BTreeSet::new();
    for (item, _, marks) in masks(items) {
        let values = marks.values.iter().enumerate();
        let wrong: Vec<(usize, u64)> = values
            .filter(|&(value, &pixels)| pixels > 0 && dataset.values().id(value as u8).is_none())
            .map(|(value, &pixels)| (value, pixels))
            .collect();
        if wrong.is_empty() {
            continue;
        }
        all.extend(wrong.iter().map(|&(value, _)| value));
        let pixels: u64 = wrong.iter().map(|&(_, pixels)| pixels).sum();
        let ids: Vec<usize> = wrong.into_iter().map(|(value, _)| value).collect();
        finding.add(format!(
            "{}: {} ({pixels} pixels)",
            mask_name(dataset, item),
            ids_text(&ids)
        ));
    }
    let all: Vec<usize> = all.into_iter().collect();
    finding.detail = format!("{} for {} classes", ids_text(&all), dataset.classes().len());
    finding
}

/// `id 200`, `ids 3, 7, 200`, the first ten.
fn ids_text(ids: &[usize]) -> String {
    let shown: Vec<String> = ids.iter().take(10).map(ToString::to_string).collect();
    let more = if ids.len() > 10 {
        format!(" and {} more", ids.len() - 10)
    } else {
        String::new()
    };
    format!(
        "id{} {}{more}",
        if ids.len() == 1 { "" } else { "s" },
        shown.join(", ")
    )
}

/// Masks in which nothing counts.
fn blank<'a>(dataset: &Dataset, items: impl Iterator<Item = (&'a Item, &'a Scan)>) -> Finding {
    let mut finding = Finding::new(Problem::BlankMask);
    for (item, _, marks) in masks(items) {
        let counts = |(value, &pixels): (usize, &u64)| {
            pixels > 0 && dataset.values().id(value as u8) != Some(segmenta_image::VOID)
        };
        if !marks.values.iter().enumerate().any(counts) {
            finding.add(mask_name(dataset, item));
        }
    }
    finding
}

/// The same file more than once: in two splits it is an error of measurement, in one a waste.
fn copies<'a>(
    dataset: &Dataset,
    items: impl Iterator<Item = (&'a Item, &'a Scan)>,
) -> [Finding; 2] {
    let mut by_hash: BTreeMap<[u8; 16], Vec<&Item>> = BTreeMap::new();
    for (item, scan) in items {
        if let Ok(seen) = &scan.picture {
            by_hash.entry(seen.hash).or_default().push(item);
        }
    }
    let mut across = Finding::new(Problem::InTwoSplits);
    let mut within = Finding::new(Problem::Copies);
    let mut groups: Vec<Vec<&Item>> = by_hash
        .into_values()
        .filter(|same| same.len() > 1)
        .collect();
    groups.sort_by_key(|same| same[0].name().to_owned());
    for same in groups {
        let splits: BTreeSet<Split> = same.iter().filter_map(|item| item.split()).collect();
        let name = |item: &&Item| match item.split() {
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
    if dataset.values().id(255) == Some(1) {
        for (item, _, marks) in masks(items) {
            if marks.values[255] > 0 {
                finding.add(mask_name(dataset, item));
            }
        }
    }
    finding
}

fn turned<'a>(dataset: &Dataset, items: impl Iterator<Item = (&'a Item, &'a Scan)>) -> Finding {
    let mut finding = Finding::new(Problem::Turned);
    for (item, _, marks) in masks(items) {
        if marks.turned {
            finding.add(mask_name(dataset, item));
        }
    }
    finding
}

fn no_masks(dataset: &Dataset) -> Finding {
    let mut finding = Finding::new(Problem::NoMasks);
    if dataset.kind() == Kind::ImageFolder || !dataset.items().iter().any(Item::has_mask) {
        let without = dataset.items().iter().filter(|item| !item.has_mask());
        without.for_each(|item| finding.add(picture_name(dataset, item)));
    }
    finding
}

fn annotations(dataset: &Dataset) -> Finding {
    let mut finding = Finding::new(Problem::Annotations);
    if let Some(all) = dataset.annotations() {
        all.remarks()
            .for_each(|remark| finding.add(remark.to_string()));
    }
    finding
}
