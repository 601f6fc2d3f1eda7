//! An animation of how the masks of some pictures grow over the epochs.
//!
//! All frames share one palette: classes and letters have their exact colours, and photographs get the rest of the
//! 256 by Dekker's network ("Kohonen neural networks for optimal colour quantization", 1994). A frame holds only what
//! changed since the one before.

use color_quant::NeuQuant;
use gif::{DisposalMethod, Encoder, Frame, Repeat};
use segmenta_image::{Filter, LabelMap, Palette, Picture, Rect, Text};

use crate::figure::{Key, drawn_size, used};
use crate::{Classes, ReportError};

const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [29, 33, 39];
const RAIL: [u8; 3] = [222, 226, 231];
/// Steps from paper to ink, for the edges of letters.
const GREYS: usize = 16;
const MARGIN: usize = 12;
const GAP: usize = 4;
const BAR: usize = 4;
const LETTERS: f32 = 17.0;
const HEAD: usize = 40;
/// Sides of a picture in the animation.
const LONG_SIDE: (usize, usize) = (64, 160);
/// More frames would be watched by nobody: epochs are left out evenly.
const FRAMES: usize = 60;
/// All frames together, in hundredths of a second, and the last frame's part.
const WHOLE: usize = 800;
const LAST: u16 = 250;

/// A picture whose mask is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The photograph.
    pub picture: Picture,
    /// The truth.
    pub truth: LabelMap,
}

/// What one epoch adds.
#[derive(Debug, Clone)]
pub struct Growth {
    /// The epoch.
    pub epoch: u32,
    /// What to say of it, such as `mIoU 0.812`.
    pub caption: String,
    /// A prediction for each watched picture.
    pub masks: Vec<LabelMap>,
}

/// The animation as the bytes of a GIF file: each watched picture, its truth and the epoch's mask side by side.
///
/// # Errors
/// Nothing to watch, or an epoch without a mask for each picture.
pub fn growth_gif(
    watched: &[Watched],
    epochs: &[Growth],
    classes: &Classes,
) -> Result<Vec<u8>, ReportError> {
    let wrong = |problem: &str| ReportError::Draw {
        drawing: "animation of the masks",
        problem: problem.into(),
    };
    if watched.is_empty() || epochs.is_empty() {
        return Err(wrong("no pictures or no epochs"));
    }
    if epochs
        .iter()
        .any(|epoch| epoch.masks.len() != watched.len())
    {
        return Err(wrong("an epoch has not one mask for each picture"));
    }
    let stage = Stage::new(watched, epochs, classes);
    let shown = evenly(epochs, FRAMES);
    let delay = (WHOLE / shown.len()).clamp(8, 80) as u16;
    let mut bytes = Vec::new();
    let (width, height) = stage.size;
    let mut encoder = Encoder::new(
        &mut bytes,
        width as u16,
        height as u16,
        &stage.inks.colours(),
    )
    .map_err(|error| wrong(&error.to_string()))?;
    encoder
        .set_repeat(Repeat::Infinite)
        .map_err(|error| wrong(&error.to_string()))?;
    let mut before: Option<Vec<u8>> = None;
    for (i, epoch) in shown.iter().enumerate() {
        let drawn = stage.draw(epoch, epochs);
        let mut frame = changes(before.as_deref(), &drawn, stage.size, stage.inks.same);
        frame.delay = if i + 1 == shown.len() { LAST } else { delay };
        encoder
            .write_frame(&frame)
            .map_err(|error| wrong(&error.to_string()))?;
        before = Some(drawn);
    }
    drop(encoder);
    Ok(bytes)
}

/// At most `most` of the epochs, the first and the last among them.
fn evenly(epochs: &[Growth], most: usize) -> Vec<&Growth> {
    let n = epochs.len().min(most);
    (0..n)
        .map(|i| {
            &epochs[if n > 1 {
                i * (epochs.len() - 1) / (n - 1)
            } else {
                0
            }]
        })
        .collect()
}

/// What does not change, and where what changes goes. Everything is drawn in indices of the palette.
struct Stage<'a> {
    size: (usize, usize),
    cell: (usize, usize),
    /// Each picture's first of three panels, in its own shape.
    places: Vec<Rect>,
    inks: Inks,
    classes: &'a Classes,
    still: Vec<u8>,
    text: Text,
}

