//! Shapes between two key frames of a track, as CVAT computes them.
//!
//! Boxes and ellipses move linearly and turn the shorter way. Polygons may have different counts of points: each point
//! is matched with the one at the nearest share of the other's length (<https://docs.cvat.ai>, track mode with
//! polygons), and points that come close to each other are united again.

use std::ops::Range;

use super::shape::Geometry;

/// The way from one key frame's shape to the next one's.
pub(super) enum Motion {
    Box([f64; 4], [f64; 4], Turn),
    Ellipse([f64; 4], [f64; 4], Turn),
    Polygon(Matching),
}

/// Degrees at the beginning, and by how many it turns.
pub(super) struct Turn(f64, f64);

impl Turn {
    fn new(from: f64, to: f64) -> Self {
        Self(from, (to - from + 180.0).rem_euclid(360.0) - 180.0)
    }

    fn at(&self, share: f64) -> f64 {
        (self.0 + self.1 * share).rem_euclid(360.0)
    }
}

impl Motion {
    /// None if there is none between such shapes: of two sorts, or masks.
    pub(super) fn new(from: &Geometry, to: &Geometry) -> Option<Self> {
        match (from, to) {
            (Geometry::Box(a, r), Geometry::Box(b, s)) => {
                Some(Self::Box(*a, *b, Turn::new(*r, *s)))
            }
            (Geometry::Ellipse(a, r), Geometry::Ellipse(b, s)) => {
                Some(Self::Ellipse(*a, *b, Turn::new(*r, *s)))
            }
            (Geometry::Polygon(a), Geometry::Polygon(b)) => {
                Some(Self::Polygon(Matching::new(a, b)))
            }
            _ => None,
        }
    }

    /// The shape at a share of the way, between 0 and 1.
    pub(super) fn at(&self, share: f64) -> Geometry {
        let mix =
            |a: &[f64; 4], b: &[f64; 4]| std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share);
        match self {
            Self::Box(a, b, turn) => Geometry::Box(mix(a, b), turn.at(share)),
            Self::Ellipse(a, b, turn) => Geometry::Ellipse(mix(a, b), turn.at(share)),
            Self::Polygon(matching) => Geometry::Polygon(matching.at(share)),
        }
    }
}

/// Which point of one polygon moves to which of the next one. Both are closed: the first point is also the last.
pub(super) struct Matching {
    from: Vec<[f64; 2]>,
    to: Vec<[f64; 2]>,
    /// For each point of `from`, those of `to` in ascending order, at least one.
    pairs: Vec<Vec<usize>>,
}

impl Matching {
    fn new(from: &[[f64; 2]], to: &[[f64; 2]]) -> Self {
        let closed = |points: &[[f64; 2]]| -> Vec<[f64; 2]> {
            points.iter().chain(points.first()).copied().collect()
        };
        let (from, to) = (closed(from), closed(to));
        let (a, b) = (shares(&from), shares(&to));
        let mut pairs: Vec<Vec<usize>> = a.iter().map(|&share| vec![nearest(share, &b)]).collect();
        let mut is_matched = vec![false; to.len()];
        for pair in &pairs {
            is_matched[pair[0]] = true;
        }
        for (index, &share) in b.iter().enumerate() {
            if !is_matched[index] {
                pairs[nearest(share, &a)].push(index);
            }
        }
        for pair in &mut pairs {
            pair.sort_unstable();
        }
        Self { from, to, pairs }
    }

    /// The polygon at a share of the way, open again.
    fn at(&self, share: f64) -> Vec<[f64; 2]> {
        let mut moved = Vec::new();
        // Where in `moved` the points of each point of `from` begin.
        let mut starts = Vec::with_capacity(self.pairs.len() + 1);
        for (point, pair) in self.from.iter().zip(&self.pairs) {
            starts.push(moved.len());
            moved.extend(pair.iter().map(|&other| {
                let target = self.to[other];
                [0, 1].map(|i| point[i] + (target[i] - point[i]) * share)
            }));
        }
        starts.push(moved.len());
        let mut kept = Vec::with_capacity(moved.len());
        // Points of `from`, one after the other, that all go to one point of `to` each.
        let mut open: Option<usize> = None;
        for index in 0..self.pairs.len() {
            let pair = &self.pairs[index];
            if let [only] = pair[..] {
                match open {
                    Some(first) if self.pairs[first][0] == only => {}
                    Some(first) => {
                        self.united(first..index, &starts, &moved, &mut kept);
                        open = Some(index);
                    }
                    None => open = Some(index),
                }
                continue;
            }
            if let Some(first) = open.take() {
                self.united(first..index, &starts, &moved, &mut kept);
            }
            // One point that parts into several.
            let (first, last) = (pair[0], pair[pair.len() - 1]);
            let line = &self.to[first..=last];
            unite(line, &moved[starts[index]..starts[index + 1]], &mut kept);
        }
        if let Some(first) = open {
            self.united(first..self.pairs.len(), &starts, &moved, &mut kept);
        }
        kept.pop();
        kept
    }

    /// Several points that go to one.
    fn united(
        &self,
        points: Range<usize>,
        starts: &[usize],
        moved: &[[f64; 2]],
        kept: &mut Vec<[f64; 2]>,
    ) {
        let (first, last) = (starts[points.start], starts[points.end - 1]);
        if first == last {
            kept.push(moved[first]);
        } else {
            unite(&self.from[points], &moved[first..=last], kept);
        }
    }
}

