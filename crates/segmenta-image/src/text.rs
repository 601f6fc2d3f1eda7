//! Words on pictures: DejaVu Sans, cut down to Latin, Greek and Cyrillic (`assets/README.md`).

use std::fmt::Write;

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve, Point, PxScaleFont, ScaleFont, point};

use crate::Picture;

/// The font's file (TrueType).
const DEJAVU_SANS: &[u8] = include_bytes!("../assets/DejaVuSans-subset.ttf");

/// The font at one size. Characters that it lacks are drawn as boxes.
pub struct Text(PxScaleFont<FontRef<'static>>);

impl Text {
    /// `height` is that of a line, from the highest to the lowest stroke, in pixels.
    pub fn new(height: f32) -> Self {
        let font = FontRef::try_from_slice(DEJAVU_SANS).expect("the embedded font is whole");
        Self(font.into_scaled(height))
    }

    /// The width of a line in pixels.
    pub fn width(&self, line: &str) -> f32 {
        self.glyphs(line).map(|id| self.0.h_advance(id)).sum()
    }

    /// The line, or as much of its beginning as fits `width` with an ellipsis.
    pub fn fitted(&self, line: &str, width: f32) -> String {
        let mut kept: Vec<char> = line.chars().collect();
        let mut fitted = line.to_owned();
        while self.width(&fitted) > width && kept.pop().is_some() {
            fitted = kept.iter().collect::<String>().trim_end().to_owned() + "…";
        }
        fitted
    }

    /// Draws a line whose box has its left edge and top at (`left`, `top`). What lies outside the picture is not drawn.
    pub fn draw(&self, on: &mut Picture, line: &str, left: f32, top: f32, colour: [u8; 3]) {
        let mut x = left;
        // A baseline on a whole pixel keeps horizontal strokes sharp.
        let baseline = (top + self.0.ascent()).round();
        for id in self.glyphs(line) {
            let glyph = id.with_scale_and_position(self.0.scale(), point(x, baseline));
            x += self.0.h_advance(id);
            let Some(outline) = self.0.outline_glyph(glyph) else {
                continue; // a space
            };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, cover| {
                let (x, y) = (corner.x + dx as f32, corner.y + dy as f32);
                on.blend(x, y, colour, cover.min(1.0));
            });
        }
    }

    /// The outlines of a line as the data of an SVG path: it begins at x 0, its baseline is at y 0, y grows downwards,
    /// and what is inside by the non-zero rule is the letters.
    pub fn outlines(&self, line: &str) -> String {
        let (across, up) = (self.0.h_scale_factor(), self.0.v_scale_factor());
        let mut path = String::new();
        let mut left = 0.0;
        for id in self.glyphs(line) {
            let put = |path: &mut String, point: Point| {
                // Writing to a string cannot fail.
                let (x, y) = (left + point.x * across, -point.y * up);
                let _ = write!(path, "{x:.2} {y:.2} ");
            };
            let mut end = None;
            let curves = self.0.font().outline(id).map(|outline| outline.curves);
            for curve in curves.into_iter().flatten() {
                let (command, points) = match curve {
                    OutlineCurve::Line(from, to) => ('L', vec![from, to]),
                    OutlineCurve::Quad(from, a, to) => ('Q', vec![from, a, to]),
                    OutlineCurve::Cubic(from, a, b, to) => ('C', vec![from, a, b, to]),
                };
                if end != Some(points[0]) {
                    // A letter's next contour; each is filled as if closed.
                    path.push('M');
                    put(&mut path, points[0]);
                }
                path.push(command);
                points[1..].iter().for_each(|&point| put(&mut path, point));
                end = points.last().copied();
            }
            left += self.0.h_advance(id);
        }
        path
    }

    fn glyphs<'a>(&'a self, line: &'a str) -> impl Iterator<Item = GlyphId> + 'a {
        line.chars().map(|c| self.0.glyph_id(c))
    }
}

impl Picture {
    /// Moves the pixel at (`x`, `y`), if there is one, towards a colour by `share` (0 to 1).
    fn blend(&mut self, x: f32, y: f32, colour: [u8; 3], share: f32) {
        let (width, height) = self.size();
        if x < 0.0 || y < 0.0 || x >= width as f32 || y >= height as f32 {
            return;
        }
        let at = (y as usize * width + x as usize) * 3;
        for (value, target) in self.pixels_mut()[at..at + 3].iter_mut().zip(colour) {
            let mixed = f32::from(*value) + (f32::from(target) - f32::from(*value)) * share;
            *value = mixed.round() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_scripts_it_promises() {
        let text = Text::new(20.0);
        for letter in "AzÀßŁŽΑωЯёҐ–…€%".chars() {
            assert_ne!(text.0.glyph_id(letter), GlyphId(0), "{letter}");
        }
    }

    #[test]
    fn outlines_are_as_wide_as_the_line_and_stand_on_its_baseline() {
        let text = Text::new(20.0);
        let path = text.outlines("HI");
        let numbers = path.split(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let numbers: Vec<f32> = numbers.filter_map(|number| number.parse().ok()).collect();
        let (points, _) = numbers.as_chunks::<2>();
        let most = |axis: usize| points.iter().map(|p| p[axis]).fold(f32::MIN, f32::max);
        assert!(
            most(0) < text.width("HI") && most(0) > text.width("H"),
            "{path}"
        );
        assert_eq!(most(1), 0.0, "{path}");
        // One contour each, of straight lines.
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(text.outlines(" "), "");
    }

    #[test]
    fn long_lines_end_in_an_ellipsis() {
        let text = Text::new(20.0);
        let fitted = text.fitted("a very long class name indeed", 80.0);
        assert!(
            fitted.ends_with('…') && text.width(&fitted) <= 80.0,
            "{fitted}"
        );
        assert_eq!(text.fitted("cat", 80.0), "cat");
    }
}
