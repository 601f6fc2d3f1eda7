//! What a measurement says beyond its scores: where errors lie, of which size what is missed is, and whether probabilities mean what
//! they say. Fed picture by picture; what is kept does not grow with their number, but for a name and a score each.

use segmenta_image::{LabelMap, Picture, VOID, make_grid};

use super::EvaluateEvent;
use crate::Error;

/// The boundary band reaches this share of a picture's diagonal to either side, and 2 pixels at least.
const BAND: f64 = 0.005;
/// Areas between small, medium and large regions, in pixels: COCO's.
const AREAS: [u64; 2] = [32 * 32, 96 * 96];
/// Intervals of probability.
const BINS: usize = 15;

/// Pixels, and how many of them are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// All that count.
    pub pixels: u64,
    /// Those that have their class.
    pub right: u64,
}

impl Tally {
    fn add(&mut self, is_right: bool) {
        self.pixels += 1;
        self.right += u64::from(is_right);
    }

    /// Those that have another.
    pub fn wrong(self) -> u64 {
        self.pixels - self.right
    }

    /// Share of right pixels, 0 to 1.
    pub fn share(self) -> Option<f64> {
        (self.pixels > 0).then(|| self.right as f64 / self.pixels as f64)
    }
}

/// Connected regions of the truth of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct OfSize {
    /// How many there are.
    pub regions: u64,
    /// How many have half of their pixels found, or more.
    pub found: u64,
    /// Their pixels.
    pub tally: Tally,
}

/// Pixels whose class has a probability of one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Bin {
    /// Pixels, and right ones.
    pub tally: Tally,
    /// Sum of their probabilities.
    pub sum: f64,
}

impl Bin {
    /// Mean probability.
    pub fn confidence(&self) -> Option<f64> {
        (self.tally.pixels > 0).then(|| self.sum / self.tally.pixels as f64)
    }
}

/// A picture worth looking at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shown {
    /// Its name in the data set.
    pub name: String,
    /// Its mIoU.
    pub miou: f64,
    /// Photograph, truth, what was found, and errors: within the band orange, elsewhere red.
    pub drawing: Picture,
    /// Wrong pixels within the band, and elsewhere.
    pub wrong: [u64; 2],
}

/// What was learned of all pictures.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Analysis {
    /// Each picture's name and mIoU, in the order of the data set.
    pub pictures: Vec<(String, Option<f64>)>,
    /// Pixels near a boundary of the truth (0.5 % of the diagonal to either side, 2 pixels at least), and all others.
    pub band: [Tally; 2],
    /// Connected regions of the truth of less than 32² pixels, of less than 96², and larger; the background's aside.
    pub sizes: [OfSize; 3],
    /// Fifteen intervals of the probability that a pixel's class has, from 0 to 1; empty where no probabilities were asked for.
    pub bins: [Bin; BINS],
    /// The best pictures, the best first, and the worst, the worst first.
    pub best: Vec<Shown>,
    /// The worst.
    pub worst: Vec<Shown>,
    most: usize,
    /// Whether id 0 is a background, which has no objects.
    has_background: bool,
}

impl Analysis {
    /// Keeps so many of the best pictures and of the worst. `classes` are the model's.
    pub fn new(most: usize, classes: &[&str]) -> Self {
        Self {
            pictures: Vec::new(),
            band: <[Tally; 2]>::default(),
            sizes: <[OfSize; 3]>::default(),
            bins: <[Bin; BINS]>::default(),
            best: Vec::new(),
            worst: Vec::new(),
            most,
            has_background: classes
                .first()
                .is_some_and(|name| ["background", "__background__"].contains(name)),
        }
    }

