//! CVAT's XML, `CVAT for images 1.1`.

use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::outline::ellipse;
use super::rle::Order;
use super::{Annotated, Annotations, Area, Rle, Shape, TOO_MANY};
use crate::DataError;

/// Reads a document: polygons, boxes, ellipses and masks, painted by their `z_order`. Classes are its labels in the
/// order in which the task lists them. Lines and points are left out and counted.
///
/// # Errors
/// A file that cannot be read or is no such document, or more than 254 labels.
pub fn read(path: &Path) -> Result<Annotations, DataError> {
    let wrong =
        |what: String| DataError::at(what, path, "export the task again as `CVAT for images 1.1`");
    let text = std::fs::read_to_string(path).map_err(|cause| DataError::read(path, &cause))?;
    let options = ParsingOptions {
        allow_dtd: false,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(&text, options)
        .map_err(|error| wrong(format!("no annotations of CVAT ({error})")))?;
    let root = document.root_element();
    if !root.has_tag_name("annotations") {
        return Err(wrong(format!(
            "no annotations of CVAT, but `{}`",
            root.tag_name().name()
        )));
    }
    let mut all = Annotations::default();
    let too_many = || DataError::at("more than 254 labels", path, TOO_MANY);
    let listed = root
        .descendants()
        .filter(|node| node.has_tag_name("label") && !is_sublabel(node));
    for label in listed {
        if let Some(name) = label.children().find(|child| child.has_tag_name("name")) {
            all.class(name.text().unwrap_or_default().trim())
                .ok_or_else(too_many)?;
        }
    }
    for image in root.children().filter(|node| node.has_tag_name("image")) {
        let size = |name| -> Result<usize, DataError> {
            let value = image.attribute(name).and_then(|text| text.parse().ok());
            value.ok_or_else(|| wrong(format!("an image without {name}")))
        };
        let mut picture = Annotated {
            file: image.attribute("name").unwrap_or_default().into(),
            width: size("width")?,
            height: size("height")?,
            shapes: Vec::new(),
        };
        let mut shapes: Vec<Node<'_, '_>> = image.children().filter(Node::is_element).collect();
        let order = |node: &Node<'_, '_>| -> i64 {
            node.attribute("z_order")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        };
        shapes.sort_by_key(order);
        for node in shapes {
            match area(node).map_err(|what| wrong(format!("{what}, image {}", picture.file)))? {
                Some(area) => {
                    let label = node.attribute("label").unwrap_or_default();
                    let class = all.class(label).ok_or_else(too_many)?;
                    picture.shapes.push(Shape { class, area });
                }
                None => all.leave_out(&format!("shapes of the type {}", node.tag_name().name())),
            }
        }
        all.pictures.push(picture);
    }
    Ok(all)
}

/// A skeleton's parts are labels within a label.
fn is_sublabel(label: &Node<'_, '_>) -> bool {
    label
        .ancestors()
        .skip(1)
        .any(|above| above.has_tag_name("label") || above.has_tag_name("sublabels"))
}

fn area(node: Node<'_, '_>) -> Result<Option<Area>, String> {
    let number = |name: &str| -> Result<f32, String> {
        let value = node.attribute(name).and_then(|text| text.parse().ok());
        value.ok_or_else(|| format!("a {} without {name}", node.tag_name().name()))
    };
    let ring = match node.tag_name().name() {
        "polygon" => points(node.attribute("points").unwrap_or_default())
            .ok_or("a polygon whose points are no numbers")?,
        "box" => {
            let (x0, y0) = (number("xtl")?, number("ytl")?);
            let (x1, y1) = (number("xbr")?, number("ybr")?);
            vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        }
        "ellipse" => ellipse(
            [number("cx")?, number("cy")?],
            [number("rx")?, number("ry")?],
        ),
        "mask" => {
            let whole = |name: &str| Ok::<usize, String>(number(name)? as usize);
            let text = node.attribute("rle").unwrap_or_default();
            let runs: Option<Vec<u32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
            let runs = runs.ok_or("a mask whose run lengths are no numbers")?;
            let (left, top) = (whole("left")?, whole("top")?);
            let runs = Rle::new(whole("width")?, whole("height")?, runs, Order::Rows)?;
            return Ok(Some(Area::Runs { left, top, runs }));
        }
        _ => return Ok(None),
    };
    Ok(Some(Area::Rings(vec![ring])))
}

/// `x,y;x,y;…`
fn points(text: &str) -> Option<Vec<[f32; 2]>> {
    let pair = |text: &str| {
        let (x, y) = text.split_once(',')?;
        Some([x.trim().parse().ok()?, y.trim().parse().ok()?])
    };
    text.split(';').map(pair).collect()
}
