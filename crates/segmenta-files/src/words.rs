//! Words that the messages of all rooms share: counts, values of a wrong type.

use std::fmt::Display;

/// A count and what is counted, given in the singular: `1 mask`, `0 classes`, `12 entries`.
pub fn count<N: Display + PartialEq + From<u8> + Copy>(n: N, one: &str) -> String {
    format!("{n} {}", noun(n, one))
}

/// What is counted, without the count: `noun(2, "class")` is `classes`.
pub fn noun<N: PartialEq + From<u8> + Copy>(n: N, one: &str) -> String {
    if n == N::from(1) {
        return one.into();
    }
    let hisses = ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|end| one.ends_with(end));
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if hisses => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

/// What a reader of JSON or TOML says of a value that has another type, without the names of Rust's types:
/// `invalid type: string "x", expected usize` is `it cannot be "x"; give a whole number`. All else stays as it is.
pub fn of_type(message: &str) -> String {
    if let Some((before, wanted)) = message.split_once("invalid value, expected ") {
        return format!("{before}it cannot be this; give {wanted}");
    }
    let plain = || {
        let (before, told) = ["invalid type: ", "invalid value: "]
            .iter()
            .find_map(|opening| message.split_once(opening))?;
        let (is, wanted) = told.split_once(", expected ")?;
        let (wanted, place) = match wanted.find(" at line ") {
            Some(at) => wanted.split_at(at),
            None => (wanted, ""),
        };
        let is = match is.split_once(' ') {
            Some(("string", text)) => text,
            Some(("integer" | "boolean", value)) => value.trim_matches('`'),
            _ if is.starts_with("floating point") => {
                is.trim_start_matches("floating point ").trim_matches('`')
            }
            _ => match is {
                "sequence" => "a list",
                "map" => "a table",
                "unit value" => "null",
                other => other,
            },
        };
        let is_whole = |name: &str| {
            let size = name.strip_prefix(['u', 'i']);
            size.is_some_and(|size| ["8", "16", "32", "64", "size"].contains(&size))
        };
        let wanted = match wanted {
            name if is_whole(name) => "a whole number",
            "f32" | "f64" => "a number",
            "a string" | "string" => "a text",
            "a boolean" => "true or false",
            "a sequence" => "a list",
            name if name == "a map" || name.starts_with("struct ") => "a table",
            other => other,
        };
        Some(format!("{before}it cannot be {is}{place}; give {wanted}"))
    };
    plain().unwrap_or_else(|| message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_words() {
        for (serde, words) in [
            (
                "invalid type: floating point `1.5`, expected usize",
                "it cannot be 1.5; give a whole number",
            ),
            (
                "images[2].width: invalid type: string \"wide\", expected f64 at line 3 column 9",
                "images[2].width: it cannot be \"wide\" at line 3 column 9; give a number",
            ),
            (
                "invalid type: string \"adam\", expected struct OptimizerConfig",
                "it cannot be \"adam\"; give a table",
            ),
            (
                "invalid value: integer `-3`, expected u64",
                "it cannot be -3; give a whole number",
            ),
            (
                "invalid type: map, expected a sequence",
                "it cannot be a table; give a list",
            ),
            (
                "invalid value, expected a side in pixels, or a size",
                "it cannot be this; give a side in pixels, or a size",
            ),
            ("missing field `width`", "missing field `width`"),
        ] {
            assert_eq!(of_type(serde), words);
        }
    }

    #[test]
    fn one_is_one_and_all_else_are_several() {
        assert_eq!(count(1_usize, "mask"), "1 mask");
        assert_eq!(count(0_usize, "mask"), "0 masks");
        assert_eq!(count(21_u64, "class"), "21 classes");
        assert_eq!(count(1_u64, "class"), "1 class");
        assert_eq!(count(2_u32, "box"), "2 boxes");
        assert_eq!(count(7_u32, "entry"), "7 entries");
        assert_eq!(count(7_u32, "array"), "7 arrays");
        assert_eq!(noun(3_usize, "tensor"), "tensors");
    }
}
