//! A picture seen through a projection, as Pillow's `Image.transform` makes it.

use segmenta_image::{LabelMap, Picture};

use crate::Sample;

/// Where each point of the new picture comes from: (x, y) ↦ ((ax + by + c) / w, (dx + ey + f) / w), w = gx + hy + 1,
/// in pixels from the top left corner, the centre of the first pixel lying at (½, ½).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Projection(pub(super) [f64; 8]);

impl Projection {
    /// What turns a picture by an angle in degrees (clockwise), scales it about its centre and then moves it, in
    /// pixels: torchvision's `affine` without shear, inverted.
    pub(super) fn turn(
        (width, height): (usize, usize),
        degrees: f64,
        scale: f64,
        shift: [f64; 2],
    ) -> Self {
        let (x, y) = (width as f64 * 0.5, height as f64 * 0.5);
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (a, b, d, e) = (cos / scale, sin / scale, -sin / scale, cos / scale);
        let (u, v) = (x + shift[0], y + shift[1]);
        Self([a, b, x - a * u - b * v, d, e, y - d * u - e * v, 0.0, 0.0])
    }

    /// What moves four corners of a picture to other points; `None` where three of those lie on a line.
    pub(super) fn corners(from: [[f64; 2]; 4], to: [[f64; 2]; 4]) -> Option<Self> {
        let mut rows = [[0.0; 9]; 8];
        for (i, ([x, y], [u, v])) in to.into_iter().zip(from).enumerate() {
            rows[2 * i] = [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u];
            rows[2 * i + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v];
        }
        solve(rows).map(Self)
    }

    fn source(&self, x: f64, y: f64) -> [f64; 2] {
        let [a, b, c, d, e, f, g, h] = self.0;
        let w = g * x + h * y + 1.0;
        [(a * x + b * y + c) / w, (d * x + e * y + f) / w]
    }
}

/// Eight equations with eight unknowns by Gauss's elimination with pivots.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot =
            (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        if rows[column][column].abs() < 1e-9 {
            return None;
        }
        let above = rows[column];
        for (place, row) in rows.iter_mut().enumerate() {
            if place != column {
                let factor = row[column] / above[column];
                row.iter_mut()
                    .zip(above)
                    .for_each(|(value, above)| *value -= factor * above);
            }
        }
    }
    Some(std::array::from_fn(|i| rows[i][8] / rows[i][i]))
}

/// The sample through a projection, at its own size: the picture bilinearly, the mask by the nearest pixel, both
/// filled where the point seen lies outside.
pub(super) fn warp(
    sample: &Sample,
    projection: Projection,
    fill: [u8; 3],
    fill_mask: u8,
) -> Sample {
    let (width, height) = sample.size();
    let (from, _) = sample.picture().pixels().as_chunks::<3>();
    let from_ids = sample.labels().ids();
    let mut pixels = Vec::with_capacity(width * height);
    let mut ids = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let [u, v] = projection.source(x as f64 + 0.5, y as f64 + 0.5);
            // Written so that a point that is no number lies outside.
            let inside = u >= 0.0 && v >= 0.0 && u < width as f64 && v < height as f64;
            if inside {
                pixels.push(bilinear(from, (width, height), u - 0.5, v - 0.5));
                ids.push(from_ids[v as usize * width + u as usize]);
            } else {
                pixels.push(fill);
                ids.push(fill_mask);
            }
        }
    }
    let picture = Picture::from_rgb(width, height, pixels.into_flattened());
    let labels = LabelMap::new(width, height, ids);
    Sample::pair(
        picture.expect("the size of the sample"),
        labels.expect("the size of the sample"),
    )
}

/// Between four pixels; beyond the edge the nearest counts. Pillow cuts off what is behind the point.
fn bilinear(pixels: &[[u8; 3]], (width, height): (usize, usize), u: f64, v: f64) -> [u8; 3] {
    let (left, top) = (u.floor(), v.floor());
    let (du, dv) = (u - left, v - top);
    let column = |x: f64| (x.max(0.0) as usize).min(width - 1);
    let row = |y: f64| (y.max(0.0) as usize).min(height - 1) * width;
    let (x0, x1, y0, y1) = (column(left), column(left + 1.0), row(top), row(top + 1.0));
    let [a, b, c, d] = [y0 + x0, y0 + x1, y1 + x0, y1 + x1].map(|at| pixels[at].map(f64::from));
    std::array::from_fn(|i| {
        let upper = a[i] + (b[i] - a[i]) * du;
        let lower = c[i] + (d[i] - c[i]) * du;
        (upper + (lower - upper) * dv) as u8
    })
}
