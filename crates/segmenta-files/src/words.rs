//! Counts in words, for messages.

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

#[cfg(test)]
mod tests {
    use super::*;

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