    /// Looks at a picture that was compared; other events say nothing here. Probabilities count where
    /// [`SegmentOptions::probability`](crate::SegmentOptions::probability) asked for them.
    ///
    /// # Errors
    /// Drawings that cannot be made, as of labels of another size than their picture.
    pub fn see(&mut self, event: EvaluateEvent<'_>) -> Result<(), Error> {
        let EvaluateEvent::Compared {
            name,
            picture,
            truth,
            found,
            miou,
        } = event
        else {
            return Ok(());
        };
        self.pictures.push((name.to_owned(), miou));
        let (labels, near) = (found.labels(), near_boundary(truth));
        let mut wrong = [0, 0];
        for (i, (&truth, &label)) in truth.ids().iter().zip(labels.ids()).enumerate() {
            if truth == VOID {
                continue;
            }
            let (is_right, place) = (truth == label, usize::from(!near[i]));
            self.band[place].add(is_right);
            wrong[place] += u64::from(!is_right);
            if let Some(probability) = found.probability() {
                let probability = f64::from(probability[i]).clamp(0.0, 1.0);
                let bin = &mut self.bins[((probability * BINS as f64) as usize).min(BINS - 1)];
                bin.tally.add(is_right);
                bin.sum += probability;
            }
        }
        self.count_regions(truth, labels);
        let Some(miou) = miou else {
            return Ok(());
        };
        let at = |list: &[Shown], is_before: &dyn Fn(f64) -> bool| {
            list.partition_point(|one| is_before(one.miou))
        };
        let best = at(&self.best, &|other| other >= miou);
        let worst = at(&self.worst, &|other| other <= miou);
        if best >= self.most && worst >= self.most {
            return Ok(());
        }
        let [over_truth, over_found] =
            [truth, labels].map(|map| map.overlay(picture, found.palette(), 0.6));
        let errors = errors(picture, truth, labels, &near);
        let drawing = make_grid(&[picture.clone(), over_truth?, over_found?, errors], 4, 4)?;
        let shown = Shown {
            name: name.to_owned(),
            miou,
            drawing,
            wrong,
        };
        if best < self.most {
            self.best.insert(best, shown.clone());
            self.best.truncate(self.most);
        }
        if worst < self.most {
            self.worst.insert(worst, shown);
            self.worst.truncate(self.most);
        }
        Ok(())
    }

    fn count_regions(&mut self, truth: &LabelMap, found: &LabelMap) {
        let numbers = truth.region_numbers();
        let regions = numbers.iter().max().map_or(0, |&last| last as usize + 1);
        let mut tallies = vec![(VOID, Tally::default()); regions];
        for ((&number, &truth), &found) in numbers.iter().zip(truth.ids()).zip(found.ids()) {
            let (id, tally) = &mut tallies[number as usize];
            *id = truth;
            tally.add(truth == found);
        }
        for (id, tally) in tallies {
            if id == VOID || (id == 0 && self.has_background) {
                continue;
            }
            let size = &mut self.sizes[AREAS.partition_point(|&area| area <= tally.pixels)];
            size.regions += 1;
            size.found += u64::from(2 * tally.right >= tally.pixels);
            size.tally.pixels += tally.pixels;
            size.tally.right += tally.right;
        }
    }

    /// The expected calibration error: by how much a pixel's probability and the share of right pixels are apart, as a mean over
    /// pixels (Guo et al. 2017, 15 intervals of one width); `None` where no probabilities were asked for.
    pub fn calibration_error(&self) -> Option<f64> {
        let all: u64 = self.bins.iter().map(|bin| bin.tally.pixels).sum();
        let gap = |bin: &Bin| (bin.sum - bin.tally.right as f64).abs();
        (all > 0).then(|| self.bins.iter().map(gap).sum::<f64>() / all as f64)
    }
}

/// Which pixels are near one of another class in the truth. What is void has no boundary.
fn near_boundary(truth: &LabelMap) -> Vec<bool> {
    let (width, height) = truth.size();
    let radius = ((width as f64).hypot(height as f64) * BAND)
        .round()
        .max(2.0) as usize;
    let ids = truth.ids();
    let differ = |a: usize, b: usize| ids[a] != ids[b] && ids[a] != VOID && ids[b] != VOID;
    let mut edge = vec![false; ids.len()];
    for pixel in 0..ids.len() {
        let (x, y) = (pixel % width, pixel / width);
        for other in [
            (x + 1 < width).then(|| pixel + 1),
            (y + 1 < height).then(|| pixel + width),
        ]
        .into_iter()
        .flatten()
        {
            if differ(pixel, other) {
                edge[pixel] = true;
                edge[other] = true;
            }
        }
    }
    // A pixel of an edge is within 1 of the boundary already. A square's two sides, one after the other.
    let across = spread(&edge, height, width, |line, i| line * width + i, radius - 1);
    spread(
        &across,
        width,
        height,
        |line, i| i * width + line,
        radius - 1,
    )
}

