//! Values of flags as people write them: numbers in a range, sizes, shapes.

use std::ops::RangeInclusive;
use std::str::FromStr;

use segmenta::Resize;
use segmenta_graph::Shape;
use segmenta_image::{ErrorKind, PictureError, Size};

pub(crate) fn number(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ if *range.end() == usize::MAX => Err(format!("a whole number from {} on", range.start())),
        _ => Err(format!(
            "a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    let value = text
        .parse()
        .ok()
        .filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "a number from 0 to 1".into())
}

/// Points of a score.
pub(crate) fn points(text: &str) -> Result<f64, String> {
    let value = text
        .parse()
        .ok()
        .filter(|value| (0.0..=100.0).contains(value));
    value.ok_or_else(|| "points of a score, from 0 to 100, such as 0.5".into())
}

/// Neither impossible nor sure.
pub(crate) fn probability(text: &str) -> Result<f32, String> {
    let value = text.parse().ok();
    let value = value.filter(|&value| value > 0.0 && value < 1.0);
    value.ok_or_else(|| "a number between 0 and 1, such as 0.3".into())
}

pub(crate) fn resize(text: &str) -> Result<Resize, String> {
    text.parse()
        .map_err(|error: PictureError| match error.kind() {
            ErrorKind::TooLarge => too_large(&error),
            _ => "520 (short side), long:513 (long side), 224x224 or none".into(),
        })
}

/// What is wrong and how to mend it; the flag and its value are named around it.
fn too_large(error: &PictureError) -> String {
    format!("{} · {}", error.what(), error.remedy())
}

/// The side of a square that a network is given.
pub(crate) fn tile(text: &str) -> Result<usize, String> {
    const LEAST: usize = 16;
    let side: usize = text.parse().map_err(|_| "a whole number".to_owned())?;
    Size::for_network(side, side).map_err(|error| too_large(&error))?;
    if side < LEAST {
        return Err(format!("a whole number from {LEAST} on"));
    }
    Ok(side)
}

/// Numbers between which stands `separator`.
fn list<T: FromStr>(text: &str, separator: &[char]) -> Option<Vec<T>> {
    text.split(separator)
        .map(|part| part.trim().parse().ok())
        .collect()
}

pub(crate) fn crop(text: &str) -> Result<[usize; 2], String> {
    let sides = match list(text, &['x', '×']).as_deref() {
        Some(&[side]) => Some([side, side]),
        Some(&[width, height]) => Some([width, height]),
        _ => None,
    };
    let [width, height] = sides.ok_or("write 224 (a square) or 320x240 (width x height)")?;
    Size::for_network(width, height).map_err(|error| too_large(&error))?;
    Ok([width, height])
}

pub(crate) fn mean(text: &str) -> Result<[f32; 3], String> {
    three(text, |value| (0.0..=1.0).contains(&value))
        .ok_or_else(|| "three numbers from 0 to 1: 0.485,0.456,0.406".into())
}

pub(crate) fn deviation(text: &str) -> Result<[f32; 3], String> {
    three(text, |value| value > 0.0 && value <= 1.0)
        .ok_or_else(|| "three numbers above 0, at most 1: 0.229,0.224,0.225".into())
}

fn three(text: &str, allowed: impl Fn(f32) -> bool) -> Option<[f32; 3]> {
    let values: [f32; 3] = list(text, &[','])?.try_into().ok()?;
    values.iter().all(|&value| allowed(value)).then_some(values)
}

/// The most values of a tensor: 1 GiB of floats.
const MAX_VALUES: usize = 1 << 28;

pub(crate) fn shape(text: &str) -> Result<Shape, String> {
    let sides: Option<[usize; 4]> = list(text, &['x', '×']).and_then(|s| s.try_into().ok());
    let values = |sides: &[usize; 4]| sides.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
    let sides = sides.filter(|sides| !sides.contains(&0));
    let sides = sides.ok_or("batch x channels x height x width, as 1x3x520x520")?;
    let [_, _, height, width] = sides;
    Size::for_network(width, height).map_err(|error| too_large(&error))?;
    if values(&sides).is_none_or(|n| n > MAX_VALUES) {
        return Err(format!("too many values · give up to {MAX_VALUES} in all"));
    }
    Ok(sides.into())
}

/// Where pictures are segmented: on the processor.
pub(crate) fn device(text: &str) -> Result<String, String> {
    match text {
        "cpu" => Ok(text.into()),
        _ => Err("pictures are segmented on the processor: cpu".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_sizes_are_read() {
        assert_eq!(shape("2x3x4x5"), Ok(Shape::new(2, 3, 4, 5)));
        for text in [
            "",
            "3x4x5",
            "1x3x0x4",
            "1x3x99999999x99999999",
            "1x3xax4",
            "99999x3x520x520",
        ] {
            assert!(shape(text).is_err(), "{text}");
        }
        for error in [
            resize("1000000x1000000").unwrap_err(),
            crop("16384x16384").unwrap_err(),
            tile("8193").unwrap_err(),
            shape("1x1x99999x99999").unwrap_err(),
        ] {
            assert!(error.contains("8192×8192"), "{error}");
        }
        assert!(tile("15").is_err() && tile("x").is_err());
        assert_eq!(tile("512"), Ok(512));
        assert_eq!(crop("320x240"), Ok([320, 240]));
        assert!(crop("0").is_err() && crop("1x2x3").is_err());
        assert_eq!(mean("0.5, 0.5,0.5"), Ok([0.5; 3]));
        assert!(mean("123.7,116.3,103.5").is_err() && mean("nan,0,0").is_err());
        assert!(deviation("0,1,1").is_err());
        assert_eq!(probability("0.3"), Ok(0.3));
        assert!(
            ["0", "1", "nan", "30%", "1e-60"]
                .iter()
                .all(|p| probability(p).is_err())
        );
    }
}
