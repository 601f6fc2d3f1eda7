//! Backbones of transformers, a family a file: what `backbone_config` describes, for whichever head reads its maps.

mod convnext;
mod resnet;
mod swin;

use segmenta_graph::{Activation, Builder, Node, Scope};
use serde_json::Value;

use super::undone;
use crate::config::Config;
use crate::smp::Refusal;

/// The maps of the backbone that `config` describes, in the order of its `out_features`; its entries are under `name`.
/// Of a `config` without a `model_type` it is a ResNet, as transformers has it.
pub(crate) fn build(
    g: &mut Builder,
    input: Node,
    name: &Scope,
    config: &Config,
) -> Result<Vec<Node>, Refusal> {
    match config.word("model_type", "resnet")? {
        "convnext" => convnext::build(g, input, name, config),
        "resnet" => resnet::build(g, input, name, config),
        "swin" => swin::build(g, input, name, config, &swin::NAMES),
        "maskformer-swin" => swin::build(g, input, name, config, &swin::MASKFORMER),
        other => Err(Refusal::Option(format!(
            "has no backbone of the kind `{other}` (model_type in backbone_config); there are convnext, resnet and swin"
        ))),
    }
}

/// What a `config.json` says of the backbone in `backbone_config`; where it says nothing, the fields that the head has by
/// default.
pub(crate) fn config_of(config: &Config, default: &[(&str, Value)]) -> Result<Config, Refusal> {
    let mut fields = config.nested("backbone_config")?;
    if !fields.given().is_empty() {
        return Ok(fields);
    }
    if let Some(named) = config.given().get("backbone") {
        return Err(Refusal::Option(format!(
            "has no backbone by the name of another repository, {named} (backbone); give its fields as backbone_config"
        )));
    }
    for (name, value) in default {
        fields.set(name, value.clone());
    }
    Ok(fields)
}

/// The name that an entry of the backbone under `prefix` had in transformers 4, if it was another.
pub(crate) fn former(name: &str, prefix: &str) -> Option<String> {
    let rest = name.strip_prefix(prefix)?.strip_prefix("swin.")?;
    Some(format!("{prefix}{}", undone(rest, &swin::RULES)))
}

/// The maps that a head reads, 0 the stem's, each behind a norm of its own.
fn normed(g: &mut Builder, maps: &[Node], wanted: &[usize], name: &Scope, eps: f32) -> Vec<Node> {
    let norms = name / "hidden_states_norms";
    let norm = |&stage: &usize| {
        let name = match stage {
            0 => &norms / "stem",
            _ => &norms / format!("stage{stage}"),
        };
        g.layer_norm(maps[stage], &name, eps)
    };
    wanted.iter().map(norm).collect()
}

/// What all blocks of a backbone have in common.
#[derive(Clone, Copy)]
struct Blocks {
    activation: Activation,
    dropout: f32,
    /// Of the last block; it rises linearly to it.
    drop_path: f32,
    /// Blocks of all stages.
    count: usize,
}

impl Blocks {
    fn new(config: &Config, depths: &[usize], drop_path: f64) -> Result<Self, Refusal> {
        Ok(Self {
            activation: config.activation("hidden_act", Activation::Gelu)?,
            dropout: config.probability("hidden_dropout_prob", 0.0)?,
            drop_path: config.probability("drop_path_rate", drop_path)?,
            count: depths.iter().sum(),
        })
    }

    /// How likely block number `at` of all is dropped.
    fn dropped(&self, at: usize) -> f32 {
        self.drop_path * at as f32 / self.count.saturating_sub(1).max(1) as f32
    }
}
