//! COCO's annotations of instances: <https://cocodataset.org/#format-data>.

mod document;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::rle::Order;
use super::{Annotated, Annotations, Area, Remarks, Rle, Shape, TOO_MANY, json, sound};
use crate::{DataError, text};
use document::{Annotation, Category, Counts, Document, Id, Image, Segmentation};

const REMEDY: &str = "give COCO's JSON of instances: images, annotations, categories";

/// Reads a document: polygons, and run lengths plain or packed. Classes are its categories by their id, numbered from
/// 1 without gaps; categories of one name are one class, and one called `background` is id 0. Larger shapes are
/// painted first, so that a thing lies over what is behind it.
///
/// # Errors
/// A file that cannot be read, is no such document or has no image; more than 254 categories; an id of an image or a
/// category that is there twice or not at all; run lengths that are not the picture's; sizes and coordinates that
/// are none. What only takes pixels away is a [`super::Remark`]: annotations without a segmentation, rings of fewer
/// than three points, areas that are not those of the shapes.
pub fn read(path: &Path) -> Result<Annotations, DataError> {
    parse(&text::read(path)?, path)
}

/// As [`read`], from a document's text; messages call it `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Annotations, DataError> {
    let document: Document = json::read(text, path, "COCO", REMEDY)?;
    build(document).map_err(|(what, remedy)| DataError::at(what, path, remedy))
}

/// What is wrong, and how to mend it.
type Wrong = (String, &'static str);

fn build(document: Document) -> Result<Annotations, Wrong> {
    other_tasks(&document.annotations)?;
    let mut all = Annotations::default();
    let ids = classes(&mut all, document.categories)?;
    let places = pictures(&mut all, document.images)?;
    let mut seen = HashSet::new();
    // Of each picture, the shapes with their areas.
    let mut shapes: Vec<Vec<(f64, Shape)>> = vec![Vec::new(); all.pictures.len()];
    let mut remarks = std::mem::take(&mut all.remarks);
    for (index, annotation) in document.annotations.into_iter().enumerate() {
        let name = annotation.id.as_ref().map_or_else(
            || format!("annotation at place {}", index + 1),
            |id| format!("annotation {id}"),
        );
        if let Some(id) = annotation.id.clone()
            && !seen.insert(id)
        {
            remarks.add("annotation", "with the id of another one", || name.clone());
        }
        let category = annotation.category_id.as_ref().ok_or_else(|| {
            let remedy = "give each annotation a category_id";
            (format!("{name} without a category"), remedy)
        })?;
        let &class = ids.get(category).ok_or_else(|| {
            let what = format!("{name} of the unknown category {category}");
            (what, "add it to the document's categories")
        })?;
        let number = &annotation.image_id;
        let &place = places.get(number).ok_or_else(|| {
            let what = format!("{name} of the unknown image {number}");
            (what, "add it to the document's images")
        })?;
        let picture = &all.pictures[place];
        let size = (picture.width, picture.height);
        let Annotation {
            segmentation,
            area: claimed,
            ..
        } = annotation;
        let drawn = match segmentation {
            Some(Segmentation::Polygons(rings)) if !rings.is_empty() => {
                polygons(&rings, &name, &mut remarks)
            }
            Some(Segmentation::Runs {
                counts,
                size: [h, w],
            }) => run_lengths(counts, (w, h), size).map(Some),
            Some(Segmentation::Other(value)) if !value.is_null() => {
                Err("a segmentation that is neither polygons nor run lengths".into())
            }
            _ => {
                let has = match (&annotation.bbox, annotation.keypoints.is_some()) {
                    (_, true) => "without a segmentation (keypoints only): left out",
                    (Some(_), _) => "without a segmentation (a box only): left out",
                    _ => "without a segmentation: left out",
                };
                remarks.add("annotation", has, || name.clone());
                continue;
            }
        };
        let drawn = drawn.map_err(|what| {
            let file = &picture.file;
            (
                format!("{what}, {name}, image {number} ({file})"),
                "export it again",
            )
        })?;
        let Some(drawn) = drawn else {
            continue;
        };
        sound::inside(&mut remarks, &drawn, size, || {
            format!("{name}, image {number} ({})", picture.file)
        });
        let (own, slack) = area(&drawn);
        let order = match claimed {
            // Some tools give the area of the box.
            Some(claimed)
                if claimed != 0.0
                    && [own, box_area(annotation.bbox.as_ref())]
                        .iter()
                        .any(|known| (claimed - known).abs() <= slack + 0.1 * known) =>
            {
                claimed
            }
            Some(claimed) if claimed != 0.0 => {
                let what = "whose area is another than the shape's, which is taken for the order";
                remarks.add("annotation", what, || {
                    format!("{name}: {claimed} for {own}")
                });
                own
            }
            _ => {
                if own > 0.0 && claimed.is_some() {
                    let what = "with an area of 0: the shape's is taken for the order";
                    remarks.add("annotation", what, || format!("{name}: 0 for {own}"));
                }
                own
            }
        };
        shapes[place].push((order, Shape::new(class, drawn)));
    }
    if all.pictures.is_empty() {
        return Err(("no image in the document".into(), REMEDY));
    }
    for (picture, mut shapes) in all.pictures.iter_mut().zip(shapes) {
        shapes.sort_by(|a, b| b.0.total_cmp(&a.0));
        picture.shapes = shapes.into_iter().map(|(_, shape)| shape).collect();
    }
    all.remarks = remarks;
    Ok(all)
}

/// Annotations of COCO's other tasks have no shapes of things.
fn other_tasks(annotations: &[Annotation]) -> Result<(), Wrong> {
    if annotations.iter().any(|a| a.segments_info.is_some()) {
        let remedy = "give the document of instances: its pixels are not in the JSON but in PNG files beside it";
        return Err(("COCO's panoptic annotations".into(), remedy));
    }
    if annotations.iter().any(|a| a.caption.is_some()) {
        return Err((
            "COCO's captions, which have no shapes".into(),
            "give the document of instances",
        ));
    }
    Ok(())
}

/// Names of the classes by the order of the categories' ids, and the id of each category.
fn classes(all: &mut Annotations, mut categories: Vec<Category>) -> Result<HashMap<Id, u8>, Wrong> {
    categories.sort_by(|a, b| a.id.cmp(&b.id));
    let mut names: HashMap<Id, String> = HashMap::new();
    let mut by_name: HashMap<String, Id> = HashMap::new();
    let mut ids = HashMap::new();
    let count = categories.len();
    for Category { id, name } in categories {
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err((
                format!("category {id} without a name"),
                "give each category a name",
            ));
        }
        match names.get(&id) {
            Some(other) if *other != name => {
                let what = format!("two categories of the id {id}: {other}, {name}");
                return Err((what, "give each category an id of its own"));
            }
            Some(_) => {
                all.remarks
                    .add("category entry", "there twice", || format!("{id}, {name}"));
                continue;
            }
            None => {}
        }
        if let Some(other) = by_name.get(&name) {
            all.remarks.add(
                "category",
                "with the name of another one: one class",
                || format!("{name}, ids {other} and {id}"),
            );
        }
        let class = all.class(&name);
        let class = class.ok_or_else(|| (format!("{count} categories"), TOO_MANY))?;
        by_name.entry(name.clone()).or_insert_with(|| id.clone());
        names.insert(id.clone(), name);
        ids.insert(id, class);
    }
    Ok(ids)
}

