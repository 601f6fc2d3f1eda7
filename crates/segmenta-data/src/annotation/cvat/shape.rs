//! One shape's element.

use roxmltree::Node;

use super::super::outline::{ellipse, turned};
use super::super::rle::Order;
use super::super::{Area, Remarks, Rle, sound};

/// A shape as its numbers: what moves between the key frames of a track.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Geometry {
    Polygon(Vec<[f64; 2]>),
    /// Left, top, right, bottom, and degrees clockwise around the middle.
    Box([f64; 4], f64),
    /// Centre, radii, and degrees clockwise around the centre.
    Ellipse([f64; 4], f64),
    /// Run lengths along rows, and their left, top, width, height.
    Mask(Vec<u32>, [i64; 4]),
}

impl Geometry {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Polygon(_) => "polygon",
            Self::Box(..) => "box",
            Self::Ellipse(..) => "ellipse",
            Self::Mask(..) => "mask",
        }
    }

    /// The pixels it covers, or why it is no shape.
    pub(super) fn area(self) -> Result<Area, String> {
        let ring = match self {
            Self::Polygon(points) => sound::points(&points)?,
            Self::Box([x0, y0, x1, y1], degrees) => {
                let ring = sound::points(&[[x0, y0], [x1, y0], [x1, y1], [x0, y1]])?;
                let centre = [x0 + (x1 - x0) / 2.0, y0 + (y1 - y0) / 2.0];
                turned(ring, centre.map(|v| v as f32), degrees)
            }
            Self::Ellipse([cx, cy, rx, ry], degrees) => {
                let points = sound::points(&[[cx, cy], [rx, ry]])?;
                ellipse(points[0], points[1], degrees)
            }
            Self::Mask(runs, [left, top, width, height]) => {
                let side = |side: i64| usize::try_from(side).unwrap_or(0);
                let runs = Rle::new(side(width), side(height), runs, Order::Rows)?;
                return Ok(Area::Runs { left, top, runs });
            }
        };
        Ok(Area::Rings(vec![ring]))
    }
}

/// The pixels of a shape; none for what has no area, which is remarked on.
pub(super) fn area(
    node: Node<'_, '_>,
    remarks: &mut Remarks,
    place: &dyn Fn() -> String,
) -> Result<Option<Area>, String> {
    let geometry = geometry(node, remarks, place)?;
    geometry.map(Geometry::area).transpose()
}

pub(super) fn geometry(
    node: Node<'_, '_>,
    remarks: &mut Remarks,
    place: &dyn Fn() -> String,
) -> Result<Option<Geometry>, String> {
    let name = node.tag_name().name();
    let number = |attribute: &str| -> Result<f64, String> {
        let text = node.attribute(attribute);
        let text = text.ok_or_else(|| format!("a {name} without {attribute}"))?;
        let value: Option<f64> = text.trim().parse().ok().filter(|v: &f64| v.is_finite());
        value.ok_or_else(|| format!("a {name} with {attribute} `{text}`"))
    };
    let rotation = || match node.attribute("rotation") {
        Some(_) => number("rotation"),
        None => Ok(0.0),
    };
    Ok(Some(match name {
        "polygon" => {
            let text = node.attribute("points").unwrap_or_default();
            let points = points(text)?;
            if points.len() < 3 {
                let count = points.len();
                let first = || format!("{}, {count} of 3 points", place());
                remarks.add("polygon", "of fewer than 3 points: left out", first);
                return Ok(None);
            }
            Geometry::Polygon(points)
        }
        "box" => {
            let sides = [
                number("xtl")?,
                number("ytl")?,
                number("xbr")?,
                number("ybr")?,
            ];
            let [x0, y0, x1, y1] = sides;
            if x1 < x0 || y1 < y0 {
                let first = || format!("{}, {x0},{y0} to {x1},{y1}", place());
                remarks.add("box", "whose corners are exchanged", first);
            }
            Geometry::Box(sides, rotation()?)
        }
        "ellipse" => {
            let (rx, ry) = (number("rx")?, number("ry")?);
            if rx < 0.0 || ry < 0.0 {
                return Err(format!("an ellipse of the radii {rx} and {ry}"));
            }
            Geometry::Ellipse([number("cx")?, number("cy")?, rx, ry], rotation()?)
        }
        "mask" => {
            let whole = |attribute: &str| -> Result<i64, String> {
                let value = number(attribute)?;
                let is_whole = value.fract() == 0.0 && value.abs() < 1e9;
                let wrong = || format!("a mask with {attribute} {value}");
                is_whole.then_some(value as i64).ok_or_else(wrong)
            };
            let text = node.attribute("rle").unwrap_or_default();
            let runs: Option<Vec<u32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
            let runs = runs.ok_or("a mask whose run lengths are no numbers")?;
            let sides = [
                whole("left")?,
                whole("top")?,
                whole("width")?,
                whole("height")?,
            ];
            if sides[2] < 1 || sides[3] < 1 {
                return Err(format!("a mask of {}×{}", sides[2], sides[3]));
            }
            Geometry::Mask(runs, sides)
        }
        "tag" => {
            remarks.add("tag", "on whole pictures: left out", place);
            return Ok(None);
        }
        "attribute" => return Ok(None),
        "polyline" | "points" | "skeleton" | "cuboid" => {
            let what = format!("of the type {name}, which CVAT draws in no mask either: left out");
            remarks.add("shape", &what, place);
            return Ok(None);
        }
        _ => {
            let what = format!("of the unknown type {name}: left out");
            remarks.add("shape", &what, place);
            return Ok(None);
        }
    }))
}

pub(super) fn z_order(node: Node<'_, '_>) -> i64 {
    let order = node
        .attribute("z_order")
        .and_then(|text| text.trim().parse().ok());
    order.unwrap_or(0)
}

/// `x,y;x,y;…`
fn points(text: &str) -> Result<Vec<[f64; 2]>, String> {
    let pair = |pair: &str| {
        let number = |text: &str| text.trim().parse().ok().filter(|v: &f64| v.is_finite());
        let point = pair
            .split_once(',')
            .and_then(|(x, y)| Some([number(x)?, number(y)?]));
        point.ok_or_else(|| format!("a polygon with the point `{}`", pair.trim()))
    };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    text.trim_end_matches([';', ' '])
        .split(';')
        .map(pair)
        .collect()
}
