//! A weight file that someone has published: where it lies and how to know it again.

/// A file to download. The tables of them belong to the zoo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Its plain name, also in the cache: `fcn_resnet50_coco-1167a1af.pth`.
    pub file: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// Its length, where it is known.
    pub bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal: all 64 digits, or as `torch.hub` has it in a file's name, the
    /// first 8 or more.
    pub sha256: &'static str,
}

impl Published {
    /// Whether a file with this digest (64 lowercase hexadecimal digits) is the published one.
    pub(crate) fn is_digest(&self, digest: &str) -> bool {
        self.sha256.len() >= 8 && digest.starts_with(&self.sha256.to_ascii_lowercase())
    }
}
