//! Figures: rows of picture, truth and prediction with names, and which colour is which class.

use segmenta_image::{Filter, LabelMap, Picture, PictureError, Rect, Text};

use crate::Classes;

const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [29, 33, 39];
const FAINT_INK: [u8; 3] = [92, 99, 110];
/// The colour's share where it lies over the photograph.
const ALPHA: f64 = 0.6;
const MARGIN: usize = 16;
const GAP: usize = 8;
const LETTERS: f32 = 15.0;
const LINE: usize = 22;
/// Sides of a drawn picture: a photograph would make the figure too large, an icon too small to see.
const LONG_SIDE: (usize, usize) = (160, 320);

/// A picture with what is true of it and what a network says.
#[derive(Debug, Clone)]
pub struct Example {
    /// What it is called: usually the file's name.
    pub name: String,
    /// The photograph.
    pub picture: Picture,
    /// The truth, of the photograph's size.
    pub truth: LabelMap,
    /// The prediction, of the photograph's size.
    pub prediction: LabelMap,
}

/// A figure with a row for each example: picture, truth over it, prediction over it, and its name with the share of
/// right pixels among those that have a class. `title` stands above, the classes that occur below.
///
/// # Errors
/// A label map of another size than its picture.
pub fn figure(
    title: &str,
    examples: &[Example],
    classes: &Classes,
) -> Result<Picture, PictureError> {
    let panels: Vec<[Picture; 3]> = examples
        .iter()
        .map(|e| panels(e, classes))
        .collect::<Result<_, _>>()?;
    let cell = panels
        .iter()
        .map(|row| row[0].width())
        .max()
        .unwrap_or(LONG_SIDE.0);
    let width = MARGIN * 2 + cell * 3 + GAP * 2;
    let used = used(
        examples.iter().flat_map(|e| [&e.truth, &e.prediction]),
        classes,
    );
    let key = Key::new(classes, &used, width - MARGIN * 2);
    let rows: usize = panels.iter().map(|row| row[0].height() + LINE + GAP).sum();
    let mut page = Picture::filled(width, MARGIN * 2 + LINE * 2 + rows + key.height(), PAPER);

    let text = Text::new(LETTERS);
    let head = text.fitted(title, (width - MARGIN * 2) as f32);
    text.draw(&mut page, &head, MARGIN as f32, MARGIN as f32, INK);
    let left = |column: usize| MARGIN + column * (cell + GAP);
    let mut top = MARGIN + LINE;
    for (column, heading) in ["picture", "truth", "prediction"].into_iter().enumerate() {
        let heading = text.fitted(heading, cell as f32);
        text.draw(
            &mut page,
            &heading,
            left(column) as f32,
            top as f32,
            FAINT_INK,
        );
    }
    top += LINE;
    for (example, row) in examples.iter().zip(&panels) {
        for (column, panel) in row.iter().enumerate() {
            page.paste(panel, left(column), top);
        }
        top += row[0].height();
        let right = right_pixels(example);
        let right = right.map_or_else(
            || "no labelled pixel".into(),
            |share| format!("{:.1} % right", share * 100.0),
        );
        let room = (width - MARGIN * 2) as f32 - text.width(&right) - 12.0;
        text.draw(
            &mut page,
            &text.fitted(&example.name, room),
            MARGIN as f32,
            top as f32 + 2.0,
            INK,
        );
        let right_left = (width - MARGIN) as f32 - text.width(&right);
        text.draw(&mut page, &right, right_left, top as f32 + 2.0, FAINT_INK);
        top += LINE + GAP;
    }
    key.draw(&mut page, MARGIN, top);
    Ok(page)
}

/// Picture, truth and prediction, of one size fit to be drawn.
fn panels(example: &Example, classes: &Classes) -> Result<[Picture; 3], PictureError> {
    let size = drawn_size(example.picture.size(), LONG_SIDE);
    let truth = example
        .truth
        .overlay(&example.picture, classes.palette(), ALPHA)?;
    let prediction = example
        .prediction
        .overlay(&example.picture, classes.palette(), ALPHA)?;
    let drawn = |picture: &Picture| picture.resize(size.0, size.1, Filter::Bilinear);
    Ok([drawn(&example.picture), drawn(&truth), drawn(&prediction)])
}

/// A size with the same shape whose long side lies between the two.
pub(crate) fn drawn_size(
    (width, height): (usize, usize),
    (least, most): (usize, usize),
) -> (usize, usize) {
    let long = width.max(height);
    let wanted = long.clamp(least, most);
    let side = |side: usize| (side * wanted).div_ceil(long).max(1);
    (side(width), side(height))
}