impl<'a> Stage<'a> {
    fn new(watched: &[Watched], epochs: &[Growth], classes: &'a Classes) -> Self {
        let sizes: Vec<(usize, usize)> = watched
            .iter()
            .map(|w| drawn_size(w.picture.size(), LONG_SIDE))
            .collect();
        let cell = sizes
            .iter()
            .fold((1, 1), |(w, h), &(x, y)| (w.max(x), h.max(y)));
        let triple = (cell.0 * 3 + GAP * 2, cell.1);
        // As near to sixteen by nine as whole columns come.
        let ratio = |columns: usize| {
            let rows = watched.len().div_ceil(columns);
            ((columns * triple.0) as f64 / (rows * triple.1) as f64 / (16.0 / 9.0))
                .ln()
                .abs()
        };
        let columns = (1..=watched.len())
            .min_by(|&a, &b| ratio(a).total_cmp(&ratio(b)))
            .unwrap_or(1);
        let rows = watched.len().div_ceil(columns);
        let grid_width = columns * (triple.0 + MARGIN) - MARGIN;
        let maps = watched
            .iter()
            .map(|w| &w.truth)
            .chain(epochs.iter().flat_map(|e| &e.masks));
        let used = used(maps, classes);
        let width = grid_width.max(240);
        let key = Key::new(classes, &used, width);
        let size = (
            width + MARGIN * 2,
            HEAD + rows * (triple.1 + MARGIN) + key.height() + MARGIN,
        );
        let place = |i: usize| {
            let (column, row) = (i % columns, i / columns);
            let (x, y) = (
                MARGIN + column * (triple.0 + MARGIN),
                HEAD + row * (triple.1 + MARGIN),
            );
            Rect::new(x, y, sizes[i].0, sizes[i].1)
        };
        let places: Vec<Rect> = (0..watched.len()).map(place).collect();

        let photos: Vec<Picture> = watched
            .iter()
            .zip(&sizes)
            .map(|(w, size)| w.picture.resize(size.0, size.1, Filter::Bilinear))
            .collect();
        let inks = Inks::new(&used, classes.palette(), &photos);
        let mut paper = Picture::filled(size.0, size.1, PAPER);
        key.draw(&mut paper, MARGIN, size.1 - key.height() - MARGIN / 2);
        let mut stage = Self {
            size,
            cell,
            places,
            still: inks.drawing(&paper),
            inks,
            classes,
            text: Text::new(LETTERS),
        };
        let mut still = std::mem::take(&mut stage.still);
        for ((watched, photo), &place) in watched.iter().zip(&photos).zip(&stage.places) {
            stage.put(&mut still, place, 0, &stage.inks.photo(photo));
            stage.put(&mut still, place, 1, &stage.mask(&watched.truth, place));
        }
        stage.still = still;
        stage
    }

    fn draw(&self, epoch: &Growth, epochs: &[Growth]) -> Vec<u8> {
        let mut frame = self.still.clone();
        let mut head = Picture::filled(self.size.0, HEAD, PAPER);
        let last = epochs.last().map_or(epoch.epoch, |last| last.epoch);
        let caption = format!("epoch {} of {last} · {}", epoch.epoch, epoch.caption);
        let room = self.size.0 - MARGIN * 2;
        self.text.draw(
            &mut head,
            &self.text.fitted(&caption, room as f32),
            MARGIN as f32,
            6.0,
            INK,
        );
        let done = if last > 0 {
            room * epoch.epoch as usize / last as usize
        } else {
            room
        };
        head.fill(Rect::new(MARGIN, HEAD - MARGIN, room, BAR), RAIL);
        head.fill(Rect::new(MARGIN, HEAD - MARGIN, done, BAR), INK);
        frame[..self.size.0 * HEAD].copy_from_slice(&self.inks.drawing(&head));
        for (mask, &place) in epoch.masks.iter().zip(&self.places) {
            self.put(&mut frame, place, 2, &self.mask(mask, place));
        }
        frame
    }

    fn mask(&self, mask: &LabelMap, place: Rect) -> Vec<u8> {
        let drawn = mask.resize_nearest(place.width, place.height);
        drawn
            .ids()
            .iter()
            .map(|&id| self.inks.class(id, self.classes))
            .collect()
    }

    /// Copies a panel's indices to their place: 0 for the picture, 1 for the truth, 2 for the mask.
    fn put(&self, frame: &mut [u8], place: Rect, panel: usize, indices: &[u8]) {
        let left = place.x + panel * (self.cell.0 + GAP);
        let rows = frame.chunks_exact_mut(self.size.0).skip(place.y);
        for (row, indices) in rows.zip(indices.chunks_exact(place.width)) {
            row[left..left + place.width].copy_from_slice(indices);
        }
    }
}

