//! Weights that encoders can begin with, by name: those that segmentation_models_pytorch 0.6 has, and torchvision's.
//!
//! `tools/encoder_weights.py` writes the table from what the installed packages state. What is empty is not known.

use std::sync::LazyLock;

use segmenta_weights::Published;

use crate::name::RepositoryName;

/// The name of the weights that a new network begins with.
pub const DEFAULT_WEIGHTS: &str = "imagenet";

/// A file of weights for an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderWeights {
    /// The encoder, as SMP calls it.
    pub encoder: String,
    /// What the weights are called: SMP's word (`imagenet`, `noisy-student`), or torchvision's (`IMAGENET1K_V2`).
    pub name: String,
    /// Where they are.
    pub source: WeightsSource,
    /// Size of the file in MiB, where it is known.
    pub mebibytes: Option<f64>,
    /// Their licence, where it is known.
    pub licence: Option<String>,
}

/// Where weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsSource {
    /// In a repository of the Hugging Face hub, which says mean and deviation, too.
    Repository(RepositoryName),
    /// At an address, the end of the file's name being the beginning of its SHA-256. They are torchvision's, with
    /// ImageNet's mean and deviation.
    Url(String),
}

impl EncoderWeights {
    /// How the cache of published files knows it; `None` for what a repository has.
    pub fn published(&'static self) -> Option<Published> {
        let WeightsSource::Url(url) = &self.source else {
            return None;
        };
        let file = url.rsplit('/').next()?;
        let stem = file.split('.').next()?;
        Some(Published {
            file,
            url,
            bytes: None,
            sha256: stem.rsplit('-').next()?,
        })
    }

    /// Where they are, in a word: the repository's name, or the file's.
    pub fn place(&self) -> &str {
        match &self.source {
            WeightsSource::Repository(name) => name.id(),
            WeightsSource::Url(url) => url.rsplit('/').next().unwrap_or(url),
        }
    }
}

static TABLE: LazyLock<Vec<EncoderWeights>> = LazyLock::new(|| {
    let text = include_str!("encoder_weights.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let row = |record: csv::StringRecord| {
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let source = if cell(2).contains("://") {
            WeightsSource::Url(cell(2).into())
        } else {
            WeightsSource::Repository(cell(2).parse().ok()?)
        };
        Some(EncoderWeights {
            encoder: cell(0).into(),
            name: cell(1).into(),
            source,
            mebibytes: cell(3).parse().ok(),
            licence: Some(cell(4).to_owned()).filter(|licence| !licence.is_empty()),
        })
    };
    reader
        .records()
        .filter_map(Result::ok)
        .filter_map(row)
        .collect()
});

/// All of them, encoder by encoder.
pub fn encoder_weights() -> &'static [EncoderWeights] {
    &TABLE
}

/// Those of an encoder.
pub fn weights_of_encoder(encoder: &str) -> impl Iterator<Item = &'static EncoderWeights> {
    TABLE.iter().filter(move |row| row.encoder == encoder)
}

/// The weights of an encoder by their name, whatever its case.
pub fn find_encoder_weights(encoder: &str, name: &str) -> Option<&'static EncoderWeights> {
    weights_of_encoder(encoder).find(|row| row.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::licence::is_non_commercial;

    #[test]
    fn every_row_can_be_fetched_and_is_named_once() {
        // As many as the file has: none was left out because its name was not understood.
        let lines = include_str!("encoder_weights.csv").lines().count() - 1;
        assert_eq!(encoder_weights().len(), lines);
        assert!(lines > 140, "{lines}");
        for row in encoder_weights() {
            let same = weights_of_encoder(&row.encoder)
                .filter(|other| other.name.eq_ignore_ascii_case(&row.name));
            assert_eq!(same.count(), 1, "{} {}", row.encoder, row.name);
            match &row.source {
                WeightsSource::Repository(name) => {
                    // SMP names a commit of its own copies; timm's repositories are taken as they are.
                    assert!(name.is_commit() || name.id().starts_with("timm/"), "{name}");
                    assert!(row.published().is_none());
                }
                WeightsSource::Url(url) => {
                    let published = row.published().unwrap();
                    let digits = published.sha256;
                    assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
                    assert!(url.ends_with(published.file) && row.mebibytes > Some(1.0));
                }
            }
        }
    }

    #[test]
    fn rows_are_found_by_their_names() {
        let row = find_encoder_weights("resnet34", "ImageNet").unwrap();
        assert_eq!(row.place(), "smp-hub/resnet34.imagenet");
        assert_eq!(row.licence.as_deref(), Some("BSD-3-Clause"));
        let v2 = find_encoder_weights("resnet50", "imagenet1k_v2").unwrap();
        assert_eq!(v2.published().unwrap().sha256, "11ad3fa6");
        assert!(find_encoder_weights("resnet34", "swsl").is_none());
        let mit = find_encoder_weights("mit_b2", DEFAULT_WEIGHTS).unwrap();
        assert!(is_non_commercial(mit.licence.as_deref().unwrap()));
    }
}