/// Keeps the first and the last of moved points, and between them those that are not closer to the one before than
/// half the mean distance of the line's points; all are one where even the ends are closer.
fn unite(line: &[[f64; 2]], moved: &[[f64; 2]], kept: &mut Vec<[f64; 2]>) {
    let [first, between @ .., last] = moved else {
        kept.extend(moved);
        return;
    };
    let least = length(line) / (2.0 * line.len() as f64);
    let mut before = *first;
    let start = kept.len();
    kept.push(*first);
    for &point in between {
        if distance(before, point) >= least {
            kept.push(point);
            before = point;
        }
    }
    if kept.len() == start + 1 && distance(*first, *last) < least {
        kept[start] = [0, 1].map(|i| f64::midpoint(first[i], last[i]));
    } else {
        kept.push(*last);
    }
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (b[0] - a[0]).hypot(b[1] - a[1])
}

fn length(line: &[[f64; 2]]) -> f64 {
    line.windows(2).map(|pair| distance(pair[0], pair[1])).sum()
}

/// How far along a line each of its points lies, from 0 to 1. All are 0 on a line without length.
fn shares(line: &[[f64; 2]]) -> Vec<f64> {
    let whole = length(line);
    let mut passed = 0.0;
    let steps = line.windows(2).map(|pair| {
        passed += distance(pair[0], pair[1]);
        if whole > 0.0 { passed / whole } else { 0.0 }
    });
    std::iter::once(0.0).chain(steps).collect()
}

/// The first of the ascending values that are nearest to one.
fn nearest(value: f64, all: &[f64]) -> usize {
    let above = all.partition_point(|&other| other < value);
    let Some(&below) = above.checked_sub(1).and_then(|index| all.get(index)) else {
        return 0;
    };
    let is_below = all
        .get(above)
        .is_none_or(|&other| value - below <= other - value);
    if is_below {
        all.partition_point(|&other| other < below)
    } else {
        above
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polygon(from: &[[f64; 2]], to: &[[f64; 2]], share: f64) -> Vec<[f64; 2]> {
        Matching::new(from, to).at(share)
    }

    #[test]
    fn boxes_turn_the_shorter_way() {
        let shape = |x: f64, degrees| Geometry::Box([x, 0.0, x + 4.0, 2.0], degrees);
        let (a, b) = (shape(0.0, 350.0), shape(10.0, 10.0));
        let middle = Motion::new(&a, &b).unwrap().at(0.5);
        assert_eq!(middle, shape(5.0, 0.0));
        assert!(Motion::new(&a, &Geometry::Polygon(Vec::new())).is_none());
    }

    #[test]
    fn the_same_count_of_points_moves_point_by_point() {
        let square = |x: f64| [[x, 0.0], [x + 4.0, 0.0], [x + 4.0, 4.0], [x, 4.0]];
        assert_eq!(polygon(&square(0.0), &square(8.0), 0.25), square(2.0));
    }

    #[test]
    fn nearest_is_the_first_of_equals() {
        let all = [0.0, 0.25, 0.25, 0.75, 1.0];
        for (value, index) in [
            (0.0, 0),
            (0.125, 0),
            (0.126, 1),
            (0.25, 1),
            (0.5, 1),
            (0.51, 3),
            (2.0, 4),
        ] {
            assert_eq!(nearest(value, &all), index, "{value}");
        }
    }

    /// What the rules of CVAT's server (`TrackManager`) give for these polygons, computed apart from this program.
    #[test]
    fn polygons_are_cvats() {
        let triangle = [[0.0, 0.0], [10.0, 0.0], [5.0, 8.0]];
        let hexagon = [
            [0.0, 0.0],
            [6.0, -2.0],
            [12.0, 0.0],
            [12.0, 6.0],
            [6.0, 9.0],
            [0.0, 6.0],
        ];
        let square = [[1.0, 1.0], [9.0, 1.0], [9.0, 9.0], [1.0, 9.0]];
        // Points closer to each other than to the rest.
        let dense = [
            [0.0, 0.0],
            [0.5, 0.0],
            [1.0, 0.0],
            [9.0, 0.0],
            [10.0, 0.0],
            [10.0, 0.4],
            [10.0, 10.0],
            [0.0, 10.0],
            [0.0, 9.8],
        ];
        let wanted: [(&[_], &[_], f64, &[[f64; 2]]); 4] = [
            (
                &triangle,
                &hexagon,
                0.5,
                &[
                    [0.0, 0.0],
                    [3.0, -1.0],
                    [11.0, 0.0],
                    [11.0, 3.0],
                    [5.5, 8.5],
                    [0.0, 3.0],
                ],
            ),
            (
                &hexagon,
                &triangle,
                0.25,
                &[
                    [0.0, 0.0],
                    [4.5, -1.5],
                    [11.5, 0.0],
                    [11.5, 4.5],
                    [5.75, 8.75],
                    [0.0, 4.5],
                ],
            ),
            (
                &dense,
                &square,
                0.5,
                &[
                    [0.5, 0.5],
                    [0.75, 0.5],
                    [1.0, 0.5],
                    [9.0, 0.5],
                    [9.5, 0.5],
                    [9.5, 0.7],
                    [9.5, 9.5],
                    [0.5, 9.5],
                    [0.5, 9.4],
                ],
            ),
            (
                &square,
                &dense,
                0.75,
                &[
                    [0.25, 0.25],
                    [0.625, 0.25],
                    [1.0, 0.25],
                    [9.0, 0.25],
                    [9.75, 0.25],
                    [9.75, 0.55],
                    [9.75, 9.75],
                    [0.25, 9.75],
                    [0.25, 9.6],
                ],
            ),
        ];
        for (from, to, share, points) in wanted {
            let got = polygon(from, to, share);
            assert_eq!(got.len(), points.len(), "{got:?}");
            for (got, point) in got.as_flattened().iter().zip(points.as_flattened()) {
                assert!((got - point).abs() < 1e-9, "{got} for {point}");
            }
        }
    }
}