/// The palette: greys of letters, classes, void, "as before", and what is left for photographs.
struct Inks {
    exact: Vec<[u8; 3]>,
    /// The index of each class; those that do not occur have void's.
    of_class: Vec<u8>,
    void: u8,
    same: u8,
    photos: NeuQuant,
}

impl Inks {
    fn new(used: &[usize], palette: &Palette, photos: &[Picture]) -> Self {
        let grey = |i: usize| {
            let share = i as f32 / (GREYS - 1) as f32;
            std::array::from_fn(|c| {
                (f32::from(PAPER[c]) + (f32::from(INK[c]) - f32::from(PAPER[c])) * share).round()
                    as u8
            })
        };
        let mut exact: Vec<[u8; 3]> = (0..GREYS).map(grey).collect();
        // A third of the palette stays for photographs, whatever the number of classes.
        let room = 256 * 2 / 3 - GREYS - 2;
        let void = exact.len() as u8;
        exact.push([255; 3]);
        let same = exact.len() as u8;
        exact.push([0; 3]);
        let mut of_class = vec![void; 256];
        for &class in used.iter().take(room) {
            of_class[class] = exact.len() as u8;
            exact.push(palette.color(class as u8));
        }
        let rgba: Vec<u8> = photos
            .iter()
            .flat_map(|photo| photo.pixels().as_chunks::<3>().0)
            .flat_map(|[r, g, b]| [*r, *g, *b, 255])
            .collect();
        // Every tenth pixel teaches it, as its author advises.
        let photos = NeuQuant::new(10, 256 - exact.len(), &rgba);
        Self {
            exact,
            of_class,
            void,
            same,
            photos,
        }
    }

    fn colours(&self) -> Vec<u8> {
        let mut colours = self.exact.as_flattened().to_vec();
        colours.extend(self.photos.color_map_rgb());
        colours.resize(256 * 3, 0);
        colours
    }

    fn class(&self, id: u8, classes: &Classes) -> u8 {
        if classes.palette().draws(id) {
            self.of_class[usize::from(id)]
        } else {
            self.void
        }
    }

    fn photo(&self, photo: &Picture) -> Vec<u8> {
        let (pixels, _) = photo.pixels().as_chunks::<3>();
        let index =
            |&[r, g, b]: &[u8; 3]| (self.exact.len() + self.photos.index_of(&[r, g, b, 255])) as u8;
        pixels.iter().map(index).collect()
    }

    /// Indices of a drawing in ink on paper with swatches of classes: the nearest of the exact colours.
    fn drawing(&self, drawing: &Picture) -> Vec<u8> {
        let (pixels, _) = drawing.pixels().as_chunks::<3>();
        let mut known = std::collections::HashMap::new();
        let nearest = |pixel: &[u8; 3]| {
            let far = |colour: &[u8; 3]| -> u32 {
                colour
                    .iter()
                    .zip(pixel)
                    .map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2))
                    .sum()
            };
            let candidates = (0..self.exact.len()).filter(|&i| i != usize::from(self.same));
            candidates.min_by_key(|&i| far(&self.exact[i])).unwrap_or(0) as u8
        };
        pixels
            .iter()
            .map(|pixel| *known.entry(*pixel).or_insert_with(|| nearest(pixel)))
            .collect()
    }
}

/// A frame of the smallest rectangle in which something changed, with what did not as `same`.
fn changes(
    before: Option<&[u8]>,
    now: &[u8],
    (width, height): (usize, usize),
    same: u8,
) -> Frame<'static> {
    let Some(before) = before else {
        return frame(Rect::new(0, 0, width, height), now.to_vec(), None);
    };
    let changed = |i: usize| before[i] != now[i];
    let row_changed = |y: &usize| (y * width..(y + 1) * width).any(changed);
    let column_changed = |x: &usize| (*x..now.len()).step_by(width).any(changed);
    let (Some(top), Some(bottom)) = (
        (0..height).find(row_changed),
        (0..height).rfind(row_changed),
    ) else {
        return frame(Rect::new(0, 0, 1, 1), vec![same], Some(same));
    };
    let (Some(left), Some(right)) = (
        (0..width).find(column_changed),
        (0..width).rfind(column_changed),
    ) else {
        return frame(Rect::new(0, 0, 1, 1), vec![same], Some(same));
    };
    let pixels = (top..=bottom).flat_map(|y| (left..=right).map(move |x| y * width + x));
    let pixels = pixels
        .map(|i| if changed(i) { now[i] } else { same })
        .collect();
    frame(
        Rect::new(left, top, right - left + 1, bottom - top + 1),
        pixels,
        Some(same),
    )
}

