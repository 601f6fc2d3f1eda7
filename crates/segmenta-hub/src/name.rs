//! How a repository is called.

use std::fmt;
use std::str::FromStr;

/// The branch of those who name none.
const MAIN: &str = "main";
/// The longest name of a repository that the hub gives.
const LONGEST: usize = 96;

/// A repository of models, and which state of it: `OWNER/NAME` or `OWNER/NAME@REVISION`.
///
/// ```
/// use segmenta_hub::RepositoryName;
///
/// let name: RepositoryName = "nvidia/segformer-b0-finetuned-ade-512-512@main".parse().unwrap();
/// assert_eq!(name.id(), "nvidia/segformer-b0-finetuned-ade-512-512");
/// assert!("../weights".parse::<RepositoryName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryName {
    id: String,
    revision: String,
}

/// A text that names no repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "“{0}” names no repository · write OWNER/NAME or OWNER/NAME@REVISION, as the hub's page has it"
)]
pub struct NameError(String);

impl RepositoryName {
    /// Owner and name, with a slash between them.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A branch, a tag or a commit; `main` unless another is named.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The same repository at a commit.
    pub(crate) fn at(&self, commit: &str) -> Self {
        Self {
            revision: commit.into(),
            ..self.clone()
        }
    }

    /// Whether the revision is a commit, which never changes.
    pub(crate) fn is_commit(&self) -> bool {
        is_commit(&self.revision)
    }

    /// The repository's folder in a cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }
}

/// Whether a text is a commit: 40 hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let is_part = |part: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && part.chars().all(plain)
                && !part.contains("..")
                && !part.contains("--")
        };
        let sound = |revision: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            // It becomes a path in the cache.
            let steps = || revision.split('/');
            revision.chars().all(plain) && steps().all(|s| !s.is_empty() && s != "." && s != "..")
        };
        let parts: Vec<&str> = id.split('/').collect();
        let named = matches!(parts[..], [owner, name] if is_part(owner) && is_part(name));
        if named && id.len() <= LONGEST && sound(revision) {
            return Ok(Self {
                id: id.into(),
                revision: revision.into(),
            });
        }
        Err(NameError(text.into()))
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision == MAIN {
            Ok(())
        } else {
            write!(f, "@{}", self.revision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let name: RepositoryName = "a-b/C.d_1@refs/pr/3".parse().unwrap();
        assert_eq!((name.id(), name.revision()), ("a-b/C.d_1", "refs/pr/3"));
        assert_eq!(name.folder(), "models--a-b--C.d_1");
        assert_eq!(name.to_string(), "a-b/C.d_1@refs/pr/3");
        let plain: RepositoryName = "a/b".parse().unwrap();
        assert_eq!(
            (plain.to_string(), plain.revision()),
            ("a/b".into(), "main")
        );
        for text in [
            "", "a", "a/b/c", "/a", "a/", "./a", "../a", "a/..", "a--b/c", "a/b@", "a/b@../c",
            "a/b@/c", "a b/c", "a/b@x y",
        ] {
            assert!(text.parse::<RepositoryName>().is_err(), "{text}");
        }
    }
}
