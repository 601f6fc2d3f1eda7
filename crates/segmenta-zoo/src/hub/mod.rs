//! Networks of the Hugging Face hub, a class of transformers a file. Each is built by the fields of a `config.json`
//! ([`Config`](crate::Config)) and has transformers 5's names in its state dict; version 4's, which nearly all files
//! on the hub have, are its former ones.

mod backbone;
pub(crate) mod beit;
mod deformable;
pub(crate) mod dpt;
pub(crate) mod eomt;
pub(crate) mod mask2former;
pub(crate) mod maskformer;
pub(crate) mod mobilenet_v2;
pub(crate) mod mobilevit;
pub(crate) mod mobilevit_v2;
pub(crate) mod oneformer;
mod queries;
pub(crate) mod segformer;
pub(crate) mod upernet;

use segmenta_graph::Graph;

use crate::options::Options;
use crate::smp::{Refusal, ShapeOf};

/// One class of transformers.
#[derive(Debug)]
pub(crate) struct Class {
    /// The fields of its `config.json` that the network depends on.
    pub(crate) fields: &'static [&'static str],
    pub(crate) build: fn(&Options) -> Result<Graph, Refusal>,
    /// The name that an entry had in transformers 4, if it was another.
    pub(crate) former: fn(&str) -> Option<String>,
    /// Reads fields off a state dict, for files without a `config.json`.
    pub(crate) read: fn(&mut Options, ShapeOf<'_>),
    /// Reads off the values of a state dict what neither its shapes nor a `config.json` say.
    pub(crate) values: fn(&mut Options, ValuesOf<'_>),
}

/// The values of a state dict's entries, by name.
pub(crate) type ValuesOf<'a> = &'a dyn Fn(&str) -> Option<Vec<f32>>;

/// [`Class::values`] of networks whose structure does not depend on values.
pub(crate) fn no_values(_: &mut Options, _: ValuesOf<'_>) {}

/// The names of the two entries that version 4 kept below each other in one: the gate and the values of SwiGLU.
pub(crate) fn halves(entry: &str) -> Option<[String; 2]> {
    let (module, leaf) = entry.split_once(".mlp.weights_in.")?;
    Some(["gate_proj", "up_proj"].map(|half| format!("{module}.mlp.{half}.{leaf}")))
}

/// The first rule whose second text a name contains, undone: rules say how version 4's names became version 5's.
pub(crate) fn undone(name: &str, rules: &[(&str, &str)]) -> String {
    let mut name = name.to_owned();
    for (old, new) in rules {
        if let Some(at) = name.find(new) {
            name.replace_range(at..at + new.len(), old);
        }
    }
    name
}
