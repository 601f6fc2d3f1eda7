//! SVG, element by element.

use std::fmt::Write;

use segmenta_image::Text;

/// A drawing that grows; units are CSS pixels, the origin is the top left.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    /// For a page, which has fonts.
    body: String,
    /// The same for paper: words are outlines.
    paper: String,
}

/// A finished drawing as an `<svg>` element.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    /// With words as text, in the fonts of a page.
    pub(super) page: String,
    /// With words as outlines, which need no font.
    pub(super) paper: String,
}

/// Where a text's anchor is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
            paper: String::new(),
        }
    }

    pub(super) fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ([x1, y1], [x2, y2]) = (short(from), short(to));
        self.put(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    /// Points joined by straight lines.
    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for &point in points {
            let [x, y] = short(point);
            let _ = write!(path, "{x},{y} ");
        }
        self.put(format_args!(
            r#"<polyline class="{class}" points="{}"/>"#,
            path.trim_end()
        ));
    }

    /// A rectangle; `more` is further attributes.
    pub(super) fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), more: &str) {
        let ([x, y], [w, h]) = (short(at), short(size));
        self.put(format_args!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}"{more}/>"#
        ));
    }

    /// A dot that says something when pointed at.
    pub(super) fn dot(&mut self, class: &str, at: (f64, f64), radius: f64, says: &str) {
        let [x, y] = short(at);
        let says = escaped(says);
        self.put(format_args!(r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}"><title>{says}</title></circle>"#));
    }

    /// A line of text; `y` is its baseline, `size` the letters' in pixels.
    pub(super) fn text(
        &mut self,
        class: &str,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        text: &str,
    ) {
        self.turned(class, at, size, anchor, 0.0, text);
    }

    /// As [`Svg::text`], turned by some degrees about its anchor.
    pub(super) fn turned(
        &mut self,
        class: &str,
        at: (f64, f64),
        size: f64,
        anchor: Anchor,
        degrees: f64,
        text: &str,
    ) {
        let [x, y] = short(at);
        let (anchor, before) = match anchor {
            Anchor::Start => ("start", 0.0),
            Anchor::Middle => ("middle", 0.5),
            Anchor::End => ("end", 1.0),
        };
        let turn = if degrees == 0.0 {
            String::new()
        } else {
            format!(r#" transform="rotate({degrees} {x} {y})""#)
        };
        let letters = font(size);
        let left = -before * f64::from(letters.width(text));
        let outlines = letters.outlines(text);
        let text = escaped(text);
        // Writing to a string cannot fail.
        let _ = write!(
            self.body,
            r#"<text class="{class}" x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"{turn}>{text}</text>"#
        );
        let _ = write!(
            self.paper,
            r#"<path class="{class}" transform="translate({x} {y}) rotate({degrees}) translate({left:.2} 0)" d="{outlines}"/>"#
        );
    }

    /// What follows, until [`Svg::end`], says `text` when pointed at.
    pub(super) fn group(&mut self, text: &str) {
        let text = escaped(text);
        self.put(format_args!("<g><title>{text}</title>"));
    }

    pub(super) fn end(&mut self) {
        self.put(format_args!("</g>"));
    }

    /// The element; `name` tells it to those who cannot see it.
    pub(super) fn finish(self, name: &str) -> Drawing {
        let (width, height) = (self.width, self.height);
        let [page, paper] = [self.body, self.paper].map(|body| {
            format!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg>"#,
                escaped(name),
            )
        });
        Drawing { page, paper }
    }

    fn put(&mut self, element: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(element);
        let _ = self.paper.write_fmt(element);
    }
}

/// Coordinates to a tenth of a pixel.
fn short((x, y): (f64, f64)) -> [f64; 2] {
    [x, y].map(|v| (v * 10.0).round() / 10.0)
}

/// Text that markup cannot mistake for its own: the five characters of HTML and XML, and what XML does not have.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A text in letters of `size`, cut with an ellipsis where it is wider than `width`.
pub(super) fn fitted(text: &str, size: f64, width: f64) -> String {
    font(size).fitted(text, width as f32)
}

/// The width of a text in letters of `size`, as the embedded font has it; a page's own is rarely wider.
pub(super) fn width(text: &str, size: f64) -> f64 {
    f64::from(font(size).width(text))
}

/// The font's lines are this much higher than its letters' nominal size.
fn font(size: f64) -> Text {
    const LINE: f64 = 1.164;
    Text::new((size * LINE) as f32)
}
