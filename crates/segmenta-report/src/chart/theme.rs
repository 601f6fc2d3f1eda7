//! The colours of charts: one table, for paper and for both kinds of page.
//!
//! Lines differ in dashes as well as in colour, and the colours differ in lightness too: blue, vermilion, green and
//! purple after Okabe and Ito ("Color universal design", 2008), darkened or lightened to keep a contrast of 3 : 1 with
//! the page.

use std::fmt::Write;

/// What a class of drawing looks like on light and on dark ground.
struct Ink {
    class: &'static str,
    property: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn ink(
    class: &'static str,
    property: &'static str,
    light: &'static str,
    dark: &'static str,
) -> Ink {
    Ink {
        class,
        property,
        light,
        dark,
    }
}

const INKS: [Ink; 24] = [
    ink("title", "fill", "#1d2127", "#e9ecf0"),
    ink("label", "fill", "#3d444d", "#c3c9d1"),
    ink("faint", "fill", "#656d78", "#949dab"),
    ink("grid", "stroke", "#e3e6ea", "#30363f"),
    ink("axis", "stroke", "#9aa2ad", "#606a78"),
    ink("mark", "stroke", "#656d78", "#949dab"),
    ink("s0", "stroke", "#0062ad", "#5cb3f2"),
    ink("s1", "stroke", "#c94f07", "#ff9a57"),
    ink("s2", "stroke", "#00785a", "#40cf9f"),
    ink("s3", "stroke", "#9c3f86", "#e58fcb"),
    ink("s4", "stroke", "#8a6500", "#e6c04d"),
    ink("s5", "stroke", "#5a626d", "#b4bbc5"),
    ink("d0", "fill", "#0062ad", "#5cb3f2"),
    ink("d1", "fill", "#c94f07", "#ff9a57"),
    ink("d2", "fill", "#00785a", "#40cf9f"),
    ink("d3", "fill", "#9c3f86", "#e58fcb"),
    ink("d4", "fill", "#8a6500", "#e6c04d"),
    ink("d5", "fill", "#5a626d", "#b4bbc5"),
    ink("bed", "fill", "#f4f6f8", "#1f242b"),
    ink("cell", "fill", "#08488a", "#66b5f5"),
    ink("off", "fill", "#1d2127", "#e9ecf0"),
    ink("on", "fill", "#ffffff", "#0d1117"),
    ink("bar", "fill", "#2f7cc0", "#4b9fe0"),
    ink("edge", "stroke", "#656d78", "#949dab"),
];

/// How many lines look different.
pub(super) const LINES: usize = 6;

/// What does not depend on the ground.
const SHAPES: &str = "\
.grid,.axis,.edge{stroke-width:1}\
.mark{stroke-width:1;stroke-dasharray:3 3}\
.s0,.s1,.s2,.s3,.s4,.s5{stroke-width:2;fill:none;stroke-linejoin:round;stroke-linecap:round}\
.s1{stroke-dasharray:7 4}.s2{stroke-dasharray:1 4}.s3{stroke-dasharray:9 4 1 4}.s4{stroke-dasharray:4 4}\
.title{font-weight:600}\
.edge{fill:none}";

/// Rules for a drawing on white.
pub(super) fn paper_css() -> String {
    format!("{SHAPES}{}", rules("", |ink| ink.light))
}

/// Rules for the charts of a page, which is light or dark as its reader has it.
pub(crate) fn page_css() -> String {
    let scoped = SHAPES.replace("}.", "}.chart .").replace(",.", ",.chart .");
    format!(
        ".chart {scoped}{}@media(prefers-color-scheme:dark){{{}}}",
        rules(".chart ", |ink| ink.light),
        rules(".chart ", |ink| ink.dark),
    )
}

fn rules(scope: &str, colour: impl Fn(&Ink) -> &str) -> String {
    INKS.iter().fold(String::new(), |mut css, ink| {
        // Writing to a string cannot fail.
        let _ = write!(
            css,
            "{scope}.{}{{{}:{}}}",
            ink.class,
            ink.property,
            colour(ink)
        );
        css
    })
}