fn frame(area: Rect, pixels: Vec<u8>, transparent: Option<u8>) -> Frame<'static> {
    Frame {
        left: area.x as u16,
        top: area.y as u16,
        width: area.width as u16,
        height: area.height as u16,
        dispose: DisposalMethod::Keep,
        transparent,
        buffer: pixels.into(),
        ..Frame::default()
    }
}

#[cfg(test)]
mod tests {
    use image::AnimationDecoder;

    use super::*;

    /// Masks of two classes, the border moving with the epoch.
    fn mask(epoch: u32) -> LabelMap {
        let id = |i: u32| u8::from(i % 40 < epoch * 4);
        LabelMap::new(40, 30, (0..1200).map(id).collect()).unwrap()
    }

    fn some(epochs: u32) -> (Vec<Watched>, Vec<Growth>) {
        let pixels = (0..1200 * 3).map(|i| (i * 7 % 256) as u8).collect();
        let picture = Picture::from_rgb(40, 30, pixels).unwrap();
        let watched = vec![
            Watched {
                picture,
                truth: mask(7)
            };
            3
        ];
        let growth = |epoch| Growth {
            epoch,
            caption: format!("mIoU 0.{epoch}"),
            masks: vec![mask(epoch); 3],
        };
        (watched, (1..=epochs).map(growth).collect())
    }

    #[test]
    fn every_frame_shows_its_masks_in_their_exact_colours() {
        let classes = Classes::new(
            ["ground", "thing"],
            Palette::from_colors(&[[10, 20, 30], [200, 90, 0]]),
        );
        let (watched, epochs) = some(5);
        let gif = growth_gif(&watched, &epochs, &classes).unwrap();
        let decoder = image::codecs::gif::GifDecoder::new(std::io::Cursor::new(&gif)).unwrap();
        let frames = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(frames.len(), 5);
        let stage = Stage::new(&watched, &epochs, &classes);
        let place = stage.places[2];
        let (left, y) = (place.x + (stage.cell.0 + GAP) * 2, place.y);
        for (frame, epoch) in frames.iter().zip(&epochs) {
            let wanted = epoch.masks[2].resize_nearest(place.width, place.height);
            for (i, &id) in wanted.ids().iter().enumerate() {
                let (dx, dy) = (i % place.width, i / place.width);
                let pixel = frame
                    .buffer()
                    .get_pixel((left + dx) as u32, (y + dy) as u32);
                assert_eq!(
                    pixel.0[..3],
                    classes.palette().color(id),
                    "epoch {}",
                    epoch.epoch
                );
            }
        }
    }

    #[test]
    fn what_does_not_change_costs_nothing() {
        let classes = Classes::new(["a", "b"], Palette::voc());
        let (watched, mut epochs) = some(1);
        let one = growth_gif(&watched, &epochs, &classes).unwrap().len();
        epochs.extend((0..20).map(|_| epochs[0].clone()).collect::<Vec<_>>());
        let many = growth_gif(&watched, &epochs, &classes).unwrap().len();
        assert!(
            many < one + 20 * 40,
            "{one} bytes with one frame, {many} with 21"
        );
    }

    #[test]
    fn long_runs_keep_their_first_and_last_epoch() {
        let (_, epochs) = some(500);
        let shown = evenly(&epochs, FRAMES);
        assert_eq!(
            (shown.len(), shown[0].epoch, shown[FRAMES - 1].epoch),
            (FRAMES, 1, 500)
        );
        assert!(shown.windows(2).all(|pair| pair[0].epoch < pair[1].epoch));
    }

    #[test]
    fn what_cannot_be_animated_is_an_error() {
        let classes = Classes::new(["a"], Palette::voc());
        let (watched, mut epochs) = some(2);
        epochs[1].masks.pop();
        assert!(growth_gif(&watched, &epochs, &classes).is_err());
        assert!(growth_gif(&watched, &[], &classes).is_err());
        assert!(growth_gif(&[], &epochs, &classes).is_err());
    }
}
