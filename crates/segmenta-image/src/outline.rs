//! The regions of a label map as polygons, and as COCO's run lengths.
//!
//! Polygons follow the sides of pixels, so they say the mask exactly: a pixel belongs to a region where its middle lies inside
//! the exterior and in none of the holes. Regions hang together by sides; two that touch at a corner are two polygons.

use crate::{LabelMap, VOID};

/// A corner of pixels: x in 0..=width, y in 0..=height.
pub type Corner = [u32; 2];

/// One connected region of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The class.
    pub id: u8,
    /// Pixels.
    pub pixels: u64,
    /// Its outer ring, clockwise (y points down); the first corner is not repeated at the end.
    pub exterior: Vec<Corner>,
    /// Rings around what lies inside and is not of the region, counter-clockwise.
    pub holes: Vec<Vec<Corner>>,
}

impl Region {
    /// The smallest rectangle around it: x, y, width, height in pixels.
    pub fn bounds(&self) -> [u32; 4] {
        let sides = |axis: usize| {
            let along = self.exterior.iter().map(|corner| corner[axis]);
            let least = along.clone().min().unwrap_or(0);
            (least, along.max().unwrap_or(0) - least)
        };
        let ((x, width), (y, height)) = (sides(0), sides(1));
        [x, y, width, height]
    }
}

impl LabelMap {
    /// Its connected regions as polygons, in the order of their first pixels; void has none.
    pub fn regions(&self) -> Vec<Region> {
        let (width, height) = self.size();
        let components = components(self);
        let mut regions: Vec<Option<Region>> = Vec::new();
        // A ring has a side that is walked rightwards, above one of the region's pixels: rings begin there.
        let mut walked = vec![false; width * height];
        let at = |x: i64, y: i64| {
            let inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
            inside.then(|| components[y as usize * width + x as usize])
        };
        for pixel in 0..width * height {
            let (x, y) = (pixel % width, pixel / width);
            let id = self.ids()[pixel];
            let component = components[pixel];
            if regions.len() <= component as usize {
                regions.push((id != VOID).then(|| Region {
                    id,
                    pixels: 0,
                    exterior: Vec::new(),
                    holes: Vec::new(),
                }));
            }
            let Some(region) = &mut regions[component as usize] else {
                continue;
            };
            region.pixels += 1;
            let is_edge = y == 0 || components[pixel - width] != component;
            if !is_edge || walked[pixel] {
                continue;
            }
            let is_of = |x: i64, y: i64| at(x, y) == Some(component);
            let ring = ring([x as i64, y as i64], is_of, |x, y| {
                walked[y * width + x] = true;
            });
            // The first pixel of a region lies on its exterior.
            if region.exterior.is_empty() {
                region.exterior = ring;
            } else {
                region.holes.push(ring);
            }
        }
        regions.into_iter().flatten().collect()
    }

    /// For each pixel the number of the connected region that it belongs to, regions counted in the order of their first
    /// pixels. Void has regions, too.
    pub fn region_numbers(&self) -> Vec<u32> {
        components(self)
    }

    /// For each id up to `ids`, COCO's run lengths of its mask: column by column, pixels that are not of it, then
    /// pixels that are, in turn.
    pub fn run_lengths(&self, ids: usize) -> Vec<Vec<u32>> {
        let (width, height) = self.size();
        let mut counts = vec![Vec::new(); ids];
        let mut ends = vec![0_u32; ids];
        let mut current = (usize::MAX, 0_u32, 0_u32);
        let mut close = |(id, start, end): (usize, u32, u32)| {
            if let Some(counts) = counts.get_mut(id) {
                counts.extend([start - ends[id], end - start]);
                ends[id] = end;
            }
        };
        let mut position = 0;
        for x in 0..width {
            for y in 0..height {
                let id = usize::from(self.ids()[y * width + x]);
                if id != current.0 {
                    close(current);
                    current = (id, position, position);
                }
                position += 1;
                current.2 = position;
            }
        }
        close(current);
        for (counts, end) in counts.iter_mut().zip(ends) {
            if end < position || counts.is_empty() {
                counts.push(position - end);
            }
        }
        counts
    }
}

