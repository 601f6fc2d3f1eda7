//! CVAT's XML: `CVAT for images 1.1`, and the tracks of `CVAT for video 1.1`.

mod interpolate;
mod shape;
mod video;

use std::collections::HashMap;
use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::{Annotated, Annotations, Shape, TOO_MANY, sound};
use crate::{DataError, text};

const REMEDY: &str = "export the task again as `CVAT for images 1.1`";

/// So many elements and texts a document may have: a gigabyte of XML has no more.
const MAX_NODES: u32 = 1 << 26;

/// Reads a document: polygons, boxes, ellipses (turned as they are) and masks, painted by their `z_order`. Classes are
/// its labels in the order in which the task lists them; one called `background` is id 0. A video gives every frame,
/// `frame_000000` and so on; between key frames shapes move as CVAT moves them. Lines, points, skeletons, cuboids and
/// tags are left out, with a [`super::Remark`].
///
/// # Errors
/// A file that cannot be read or is no such document, more than 254 labels, no picture, sizes and coordinates that are
/// none, a video without its size.
pub fn read(path: &Path) -> Result<Annotations, DataError> {
    parse(&text::read(path)?, path)
}

/// As [`read`], from a document's text; messages call it `path`.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, path: &Path) -> Result<Annotations, DataError> {
    build(text).map_err(|(what, remedy)| DataError::at(what, path, remedy))
}

/// What is wrong, and how to mend it.
type Wrong = (String, &'static str);

fn wrong(what: impl Into<String>) -> Wrong {
    (what.into(), REMEDY)
}

fn build(text: &str) -> Result<Annotations, Wrong> {
    let options = ParsingOptions {
        // No entities: they could grow without end.
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    if text.trim().is_empty() {
        return Err(wrong("an empty file"));
    }
    let document = Document::parse_with_options(text, options)
        .map_err(|error| wrong(format!("no annotations of CVAT ({error})")))?;
    let root = document.root_element();
    if !root.has_tag_name("annotations") {
        return Err(wrong(format!("no annotations of CVAT: {}", other(root))));
    }
    let mut all = Annotations::default();
    for name in labels(root) {
        all.class(name).ok_or_else(too_many)?;
    }
    let listed = all.classes.len() > 1;
    let mut ids = HashMap::new();
    for image in root.children().filter(|node| node.has_tag_name("image")) {
        let place = all.pictures.len();
        let picture = image_of(image, &mut all, listed)?;
        if let Some(id) = image.attribute("id")
            && let Some(other) = ids.insert(id, place)
        {
            let (a, b) = (&all.pictures[other].file, &picture.file);
            let first = format!("{id}: {a}, {b}");
            all.remarks
                .add("image", "with the id of another one", || first);
        }
        all.pictures.push(picture);
    }
    let tracks: Vec<Node<'_, '_>> = root
        .children()
        .filter(|node| node.has_tag_name("track"))
        .collect();
    video::read(root, &tracks, &mut all, listed)?;
    for node in root.children().filter(Node::is_element) {
        let name = node.tag_name().name();
        if !["image", "track", "meta", "version"].contains(&name) {
            let what = format!("of the type {name}: left out");
            let first = || format!("line {}", document.text_pos_at(node.range().start).row);
            all.remarks.add("element", &what, first);
        }
    }
    if all.pictures.is_empty() {
        return Err(wrong("neither an image nor a track in the document"));
    }
    Ok(all)
}

fn too_many() -> Wrong {
    ("more than 254 labels".into(), TOO_MANY)
}

/// What an XML document of another root is.
fn other(root: Node<'_, '_>) -> String {
    let has = |name: &str| root.descendants().any(|node| node.has_tag_name(name));
    match root.tag_name().name() {
        "annotation" if has("polygon") => "this looks like the XML of the LabelMe web tool".into(),
        "annotation" if has("bndbox") => {
            "this looks like Pascal VOC's boxes, which have no outlines".into()
        }
        "ASAP_Annotations" => "this looks like ASAP's XML".into(),
        "Annotations" => "this looks like Aperio ImageScope's XML".into(),
        name => format!("its root is `{name}`"),
    }
}

/// Names of the labels that a task, a job or a project lists, without the parts of skeletons.
fn labels<'a>(root: Node<'a, '_>) -> Vec<&'a str> {
    let meta = root.children().filter(|node| node.has_tag_name("meta"));
    let lists = meta.flat_map(|node| node.descendants());
    let lists = lists.filter(|node| {
        let above = node.parent().is_some_and(|above| {
            ["task", "job", "project", "meta"].contains(&above.tag_name().name())
        });
        node.has_tag_name("labels") && above
    });
    let listed = lists.flat_map(|list| list.children());
    listed
        .filter(|node| node.has_tag_name("label") && child(*node, "parent").is_none())
        .filter_map(|label| child(label, "name"))
        .filter(|name| !name.is_empty())
        .collect()
}

/// The text of the first child of a name.
fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let child = node.children().find(|child| child.has_tag_name(name))?;
    Some(child.text().unwrap_or_default().trim())
}

fn image_of(image: Node<'_, '_>, all: &mut Annotations, listed: bool) -> Result<Annotated, Wrong> {
    let name = image
        .attribute("name")
        .unwrap_or_default()
        .replace('\\', "/");
    let origin = image
        .attribute("id")
        .map_or_else(|| format!("image {name}"), |id| format!("image {id}"));
    let side = |side| -> Result<f64, Wrong> {
        let value = image
            .attribute(side)
            .and_then(|text| text.trim().parse().ok());
        value.ok_or_else(|| wrong(format!("an image without {side}, {origin} ({name})")))
    };
    let (width, height) = sound::size(side("width")?, side("height")?)
        .map_err(|what| wrong(format!("{what}, {origin} ({name})")))?;
    let mut shapes: Vec<(i64, Shape)> = Vec::new();
    for node in image.children().filter(Node::is_element) {
        let place = || format!("{origin} ({name})");
        let Some(area) = shape::area(node, &mut all.remarks, &place)
            .map_err(|what| wrong(format!("{what}, {}", place())))?
        else {
            continue;
        };
        sound::inside(&mut all.remarks, &area, (width, height), place);
        let class = class_of(node, all, listed, &place)?;
        shapes.push((shape::z_order(node), Shape::new(class, area)));
    }
    shapes.sort_by_key(|(order, _)| *order);
    // Projects keep the pictures of a subset in a folder of its name.
    let file = match image.attribute("subset") {
        Some(subset) if !subset.is_empty() => format!("{subset}/{name}"),
        _ => name,
    };
    Ok(Annotated {
        file,
        origin,
        width,
        height,
        shapes: shapes.into_iter().map(|(_, shape)| shape).collect(),
    })
}

/// The id of the label of a shape or a track. One that the task does not list is added to the classes.
fn class_of(
    node: Node<'_, '_>,
    all: &mut Annotations,
    listed: bool,
    place: &dyn Fn() -> String,
) -> Result<u8, Wrong> {
    let label = node.attribute("label").unwrap_or_default().trim();
    if label.is_empty() {
        let name = node.tag_name().name();
        return Err(wrong(format!("a {name} without a label, {}", place())));
    }
    let before = all.classes.len();
    let class = all.class(label).ok_or_else(too_many)?;
    if listed && all.classes.len() > before {
        let what = "of shapes that the task does not list: added to the classes";
        all.remarks
            .add("label", what, || format!("{label}, {}", place()));
    }
    Ok(class)
}
