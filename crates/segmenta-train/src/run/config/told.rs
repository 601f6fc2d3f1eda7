//! What is wrong with a configuration's text, in words of its keys.

use std::ops::Range;

use super::{EXPLAINED, RunError};

/// An error of a configuration: of the key whose value is wrong, or of the whole `origin`.
pub(super) fn wrong(error: &toml::de::Error, text: &str, origin: &str) -> RunError {
    let key = error.span().and_then(|span| key_at(text, span));
    let is_value = error.message().starts_with("invalid ");
    RunError::Config {
        origin: key.filter(|_| is_value).unwrap_or_else(|| origin.into()),
        problem: message(error),
    }
}

/// What is wrong, in a line, with the nearest key to one that is not known.
pub(super) fn message(error: &toml::de::Error) -> String {
    let text = error.message().to_string();
    let quoted = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(Into::into).collect()
    };
    let names = quoted(&text);
    if let [unknown, known @ ..] = &names[..]
        && text.starts_with("unknown field")
    {
        // Sections with parts of their own do not list their keys.
        let explained = EXPLAINED.lines().filter_map(|line| {
            let key = line.trim_start_matches("# ").split_once(" = ")?.0;
            key.chars()
                .all(|c| c.is_ascii_lowercase() || c == '_')
                .then(|| key.to_string())
        });
        let all = known.iter().cloned().chain(explained);
        let likeness = |name: &String| strsim::jaro_winkler(unknown, name);
        let nearest = all.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        if let Some(nearest) = nearest {
            return format!(
                "there is no key `{unknown}`; did you mean `{nearest}`? `segmenta train --explain` lists all"
            );
        }
    }
    text.replace('\n', " ")
}

/// The key, with its section, whose value lies at `span` of a configuration's text.
fn key_at(text: &str, span: Range<usize>) -> Option<String> {
    let before = text.get(..span.start)?;
    let line = &text[before.rfind('\n').map_or(0, |at| at + 1)..];
    let name = line.split_once('=')?.0.trim();
    let header = |line: &str| {
        let name = line.trim().strip_prefix('[')?.strip_suffix(']')?;
        Some(name.trim_matches(['[', ']']).to_owned())
    };
    match before.lines().rev().find_map(header) {
        Some(section) => Some(format!("{section}.{name}")),
        None => Some(name.into()),
    }
}
