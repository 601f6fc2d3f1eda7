//! Which colour is which class, in a panel beside or below the picture.

use crate::text::Text;
use crate::{Picture, Rect};

const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [32, 33, 36];
const FAINT_INK: [u8; 3] = [110, 114, 120];

/// A line of a [`legend`].
#[derive(Debug, Clone, PartialEq)]
pub struct LegendEntry {
    /// The class's name. Latin, Greek and Cyrillic letters are drawn; others become boxes.
    pub name: String,
    /// The class's colour.
    pub color: [u8; 3],
    /// Its share of the picture, 0 to 1.
    pub share: f64,
}

/// The picture with a panel that lists the entries in the order given: swatch, name, percent.
///
/// The panel stands to the right or below, whichever keeps the long side shorter. Its text grows with
/// the picture (12 pixels at least); names too long for it end in an ellipsis. Without entries nothing is added.
pub fn legend(picture: &Picture, entries: &[LegendEntry]) -> Picture {
    if entries.is_empty() {
        return picture.clone();
    }
    let style = Style::new(picture, entries);
    let right = style.right_of(picture.size(), entries.len());
    let below = style.below(picture.size(), entries.len());
    let long_side = |layout: &Layout| layout.canvas.0.max(layout.canvas.1);
    let layout = if long_side(&right) < long_side(&below) {
        right
    } else {
        below
    };

    let mut canvas = Picture::filled(layout.canvas.0, layout.canvas.1, PAPER);
    canvas.paste(picture, layout.picture.0, layout.picture.1);
    for (i, entry) in entries.iter().enumerate() {
        let (column, row) = (i / layout.rows, i % layout.rows);
        let left = layout.panel.0 + column * (style.column + style.gutter);
        style.draw(&mut canvas, entry, left, layout.panel.1 + row * style.line);
    }
    canvas
}

/// The measures of a panel, in pixels: all follow from the text's height and the longest name.
struct Style {
    text: Text,
    height: usize,
    line: usize,
    margin: usize,
    gutter: usize,
    swatch: usize,
    name: f32,
    column: usize,
}

/// Where everything goes: the whole, the picture's top left, the first entry's top left, and entries to a column.
struct Layout {
    canvas: (usize, usize),
    picture: (usize, usize),
    panel: (usize, usize),
    rows: usize,
}

impl Style {
    fn new(picture: &Picture, entries: &[LegendEntry]) -> Self {
        let short = picture.width().min(picture.height());
        let height = (short / 24).max(12);
        let text = Text::new(height as f32);
        let longest = |widths: &mut dyn Iterator<Item = f32>| widths.fold(0.0, f32::max);
        let names = longest(&mut entries.iter().map(|e| text.width(&e.name)));
        let name = names.min(height as f32 * 10.0).ceil();
        let percents = longest(&mut entries.iter().map(|e| text.width(&percent(e.share))));
        let swatch = height * 4 / 5;
        Self {
            text,
            height,
            line: height * 3 / 2,
            margin: height,
            gutter: height * 3 / 2,
            swatch,
            name,
            column: swatch + height / 2 + name as usize + height + percents.ceil() as usize,
        }
    }

    fn right_of(&self, (width, height): (usize, usize), entries: usize) -> Layout {
        let room = height.saturating_sub(self.margin * 2) / self.line;
        let columns = entries.div_ceil(room.max(1));
        let rows = entries.div_ceil(columns);
        let total = (width + self.across(columns), height.max(self.down(rows)));
        Layout {
            canvas: total,
            picture: (0, (total.1 - height) / 2),
            panel: (width + self.margin, (total.1 - rows * self.line) / 2),
            rows,
        }
    }

    fn below(&self, (width, height): (usize, usize), entries: usize) -> Layout {
        let room = (width + self.gutter).saturating_sub(self.margin * 2);
        let columns = (room / (self.column + self.gutter)).clamp(1, entries);
        let rows = entries.div_ceil(columns);
        let total = (width.max(self.across(columns)), height + self.down(rows));
        Layout {
            canvas: total,
            picture: ((total.0 - width) / 2, 0),
            panel: (self.margin, height + self.margin),
            rows,
        }
    }

    /// A panel of so many columns is this wide, margins included.
    fn across(&self, columns: usize) -> usize {
        columns * (self.column + self.gutter) - self.gutter + self.margin * 2
    }

    /// A panel of so many rows is this high, margins included.
    fn down(&self, rows: usize) -> usize {
        rows * self.line + self.margin * 2
    }

    fn draw(&self, canvas: &mut Picture, entry: &LegendEntry, left: usize, top: usize) {
        let side = self.swatch;
        let square = Rect::new(left, top + (self.line - side) / 2, side, side);
        canvas.draw_swatch(square, entry.color);
        let words_top = top as f32 + (self.line - self.height) as f32 / 2.0;
        let name_left = (left + side + self.height / 2) as f32;
        let name = self.text.fitted(&entry.name, self.name);
        self.text.draw(canvas, &name, name_left, words_top, INK);
        let percent = percent(entry.share);
        let percent_left = (left + self.column) as f32 - self.text.width(&percent);
        self.text
            .draw(canvas, &percent, percent_left, words_top, FAINT_INK);
    }
}

impl Picture {
    /// A filled square with a thin darker edge, so that white shows on white too.
    ///
    /// # Panics
    /// As [`Picture::fill`].
    pub fn draw_swatch(&mut self, square: Rect, colour: [u8; 3]) {
        let edge = (square.width / 16).max(1);
        self.fill(square, colour.map(|c| c - c / 4));
        let inside = square.width.saturating_sub(edge * 2);
        self.fill(
            Rect::new(square.x + edge, square.y + edge, inside, inside),
            colour,
        );
    }

    /// Fills an area with a colour.
    ///
    /// # Panics
    /// If it reaches over the right edge; what lies below the lower edge is not drawn.
    pub fn fill(&mut self, area: Rect, colour: [u8; 3]) {
        let width = self.width();
        let (pixels, _) = self.pixels_mut().as_chunks_mut::<3>();
        for row in pixels
            .chunks_exact_mut(width)
            .take(area.bottom())
            .skip(area.y)
        {
            row[area.x..area.right()].fill(colour);
        }
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p > 0.0 && p < 0.05 => "<0.1 %".into(),
        p => format!("{p:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: usize) -> Vec<LegendEntry> {
        let entry = |i: usize| LegendEntry {
            name: format!("class number {i} with a name that goes on and on and on"),
            color: [200, i as u8, 40],
            share: 1.0 / count as f64,
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn the_picture_is_kept_and_the_panel_fits_any_shape() {
        for size in [(1, 1), (500, 375), (40, 900), (900, 40), (2000, 1500)] {
            let picture = Picture::filled(size.0, size.1, [1, 2, 3]);
            for count in [1, 7, 60] {
                let drawn = legend(&picture, &entries(count));
                assert!(drawn.width() >= size.0 && drawn.height() >= size.1);
                let (pixels, _) = drawn.pixels().as_chunks::<3>();
                let kept = pixels.iter().filter(|&&p| p == [1, 2, 3]).count();
                assert_eq!(kept, size.0 * size.1, "{size:?} with {count} entries");
            }
        }
        let alone = Picture::filled(5, 5, [9; 3]);
        assert_eq!(legend(&alone, &[]), alone);
    }

    #[test]
    fn small_shares_are_not_nothing() {
        assert_eq!(percent(0.0), "0.0 %");
        assert_eq!(percent(0.0001), "<0.1 %");
        assert_eq!(percent(0.234), "23.4 %");
    }
}
