//! Encoders of timm by the lists of features that SMP 0.6 takes from there (`tu-*`), a family a file: names are those of
//! `TimmUniversalEncoder`, whose network is the module `model`. None dilates: timm turns strides into dilations block by
//! block and pads some of their windows on one side, which is not built here.

pub(super) mod convnext;
pub(super) mod hrnet;
pub(super) mod mobile;
pub(super) mod regnet;
pub(super) mod resnet;
pub(super) mod swin;

use super::Traits;

/// Of all of them.
const TRAITS: Traits = Traits {
    dilates: false,
    former,
    ..Traits::PLAIN
};

/// The name in timm's own files: no module around, and lists where feature lists have modules of their own
/// (`model.stages_0.blocks` is `stages.0.blocks` there).
fn former(entry: &str) -> Option<String> {
    let (before, rest) = match entry.strip_prefix("encoder.") {
        Some(rest) => ("encoder.", rest),
        None => ("", entry),
    };
    let name = rest.strip_prefix("model.")?;
    let (first, rest) = name.split_once('.')?;
    let listed = match first.rsplit_once('_') {
        Some((list, at)) if at.bytes().all(|byte| byte.is_ascii_digit()) => format!("{list}.{at}"),
        _ => first.into(),
    };
    Some(format!("{before}{listed}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::former;

    #[test]
    fn files_of_timm_have_lists_where_features_have_modules() {
        for (ours, theirs) in [
            ("model.stem_1.bias", "stem.1.bias"),
            (
                "encoder.model.stages_3.blocks.0.gamma",
                "encoder.stages.3.blocks.0.gamma",
            ),
            ("model.layer1.0.bn1.weight", "layer1.0.bn1.weight"),
            ("model.patch_embed.proj.weight", "patch_embed.proj.weight"),
        ] {
            assert_eq!(former(ours).as_deref(), Some(theirs));
        }
        assert_eq!(former("layer1.0.bn1.weight"), None);
    }
}
