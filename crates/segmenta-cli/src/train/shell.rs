//! Words as a shell takes them.

use std::path::Path;

/// A word, quoted where the shell would cut or change it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A path, which may not look like a flag.
pub(super) fn quoted_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.starts_with('-') {
        quoted(&format!("./{text}"))
    } else {
        quoted(&text)
    }
}