/// Run lengths as the string that COCO's tools write: from the third on the difference to the one before the last, in
/// groups of five bits, lowest first, a sixth saying that more follow, each 48 up in ASCII.
pub fn compress_run_lengths(counts: &[u32]) -> String {
    let mut text = String::new();
    for (i, &count) in counts.iter().enumerate() {
        let before = if i > 2 { i64::from(counts[i - 2]) } else { 0 };
        let mut rest = i64::from(count) - before;
        loop {
            let bits = (rest & 0x1f) as u8;
            rest >>= 5;
            // The highest bit of the last group is the sign.
            let more = rest != if bits & 0x10 == 0 { 0 } else { -1 };
            text.push(char::from(48 + (bits | if more { 0x20 } else { 0 })));
            if !more {
                break;
            }
        }
    }
    text
}

/// For each pixel the number of its region, in the order of their first pixels.
fn components(map: &LabelMap) -> Vec<u32> {
    let (width, height) = map.size();
    let ids = map.ids();
    // Parents of provisional numbers, each at most its child.
    let mut parents: Vec<u32> = Vec::new();
    let mut numbers = vec![0_u32; width * height];
    for pixel in 0..width * height {
        let left = (pixel % width > 0 && ids[pixel - 1] == ids[pixel]).then(|| numbers[pixel - 1]);
        let above =
            (pixel >= width && ids[pixel - width] == ids[pixel]).then(|| numbers[pixel - width]);
        numbers[pixel] = match (left, above) {
            (Some(left), Some(above)) => {
                let (left, above) = (root(&mut parents, left), root(&mut parents, above));
                parents[left.max(above) as usize] = left.min(above);
                left.min(above)
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => {
                parents.push(parents.len() as u32);
                parents.len() as u32 - 1
            }
        };
    }
    let mut last = 0;
    let finals: Vec<u32> = (0..parents.len() as u32)
        .scan(Vec::new(), |finals: &mut Vec<u32>, number| {
            let parent = parents[number as usize];
            let own = if parent == number {
                last += 1;
                last - 1
            } else {
                // A parent is smaller: it has its number already.
                finals[parent as usize]
            };
            finals.push(own);
            Some(own)
        })
        .collect();
    for number in &mut numbers {
        *number = finals[*number as usize];
    }
    numbers
}

fn root(parents: &mut [u32], mut number: u32) -> u32 {
    while parents[number as usize] != number {
        let above = parents[parents[number as usize] as usize];
        parents[number as usize] = above;
        number = above;
    }
    number
}

/// Walks around a region, its pixels on the right hand, from the upper left corner of a pixel rightwards; `top` hears of each
/// pixel whose upper side is walked.
fn ring(
    start: [i64; 2],
    is_of: impl Fn(i64, i64) -> bool,
    mut top: impl FnMut(usize, usize),
) -> Vec<Corner> {
    // Right, down, left, up: and the pixel on the right hand ahead of a corner, seen from it.
    const STEPS: [[i64; 2]; 4] = [[1, 0], [0, 1], [-1, 0], [0, -1]];
    const RIGHT: [[i64; 2]; 4] = [[0, 0], [-1, 0], [-1, -1], [0, -1]];
    let mut corners = Vec::new();
    let (mut corner, mut towards) = (start, 0);
    loop {
        if towards == 0 {
            top(corner[0] as usize, corner[1] as usize);
        }
        corner = [corner[0] + STEPS[towards][0], corner[1] + STEPS[towards][1]];
        let ahead = |side: usize| is_of(corner[0] + RIGHT[side][0], corner[1] + RIGHT[side][1]);
        // The pixel ahead on the left hand is the one on the right hand of who turns left.
        let turned = if !ahead(towards) {
            (towards + 1) % 4
        } else if ahead((towards + 3) % 4) {
            (towards + 3) % 4
        } else {
            towards
        };
        if turned != towards {
            corners.push([corner[0] as u32, corner[1] as u32]);
        }
        towards = turned;
        if corner == start && towards == 0 {
            break;
        }
    }
    // The corner that it came to last is the one that it began at: the first of a side that is read from the left.
    corners.rotate_right(1);
    corners
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn maps() -> impl Strategy<Value = LabelMap> {
        (1_usize..12, 1_usize..12, 1_u8..4).prop_flat_map(|(width, height, ids)| {
            let id = prop_oneof![8 => 0..ids, 1 => Just(VOID)];
            proptest::collection::vec(id, width * height)
                .prop_map(move |ids| LabelMap::new(width, height, ids).unwrap())
        })
    }

    /// How often a ring goes around the middle of a pixel: crossings of its upright sides to the left.
    fn is_inside(ring: &[Corner], x: u32, y: u32) -> bool {
        let next = ring.iter().cycle().skip(1);
        let crossings = ring.iter().zip(next).filter(|(a, b)| {
            a[0] == b[0] && a[0] <= x && a[1].min(b[1]) <= y && y < a[1].max(b[1])
        });
        crossings.count() % 2 == 1
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn polygons_say_the_mask(map in maps()) {
            let (width, height) = map.size();
            let mut drawn = vec![VOID; width * height];
            for region in map.regions() {
                let mut pixels = 0;
                for pixel in 0..width * height {
                    let (x, y) = ((pixel % width) as u32, (pixel / width) as u32);
                    if is_inside(&region.exterior, x, y)
                        && !region.holes.iter().any(|hole| is_inside(hole, x, y))
                    {
                        prop_assert_eq!(drawn[pixel], VOID);
                        drawn[pixel] = region.id;
                        pixels += 1;
                        let [left, top, wide, high] = region.bounds();
                        prop_assert!((left..left + wide).contains(&x));
                        prop_assert!((top..top + high).contains(&y));
                    }
                }
                prop_assert_eq!(pixels, region.pixels);
            }
            prop_assert_eq!(&drawn[..], map.ids());
        }

        #[test]
        fn run_lengths_say_the_mask(map in maps()) {
            let (width, height) = map.size();
            for (id, counts) in map.run_lengths(4).into_iter().enumerate() {
                let runs = counts.iter().enumerate();
                let column_wise: Vec<bool> = runs
                    .flat_map(|(i, &count)| std::iter::repeat_n(i % 2 == 1, count as usize))
                    .collect();
                prop_assert_eq!(column_wise.len(), width * height);
                for (i, is_of) in column_wise.into_iter().enumerate() {
                    let (x, y) = (i / height, i % height);
                    let here = usize::from(map.ids()[y * width + x]);
                    prop_assert_eq!(is_of, here == id);
                }
            }
        }
    }

    #[test]
    fn a_ring_has_its_hole_and_corners_do_not_join() {
        #[rustfmt::skip]
        let ids = vec![
            1, 1, 1, 0,
            1, 0, 1, 0,
            1, 1, 1, 0,
            0, 0, 0, 1,
        ];
        let map = LabelMap::new(4, 4, ids).unwrap();
        let regions = map.regions();
        let of_one: Vec<&Region> = regions.iter().filter(|region| region.id == 1).collect();
        assert_eq!(of_one.len(), 2);
        assert_eq!(of_one[0].exterior, [[0, 0], [3, 0], [3, 3], [0, 3]]);
        assert_eq!(of_one[0].holes, [[[1, 2], [2, 2], [2, 1], [1, 1]]]);
        assert_eq!(of_one[0].pixels, 8);
        assert_eq!(of_one[1].bounds(), [3, 3, 1, 1]);
    }

    /// What `pycocotools.mask.encode` says of the same masks.
    #[test]
    fn strings_are_those_of_cocos_tools() {
        let map = LabelMap::new(
            5,
            4,
            vec![0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1],
        )
        .unwrap();
        let counts = &map.run_lengths(2)[1];
        assert_eq!(counts[..], [4, 2, 2, 1, 5, 2, 2, 2]);
        assert_eq!(compress_run_lengths(counts), "422O31M0");
    }
}
