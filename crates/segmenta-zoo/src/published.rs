//! Weights that were published for these architectures: what `segmenta models pull` knows.
//!
//! The rows are torchvision's `COCO_WITH_VOC_LABELS_V1` (BSD-3-Clause), from its own tables
//! (version 0.29): URL, size in MiB, scores. A file's name carries the first eight digits of its
//! SHA-256, which is what torch.hub checks and what is checked here.

/// The scores that a file was published with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean intersection over union, percent.
    pub miou: f64,
    /// Pixel accuracy, percent.
    pub pixel_accuracy: f64,
    /// What was measured, and how.
    pub protocol: &'static str,
}

/// A published file of weights.
#[derive(Clone, Copy, Debug)]
pub struct PublishedWeights {
    /// The architecture that it is for.
    pub architecture: &'static str,
    /// Name of the set, as its publisher calls it.
    pub name: &'static str,
    /// Where it is.
    pub url: &'static str,
    /// Size of the file in MiB, as published.
    pub mebibytes: f64,
    /// The first digits of the file's SHA-256, in hexadecimal.
    pub sha256_prefix: &'static str,
    /// Names of the classes, by id.
    pub classes: &'static [&'static str],
    /// Whether the file holds an auxiliary head.
    pub aux: bool,
    /// Trainable values, without the auxiliary head where torchvision counts it so.
    pub parameters: usize,
    /// How well it does.
    pub score: Score,
    /// Licence of the file.
    pub licence: &'static str,
}

impl PublishedWeights {
    /// The file's own name: the last part of the URL.
    pub fn file(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// The 21 classes of Pascal VOC, by id, spelled as torchvision spells them, but for its `__background__`.
pub const VOC_CLASSES: [&str; 21] = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

const fn row(
    architecture: &'static str,
    url: &'static str,
    sha256_prefix: &'static str,
    mebibytes: f64,
    parameters: usize,
    aux: bool,
    miou: f64,
    pixel_accuracy: f64,
) -> PublishedWeights {
    PublishedWeights {
        architecture,
        name: "COCO_WITH_VOC_LABELS_V1",
        url,
        mebibytes,
        sha256_prefix,
        classes: &VOC_CLASSES,
        aux,
        parameters,
        score: Score {
            miou,
            pixel_accuracy,
            protocol: "COCO val2017, the 20 VOC classes and background, short side 520",
        },
        licence: "BSD-3-Clause",
    }
}

#[rustfmt::skip]
static PUBLISHED: [PublishedWeights; 6] = [
    row("fcn_resnet50", "https://download.pytorch.org/models/fcn_resnet50_coco-1167a1af.pth", "1167a1af", 135.009, 35_322_218, true, 60.5, 91.4),
    row("fcn_resnet101", "https://download.pytorch.org/models/fcn_resnet101_coco-7ecb50ca.pth", "7ecb50ca", 207.711, 54_314_346, true, 63.7, 91.9),
    row("deeplabv3_resnet50", "https://download.pytorch.org/models/deeplabv3_resnet50_coco-cd0a2569.pth", "cd0a2569", 160.515, 42_004_074, true, 66.4, 92.4),
    row("deeplabv3_resnet101", "https://download.pytorch.org/models/deeplabv3_resnet101_coco-586e9e4e.pth", "586e9e4e", 233.217, 60_996_202, true, 67.4, 92.4),
    row("deeplabv3_mobilenet_v3_large", "https://download.pytorch.org/models/deeplabv3_mobilenet_v3_large-fc3c493d.pth", "fc3c493d", 42.301, 11_029_328, true, 60.3, 91.2),
    row("lraspp_mobilenet_v3_large", "https://download.pytorch.org/models/lraspp_mobilenet_v3_large-d234d4ea.pth", "d234d4ea", 12.49, 3_221_538, false, 57.9, 91.2),
];

/// All published files.
pub fn published_weights() -> &'static [PublishedWeights] {
    &PUBLISHED
}

/// The published file for an architecture.
pub fn published(architecture: &str) -> Option<&'static PublishedWeights> {
    PUBLISHED.iter().find(|w| w.architecture == architecture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, find};

    #[test]
    fn rows_agree_with_the_networks_and_the_file_names() {
        for row in published_weights() {
            assert!(row.file().contains(row.sha256_prefix), "{}", row.url);
            let options = Options {
                aux: row.aux,
                ..Options::new(row.classes.len())
            };
            let graph = find(row.architecture).unwrap().build(&options).unwrap();
            assert_eq!(
                graph.trainable_count(),
                row.parameters,
                "{}",
                row.architecture
            );
        }
    }
}
