//! Closed outlines filled.

use segmenta_image::LabelMap;

/// Gives every pixel whose centre lies inside the rings an id.
///
/// Inside is where the rings wind around a point (the non-zero rule): rings of one direction are united wherever they
/// lie, and a ring inside another that runs the other way is a hole, which is how polygons with holes are written. A
/// centre on a line belongs to the side to its right or below, so that two polygons that share an edge share no pixel.
/// Points outside the picture are allowed; rings of fewer than three points and points that are no numbers are not
/// drawn.
///
/// An edge is looked at in the rows that it crosses and in no other (an active edge table), so that an outline of very
/// many short edges costs no more than a pass over them.
pub(crate) fn fill(map: &mut LabelMap, rings: &[Vec<[f32; 2]>], id: u8) {
    let mut edges: Vec<Edge> = rings.iter().flat_map(|ring| edges(ring)).collect();
    edges.sort_by(|a, b| a.top.total_cmp(&b.top));
    let (width, height) = map.size();
    let first = edges.iter().map(|e| e.top).fold(f64::INFINITY, f64::min);
    let last = edges
        .iter()
        .map(|e| e.bottom)
        .fold(f64::NEG_INFINITY, f64::max);
    // `as` saturates: nothing beyond the picture is visited.
    let rows =
        (first - 0.5).ceil().max(0.0) as usize..((last - 0.5).ceil().max(0.0) as usize).min(height);
    let mut below = edges.iter().peekable();
    let mut active: Vec<&Edge> = Vec::new();
    let mut crossings: Vec<(f64, i32)> = Vec::new();
    for y in rows {
        let centre = y as f64 + 0.5;
        active.extend(std::iter::from_fn(|| below.next_if(|e| e.top <= centre)));
        active.retain(|e| centre < e.bottom);
        crossings.clear();
        crossings.extend(active.iter().map(|e| e.crossing(centre)));
        crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
        fill_row(&mut map.ids_mut()[y * width..][..width], &crossings, id);
    }
}

/// Fills between crossings, sorted from left to right, where the rings wind around the row's centres.
fn fill_row(row: &mut [u8], crossings: &[(f64, i32)], id: u8) {
    let mut winding = 0;
    for pair in crossings.windows(2) {
        winding += pair[0].1;
        if winding != 0 {
            let column = |x: f64| ((x - 0.5).ceil().max(0.0) as usize).min(row.len());
            let columns = column(pair[0].0)..column(pair[1].0);
            row[columns].fill(id);
        }
    }
}

/// A line that is not level, from its upper end on.
struct Edge {
    top: f64,
    bottom: f64,
    /// At the top.
    x: f64,
    /// Columns a row.
    slope: f64,
    /// 1 if the ring runs down here, −1 if up.
    direction: i32,
}

impl Edge {
    /// Where it crosses a row's centres, and which way.
    fn crossing(&self, centre: f64) -> (f64, i32) {
        (self.x + (centre - self.top) * self.slope, self.direction)
    }
}

fn edges(ring: &[[f32; 2]]) -> Vec<Edge> {
    let points: Vec<[f64; 2]> = ring.iter().map(|p| p.map(f64::from)).collect();
    if points.len() < 3 || points.as_flattened().iter().any(|v| !v.is_finite()) {
        return Vec::new();
    }
    let next = points.iter().cycle().skip(1);
    let lines = points.iter().zip(next);
    lines
        .filter(|([_, y0], [_, y1])| y0 != y1)
        .map(|(&a, &b)| {
            let (upper, lower, direction) = if a[1] < b[1] { (a, b, 1) } else { (b, a, -1) };
            Edge {
                top: upper[1],
                bottom: lower[1],
                x: upper[0],
                slope: (lower[0] - upper[0]) / (lower[1] - upper[1]),
                direction,
            }
        })
        .collect()
}

/// The outline of an ellipse as a ring of lines no longer than about a pixel: its axes lie along the picture's, and
/// are then turned clockwise by so many degrees.
pub(crate) fn ellipse(centre: [f32; 2], radii: [f32; 2], degrees: f64) -> Vec<[f32; 2]> {
    let steps = (std::f32::consts::TAU * radii[0].max(radii[1])).clamp(16.0, 4096.0) as usize;
    let point = |step: usize| {
        let angle = std::f32::consts::TAU * step as f32 / steps as f32;
        [
            centre[0] + radii[0] * angle.cos(),
            centre[1] + radii[1] * angle.sin(),
        ]
    };
    turned((0..steps).map(point).collect(), centre, degrees)
}