/// The share of pixels that are right among those whose truth is a class (255 is none).
fn right_pixels(example: &Example) -> Option<f64> {
    let pairs = example.truth.ids().iter().zip(example.prediction.ids());
    let (mut right, mut all) = (0_u64, 0_u64);
    for (&truth, &prediction) in pairs.filter(|&(&truth, _)| truth != segmenta_image::VOID) {
        all += 1;
        right += u64::from(truth == prediction);
    }
    (all > 0).then(|| right as f64 / all as f64)
}

/// The classes that label maps have, by id.
pub(crate) fn used<'a>(maps: impl Iterator<Item = &'a LabelMap>, classes: &Classes) -> Vec<usize> {
    let mut counts = [0_u64; 256];
    for map in maps {
        counts
            .iter_mut()
            .zip(map.counts())
            .for_each(|(sum, count)| *sum += count);
    }
    (0..classes.len().min(256))
        .filter(|&class| counts[class] > 0)
        .collect()
}

/// Swatches with names, in lines of a given width.
pub(crate) struct Key {
    text: Text,
    /// Name, colour, and the left edge and line where it stands.
    entries: Vec<(String, [u8; 3], usize, usize)>,
    lines: usize,
}

impl Key {
    const SWATCH: usize = 12;

    pub(crate) fn new(classes: &Classes, used: &[usize], width: usize) -> Self {
        let text = Text::new(LETTERS);
        let (mut left, mut line) = (0, 0);
        let mut entries = Vec::new();
        for &class in used {
            let room = width.saturating_sub(Self::SWATCH + 6) as f32;
            let name = text.fitted(&classes.names()[class], room.min(200.0));
            let needed = Self::SWATCH + 6 + text.width(&name).ceil() as usize;
            if left > 0 && left + needed > width {
                (left, line) = (0, line + 1);
            }
            entries.push((name, classes.palette().color(class as u8), left, line));
            left += needed + 18;
        }
        let lines = if entries.is_empty() { 0 } else { line + 1 };
        Self {
            text,
            entries,
            lines,
        }
    }

    /// In pixels.
    pub(crate) fn height(&self) -> usize {
        self.lines * LINE
    }

    pub(crate) fn draw(&self, page: &mut Picture, x: usize, y: usize) {
        for (name, colour, left, line) in &self.entries {
            let (left, top) = (x + left, y + line * LINE);
            page.draw_swatch(
                Rect::new(left, top + 3, Self::SWATCH, Self::SWATCH),
                *colour,
            );
            let words = (left + Self::SWATCH + 6) as f32;
            self.text.draw(page, name, words, top as f32 + 1.0, INK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segmenta_image::Palette;

    fn example(width: usize, height: usize) -> Example {
        let map = |id: u8| LabelMap::new(width, height, vec![id; width * height]).unwrap();
        Example {
            name: "a name that goes on and on ".repeat(9),
            picture: Picture::filled(width, height, [90, 120, 150]),
            truth: map(1),
            prediction: map(0),
        }
    }

    #[test]
    fn any_shape_of_picture_and_any_number_of_classes_fits() {
        for classes in [1, 2, 300] {
            let classes = Classes::new(
                (0..classes).map(|i| format!("class {i} {}", "long ".repeat(i % 40))),
                Palette::voc(),
            );
            for size in [(1, 1), (7, 3000), (3000, 7), (640, 480)] {
                let page = figure(
                    "title",
                    &[example(size.0, size.1), example(20, 30)],
                    &classes,
                )
                .unwrap();
                assert!(page.width() < 1100, "{:?}", page.size());
            }
        }
        let classes = Classes::new(["a"], Palette::voc());
        assert!(figure("nothing", &[], &classes).is_ok());
        let mut wrong = example(4, 4);
        wrong.truth = LabelMap::new(2, 2, vec![0; 4]).unwrap();
        assert!(figure("wrong", &[wrong], &classes).is_err());
    }

    #[test]
    fn void_is_neither_right_nor_wrong() {
        let mut some = example(4, 1);
        some.truth = LabelMap::new(4, 1, vec![255, 0, 1, 1]).unwrap();
        assert_eq!(right_pixels(&some), Some(1.0 / 3.0));
        some.truth = LabelMap::new(4, 1, vec![255; 4]).unwrap();
        assert_eq!(right_pixels(&some), None);
    }

    #[test]
    fn sizes_keep_their_shape() {
        assert_eq!(drawn_size((640, 480), (160, 320)), (320, 240));
        assert_eq!(drawn_size((96, 72), (160, 320)), (160, 120));
        assert_eq!(drawn_size((100_000, 1), (160, 320)), (320, 1));
    }
}
