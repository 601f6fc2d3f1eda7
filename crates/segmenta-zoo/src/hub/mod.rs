//! Networks of the Hugging Face hub, a class of transformers a file. Each is built by the fields of a `config.json`
//! ([`Config`](crate::Config)) and has transformers 5's names in its state dict; version 4's, which nearly all files
//! on the hub have, are its former ones.

mod backbone;
pub(crate) mod beit;
pub(crate) mod dpt;
pub(crate) mod mobilenet_v2;
pub(crate) mod mobilevit;
pub(crate) mod mobilevit_v2;
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