/// Points turned around a centre, clockwise as the picture is seen (y points down).
pub(crate) fn turned(mut ring: Vec<[f32; 2]>, centre: [f32; 2], degrees: f64) -> Vec<[f32; 2]> {
    if degrees == 0.0 {
        return ring;
    }
    let [cx, cy] = centre.map(f64::from);
    // A quarter turn has no rounding: sin π is not 0 in floating point.
    let (sine, cosine) = match degrees.rem_euclid(360.0) {
        90.0 => (1.0, 0.0),
        180.0 => (0.0, -1.0),
        270.0 => (-1.0, 0.0),
        other => other.to_radians().sin_cos(),
    };
    for [x, y] in &mut ring {
        let (dx, dy) = (f64::from(*x) - cx, f64::from(*y) - cy);
        *x = (cx + cosine * dx - sine * dy) as f32;
        *y = (cy + sine * dx + cosine * dy) as f32;
    }
    ring
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// [`fill`] as it reads in a book: every edge is asked in every row.
    fn fill_slowly(map: &mut LabelMap, rings: &[Vec<[f32; 2]>], id: u8) {
        let edges: Vec<Edge> = rings.iter().flat_map(|ring| edges(ring)).collect();
        let (width, height) = map.size();
        for y in 0..height {
            let centre = y as f64 + 0.5;
            let crossed = edges.iter();
            let crossed = crossed.filter(|e| e.top <= centre && centre < e.bottom);
            let mut crossings: Vec<(f64, i32)> = crossed.map(|e| e.crossing(centre)).collect();
            crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
            fill_row(&mut map.ids_mut()[y * width..][..width], &crossings, id);
        }
    }

    /// Points on and between the grid's lines, in the picture and around it.
    fn rings() -> impl Strategy<Value = Vec<Vec<[f32; 2]>>> {
        let coordinate = prop_oneof![
            16 => -6.0_f32..46.0,
            16 => (-12_i32..92).prop_map(|n| n as f32 / 2.0),
            1 => prop::sample::select(vec![f32::MAX, -1e30, f32::NAN, 1e9]),
        ];
        let point = prop::array::uniform2(coordinate);
        prop::collection::vec(prop::collection::vec(point, 0..12), 0..4)
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(400))]

        #[test]
        fn the_edge_table_draws_what_asking_every_edge_draws(
            rings in rings(),
            width in 1_usize..40,
            height in 1_usize..40,
        ) {
            let empty = || LabelMap::new(width, height, vec![0; width * height]).unwrap();
            let (mut fast, mut slow) = (empty(), empty());
            fill(&mut fast, &rings, 1);
            fill_slowly(&mut slow, &rings, 1);
            prop_assert_eq!(fast.ids(), slow.ids());
        }
    }

    /// A star of 2·10⁵ edges, each of which crosses few rows.
    #[test]
    fn an_outline_of_very_many_points_is_drawn_at_once() {
        const POINTS: usize = 200_000;
        let (side, centre) = (4096, 2048.0);
        let point = |i: usize| {
            let angle = std::f64::consts::TAU * i as f64 / POINTS as f64;
            let radius = if i.is_multiple_of(2) { 2000.0 } else { 1999.0 };
            [
                (centre + radius * angle.cos()) as f32,
                (centre + radius * angle.sin()) as f32,
            ]
        };
        let map = drawn(side, side, &[(0..POINTS).map(point).collect()]);
        let area = map.counts()[1] as f64;
        let disc = |radius: f64| std::f64::consts::PI * radius * radius;
        assert!(disc(1999.0) < area && area < disc(2000.0), "{area}");
    }

    fn drawn(width: usize, height: usize, rings: &[Vec<[f32; 2]>]) -> LabelMap {
        let mut map = LabelMap::new(width, height, vec![0; width * height]).unwrap();
        fill(&mut map, rings, 1);
        map
    }

    fn square(from: f32, to: f32) -> Vec<[f32; 2]> {
        vec![[from, from], [to, from], [to, to], [from, to]]
    }

    #[test]
    fn a_ring_the_other_way_round_is_a_hole() {
        let hole: Vec<[f32; 2]> = square(2.0, 4.0).into_iter().rev().collect();
        assert_eq!(drawn(8, 8, &[square(0.0, 6.0), hole]).counts()[1], 36 - 4);
        assert_eq!(
            drawn(8, 8, &[square(0.0, 6.0), square(2.0, 4.0)]).counts()[1],
            36
        );
        assert_eq!(
            drawn(8, 8, &[square(0.0, 2.0), square(5.0, 8.0)]).counts()[1],
            4 + 9
        );
    }

    #[test]
    fn what_lies_outside_is_cut_off_and_what_is_no_ring_is_nothing() {
        assert_eq!(drawn(4, 4, &[square(-10.0, 2.0)]).counts()[1], 4);
        assert_eq!(drawn(4, 4, &[square(-1e30, 1e30)]).counts()[1], 16);
        assert_eq!(drawn(4, 4, &[square(5.0, 9.0)]).counts()[1], 0);
        assert_eq!(drawn(4, 4, &[vec![[0.0, 0.0], [3.0, 3.0]]]).counts()[1], 0);
        assert_eq!(
            drawn(4, 4, &[vec![[0.0, f32::NAN], [3.0, 3.0], [1.0, 2.0]]]).counts()[1],
            0
        );
        assert_eq!(drawn(4, 4, &[]).counts()[1], 0);
    }

    #[test]
    fn a_circle_has_its_area() {
        let area = drawn(100, 100, &[ellipse([50.0, 50.0], [40.0, 20.0], 30.0)]).counts()[1] as f32;
        assert!(
            (area / (std::f32::consts::PI * 800.0) - 1.0).abs() < 0.01,
            "{area}"
        );
    }

    #[test]
    fn shapes_turn_clockwise() {
        // As SVG's `rotate` and CVAT: x towards y, which points down.
        let ring = turned(vec![[4.0, 1.0], [1.0, 1.0]], [1.0, 1.0], 90.0);
        assert_eq!(ring, [[1.0, 4.0], [1.0, 1.0]]);
        let upright = drawn(40, 40, &[ellipse([20.0, 20.0], [15.0, 4.0], 90.0)]);
        let rows = |column: usize| {
            (0..40)
                .filter(|y| upright.ids()[y * 40 + column] == 1)
                .count()
        };
        assert_eq!((rows(19), rows(15), rows(24)), (30, 0, 0));
        let box_of = |degrees| {
            let ring = vec![[5.0, 9.0], [15.0, 9.0], [15.0, 11.0], [5.0, 11.0]];
            drawn(20, 20, &[turned(ring, [10.0, 10.0], degrees)])
        };
        assert_eq!(box_of(180.0), box_of(0.0));
        assert_eq!(box_of(450.0), box_of(90.0));
        assert_eq!(box_of(-90.0), box_of(270.0));
    }

    /// How often a ring winds around a point, by the angles under which it is seen.
    fn winding(ring: &[[f32; 2]], x: f64, y: f64) -> f64 {
        let angle = |p: &[f32; 2]| (f64::from(p[1]) - y).atan2(f64::from(p[0]) - x);
        let next = ring.iter().cycle().skip(1);
        let turns = ring.iter().zip(next).map(|(a, b)| {
            let turn = angle(b) - angle(a);
            turn - std::f64::consts::TAU * (turn / std::f64::consts::TAU).round()
        });
        turns.sum::<f64>() / std::f64::consts::TAU
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn pixels_are_inside_where_rings_wind_around_them(
            rings in prop::collection::vec(
                prop::collection::vec((-3.0f32..15.0, -3.0f32..15.0).prop_map(|(x, y)| [x, y]), 3..7), 1..4)
        ) {
            let map = drawn(12, 11, &rings);
            for (i, &id) in map.ids().iter().enumerate() {
                let (x, y) = ((i % 12) as f64 + 0.5, (i / 12) as f64 + 0.5);
                let turns: f64 = rings.iter().map(|ring| winding(ring, x, y)).sum();
                prop_assert_eq!(id == 1, turns.abs() > 0.5, "({}, {}): {} turns", x, y, turns);
            }
        }
    }
}