/// The pictures, and the place of each image's id.
fn pictures(all: &mut Annotations, images: Vec<Image>) -> Result<HashMap<Id, usize>, Wrong> {
    let mut places: HashMap<Id, usize> = HashMap::new();
    for image in images {
        let Image {
            id,
            file_name,
            width,
            height,
        } = image;
        let file = file_name.replace('\\', "/");
        let (width, height) = sound::size(width, height).map_err(|what| {
            let what = format!("{what}, image {id} ({file})");
            (what, "correct its size in the document")
        })?;
        if let Some(&place) = places.get(&id) {
            let other: &Annotated = &all.pictures[place];
            if other.file == file && (other.width, other.height) == (width, height) {
                all.remarks
                    .add("image entry", "there twice", || format!("{id}, {file}"));
                continue;
            }
            let what = format!(
                "two images of the id {id}: {} ({}×{}), {file} ({width}×{height})",
                other.file, other.width, other.height
            );
            return Err((what, "give each image an id of its own"));
        }
        let origin = format!("image {id}");
        places.insert(id, all.pictures.len());
        all.pictures.push(Annotated {
            file,
            origin,
            width,
            height,
            shapes: Vec::new(),
        });
    }
    Ok(places)
}

/// Rings of at least three points. None if there is no such ring.
fn polygons(rings: &[Vec<f64>], name: &str, remarks: &mut Remarks) -> Result<Option<Area>, String> {
    let mut kept = Vec::with_capacity(rings.len());
    for ring in rings {
        let (pairs, rest) = ring.as_chunks::<2>();
        let points = sound::points(pairs)?;
        let numbers = ring.len();
        if !rest.is_empty() {
            let what = "of an odd count of numbers: left out";
            remarks.add("ring", what, || format!("{name}, {numbers} numbers"));
        } else if pairs.len() < 3 {
            let what = "of fewer than 3 points: left out";
            let count = pairs.len();
            remarks.add("ring", what, || format!("{name}, {count} of 3 points"));
        } else {
            kept.push(points);
        }
    }
    Ok((!kept.is_empty()).then_some(Area::Rings(kept)))
}

fn run_lengths(
    counts: Counts,
    (width, height): (usize, usize),
    picture: (usize, usize),
) -> Result<Area, String> {
    if (width, height) != picture {
        let (w, h) = picture;
        let text = format!("run lengths for {width}×{height} in a picture of {w}×{h}");
        return Err(text);
    }
    let runs = match counts {
        Counts::Packed(text) => Rle::unpack(&text, width, height),
        Counts::Plain(runs) => Rle::new(width, height, runs, Order::Columns),
    };
    runs.map(|runs| Area::Runs {
        left: 0,
        top: 0,
        runs,
    })
}

/// The pixels of a shape, and by how much rings of its length may miss them.
fn area(area: &Area) -> (f64, f64) {
    let rings = match area {
        Area::Runs { runs, .. } => return (runs.inside() as f64, 1.0),
        Area::Rings(rings) => rings,
    };
    let (mut doubled, mut length) = (0.0, 0.0);
    for ring in rings {
        let points = ring.iter().map(|p| p.map(f64::from));
        for (a, b) in points.clone().zip(points.cycle().skip(1)) {
            doubled += a[0] * b[1] - b[0] * a[1];
            length += (b[0] - a[0]).hypot(b[1] - a[1]);
        }
    }
    (doubled.abs() / 2.0, length + 1.0)
}

fn box_area(bbox: Option<&serde_json::Value>) -> f64 {
    let side = |index: usize| bbox?.get(index)?.as_f64();
    side(2).zip(side(3)).map_or(f64::NAN, |(w, h)| w * h)
}
