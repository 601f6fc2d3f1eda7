//! Charts: drawn once as SVG, shown inline in a page or rasterised to a picture.
//!
//! A chart's SVG names classes instead of colours ([`theme`]), so that the same drawing suits a light page, a dark one
//! and paper.

mod bars;
mod confusion;
mod lines;
mod reliability;
mod scale;
mod svg;
mod theme;

use resvg::{tiny_skia, usvg};
use segmenta_image::Picture;

pub(crate) use bars::class_bars;
pub(crate) use confusion::confusion_matrix;
pub(crate) use lines::{LineChart, Series, Span};
pub(crate) use reliability::reliability;
pub(crate) use theme::page_css;

use crate::ReportError;
use svg::{Drawing, Svg};

/// A drawing.
#[derive(Debug, Clone)]
pub struct Chart {
    name: &'static str,
    size: (f64, f64),
    drawing: Drawing,
}

impl Chart {
    fn new(name: &'static str, svg: Svg) -> Self {
        Self {
            name,
            size: svg.size(),
            drawing: svg.finish(name),
        }
    }

    /// The drawing as an `<svg>` element for a page that has the report's style sheet. All text in it is escaped.
    pub fn svg(&self) -> &str {
        &self.drawing.page
    }

    /// The drawing on white paper, `scale` pixels for each of its units (2 for a screen of today).
    ///
    /// # Errors
    /// More pixels than memory holds.
    pub fn picture(&self, scale: f32) -> Result<Picture, ReportError> {
        let wrong = |problem: String| ReportError::Draw {
            drawing: self.name,
            problem,
        };
        let options = usvg::Options {
            style_sheet: Some(theme::paper_css()),
            ..usvg::Options::default()
        };
        let tree = usvg::Tree::from_str(&self.drawing.paper, &options)
            .map_err(|error| wrong(error.to_string()))?;
        let side = |length: f64| (length * f64::from(scale)).ceil() as u32;
        let (width, height) = (side(self.size.0), side(self.size.1));
        let canvas = tiny_skia::Pixmap::new(width, height);
        let mut canvas = canvas.ok_or_else(|| wrong(format!("{width}×{height} pixels")))?;
        canvas.fill(tiny_skia::Color::WHITE);
        resvg::render(
            &tree,
            tiny_skia::Transform::from_scale(scale, scale),
            &mut canvas.as_mut(),
        );
        // Paper is opaque, so the colours are not multiplied by anything.
        let (pixels, _) = canvas.data().as_chunks::<4>();
        let rgb = pixels
            .iter()
            .flat_map(|[r, g, b, _]| [*r, *g, *b])
            .collect();
        Ok(Picture::from_rgb(width as usize, height as usize, rgb)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use svg::Anchor;

    #[test]
    fn words_are_there_on_paper_too() {
        let dark = |text: &str| {
            let mut svg = Svg::new(120.0, 30.0);
            svg.text("title", (5.0, 20.0), 14.0, Anchor::Start, text);
            let picture = Chart::new("words", svg).picture(1.0).unwrap();
            picture
                .pixels()
                .iter()
                .filter(|&&value| value < 128)
                .count()
        };
        assert_eq!(dark(""), 0);
        assert!(
            dark("Loss") > 100 && dark("Loss and more") > 2 * dark("Loss"),
            "{}",
            dark("Loss")
        );
    }
}