/// Every place of a line that is within `radius` of one that is set.
fn spread(
    set: &[bool],
    lines: usize,
    length: usize,
    place: impl Fn(usize, usize) -> usize,
    radius: usize,
) -> Vec<bool> {
    let mut wider = vec![false; set.len()];
    for line in 0..lines {
        // Up to where the last one that was set reaches, forwards and then backwards.
        for is_backwards in [false, true] {
            let mut reach = 0;
            for i in 0..length {
                let at = place(line, if is_backwards { length - 1 - i } else { i });
                if set[at] {
                    reach = radius + 1;
                }
                wider[at] |= reach > 0;
                reach = reach.saturating_sub(1);
            }
        }
    }
    wider
}

/// The photograph in grey, its errors in colour: orange within the band, red elsewhere.
fn errors(picture: &Picture, truth: &LabelMap, found: &LabelMap, near: &[bool]) -> Picture {
    let mut drawing = picture.clone();
    let pixels = drawing.pixels_mut().as_chunks_mut::<3>().0;
    let labels = truth.ids().iter().zip(found.ids()).zip(near);
    for (pixel, ((&truth, &found), &near)) in pixels.iter_mut().zip(labels) {
        let grey = pixel.iter().map(|&value| u16::from(value)).sum::<u16>() / 3;
        *pixel = match (truth == VOID || truth == found, near) {
            (true, _) => [(grey / 2 + 110) as u8; 3],
            (false, true) => [240, 150, 20],
            (false, false) => [200, 20, 30],
        };
    }
    drawing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_is_both_sides_of_the_boundary() {
        let truth = LabelMap::new(12, 1, vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]).unwrap();
        let near: Vec<usize> = (0..12).filter(|&x| near_boundary(&truth)[x]).collect();
        assert_eq!(near, [4, 5, 6, 7]);
        let void = LabelMap::new(4, 1, vec![0, 255, 1, 1]).unwrap();
        assert!(near_boundary(&void).iter().all(|&near| !near));
        // By hand for a square, whatever the direction.
        let ids = (0..400)
            .map(|i| u8::from((8..12).contains(&(i % 20)) && (8..12).contains(&(i / 20))))
            .collect();
        let square = near_boundary(&LabelMap::new(20, 20, ids).unwrap());
        for (i, &near) in square.iter().enumerate() {
            let (x, y) = ((i % 20) as i32, (i / 20) as i32);
            let inside = (8..12).contains(&x) && (8..12).contains(&y);
            let beside = |v: i32| (6..14).contains(&v);
            // All of the square of 4 is within 2 of its side; around it two pixels are, but for the outermost corners.
            let corner = |v: i32| v == 6 || v == 13;
            let around = beside(x) && beside(y) && !(corner(x) && corner(y));
            assert_eq!(near, inside || around, "{x} {y}");
        }
    }

    #[test]
    fn regions_count_by_their_size() {
        let mut analysis = Analysis::new(1, &["background", "thing"]);
        // A thing of 40×40 of which a quarter is found, and one of 3 pixels that is found.
        let (width, height) = (100, 60);
        let truth = |i: usize| {
            let (x, y) = (i % width, i / width);
            u8::from((x < 40 && y < 40) || ((90..93).contains(&x) && y == 50))
        };
        let found =
            |i: usize| truth(i) * u8::from(i % width < 20 && i / width < 20 || i % width >= 90);
        let map = |of: &dyn Fn(usize) -> u8| {
            LabelMap::new(width, height, (0..width * height).map(of).collect()).unwrap()
        };
        analysis.count_regions(&map(&truth), &map(&found));
        let [small, medium, large] = analysis.sizes;
        assert_eq!((small.regions, small.found, small.tally.right), (1, 1, 3));
        assert_eq!((medium.regions, medium.found), (1, 0));
        assert_eq!(medium.tally.share(), Some(0.25));
        assert_eq!(large.regions, 0);
    }

    #[test]
    fn the_calibration_error_is_the_mean_gap() {
        let mut analysis = Analysis::new(0, &["a", "b"]);
        // Ten pixels at 0.9 of which seven are right, ten at 0.6 of which six are.
        for (probability, right) in [(0.9, 7), (0.6, 6)] {
            let bin = &mut analysis.bins[(probability * 15.0) as usize];
            (0..10).for_each(|i| bin.tally.add(i < right));
            bin.sum += 10.0 * probability;
        }
        assert!((analysis.calibration_error().unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(Analysis::new(0, &[]).calibration_error(), None);
    }
}
