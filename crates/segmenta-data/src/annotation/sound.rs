//! Sizes and coordinates that documents claim.

use segmenta_image::MAX_PIXELS;

use super::{Area, Remarks};

/// A picture's size as a document has it, as whole pixels.
pub(crate) fn size(width: f64, height: f64) -> Result<(usize, usize), String> {
    let whole = |side: f64| side.fract() == 0.0 && side >= 1.0;
    if !whole(width) || !whole(height) {
        return Err(format!("a picture of {width}×{height} pixels"));
    }
    if width * height > MAX_PIXELS as f64 {
        return Err(format!(
            "a picture of {width}×{height}, more than {MAX_PIXELS} pixels"
        ));
    }
    Ok((width as usize, height as usize))
}

/// A coordinate in single precision, as pixels are counted.
pub(crate) fn coordinate(value: f64) -> Result<f32, String> {
    let single = value as f32;
    if single.is_finite() {
        Ok(single)
    } else {
        Err(format!("a coordinate that is no number ({value})"))
    }
}

/// Points (x, y) in single precision.
pub(crate) fn points(points: &[[f64; 2]]) -> Result<Vec<[f32; 2]>, String> {
    let point = |&[x, y]: &[f64; 2]| Ok([coordinate(x)?, coordinate(y)?]);
    points.iter().map(point).collect()
}

/// Remarks on a shape that lies outside its picture, or reaches out of it by more than the picture's own size: it was
/// drawn on another picture, or in another unit. And on one whose points lie on one line: no pixel comes of it.
pub(crate) fn inside(
    remarks: &mut Remarks,
    area: &Area,
    (width, height): (usize, usize),
    origin: impl FnOnce() -> String,
) {
    let (low, high) = match area {
        Area::Rings(rings) => extent(rings.iter().flatten()),
        Area::Runs { left, top, runs } => {
            let (w, h) = runs.size();
            let (x, y) = (*left as f32, *top as f32);
            ([x, y], [x + w as f32, y + h as f32])
        }
    };
    if low[0] > high[0] {
        return;
    }
    let sides = [width as f32, height as f32];
    let apart = (0..2).any(|i| high[i] <= 0.0 || low[i] >= sides[i]);
    let far = (0..2).any(|i| low[i] < -sides[i] || high[i] > 2.0 * sides[i]);
    let what = if apart {
        "outside the picture"
    } else if far {
        "reaching far out of the picture: cut off"
    } else if is_flat(area) {
        "without an area: no pixel is drawn"
    } else {
        return;
    };
    remarks.add("shape", what, || {
        format!(
            "{}, x {} to {}, y {} to {} for {width}×{height}",
            origin(),
            low[0],
            high[0],
            low[1],
            high[1]
        )
    });
}

/// Whether the points of every ring lie on one line.
fn is_flat(area: &Area) -> bool {
    let Area::Rings(rings) = area else {
        return false;
    };
    let ring_is_flat = |ring: &Vec<[f32; 2]>| {
        let from = |a: [f32; 2], b: [f32; 2]| [0, 1].map(|i| f64::from(b[i]) - f64::from(a[i]));
        let Some((&first, rest)) = ring.split_first() else {
            return true;
        };
        let Some(&second) = rest.iter().find(|point| **point != first) else {
            return true;
        };
        let [dx, dy] = from(first, second);
        rest.iter().all(|&point| {
            let [x, y] = from(first, point);
            dx * y == dy * x
        })
    };
    rings.iter().all(ring_is_flat)
}

fn extent<'a>(points: impl Iterator<Item = &'a [f32; 2]>) -> ([f32; 2], [f32; 2]) {
    let none = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
    points.fold(none, |(low, high), p| {
        let low = [low[0].min(p[0]), low[1].min(p[1])];
        (low, [high[0].max(p[0]), high[1].max(p[1])])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_and_bounded() {
        assert_eq!(size(640.0, 480.0), Ok((640, 480)));
        for (w, h) in [
            (0.0, 4.0),
            (-3.0, 4.0),
            (2.5, 4.0),
            (f64::NAN, 4.0),
            (f64::INFINITY, 1.0),
            (1e9, 1e9),
            (16385.0, 16384.0),
        ] {
            assert!(size(w, h).is_err(), "{w}×{h}");
        }
    }

    #[test]
    fn points_on_one_line_have_no_area() {
        let flat = |points: &[[f32; 2]]| is_flat(&Area::Rings(vec![points.to_vec()]));
        for line in [
            &[[1.0, 1.0]; 4][..],
            &[[1.0, 1.0], [5.0, 3.0], [3.0, 2.0], [1.0, 1.0]],
            &[[2.0, 0.0], [2.0, 9.0], [2.0, 4.0]],
        ] {
            assert!(flat(line), "{line:?}");
        }
        // The signed area of the last is 0, and pixels come of it.
        for shape in [
            &[[1.0, 1.0], [5.0, 3.0], [3.0, 2.5]][..],
            &[[0.0, 0.0], [4.0, 4.0], [4.0, 0.0], [0.0, 4.0]],
        ] {
            assert!(!flat(shape), "{shape:?}");
        }
    }

    #[test]
    fn what_lies_elsewhere_is_said() {
        let said = |from: f32, to: f32| {
            let mut remarks = Remarks::default();
            let ring = vec![[from, 1.0], [to, 1.0], [to, 2.0]];
            inside(&mut remarks, &Area::Rings(vec![ring]), (10, 4), || {
                "annotation 3".into()
            });
            remarks.iter().next().map(|remark| remark.to_string())
        };
        assert_eq!(said(0.0, 10.0), None);
        assert_eq!(said(-9.0, 19.0), None);
        let far = said(-1.0, 30.0).unwrap();
        assert!(
            far.contains("far out") && far.contains("annotation 3, x -1 to 30"),
            "{far}"
        );
        let flat = said(3.0, 3.0).unwrap();
        assert!(flat.starts_with("1 shape without an area"), "{flat}");
        let outside = said(10.0, 12.0).unwrap();
        assert!(
            outside.starts_with("1 shape outside the picture"),
            "{outside}"
        );
    }
}
