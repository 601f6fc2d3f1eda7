//! What a state dict says of the options with which its network was built.

use std::sync::LazyLock;

use segmenta_graph::Parameter;

use super::{Architecture, Build, architectures};
use crate::options::Options;
use crate::smp::{self as decoders, ShapeOf};

impl Architecture {
    /// The options that a network with this state dict was built with, as far as its entries say:
    /// classes, channels of the input, heads, encoder and decoder. `shape_of` gives an entry's shape; entries are
    /// asked for under their former names too.
    pub fn options_of(&self, shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) -> Options {
        let shape_of = |name: &str| {
            let former = || shape_of(&self.former_name(name)?);
            shape_of(name).or_else(former)
        };
        let extent = |name: &str, axis: usize| shape_of(name)?.get(axis).copied();
        let rows = extent(self.classes_entry, 0);
        let classes = rows.and_then(|rows| rows.checked_sub(self.beside_classes));
        let mut options = Options::new(classes.unwrap_or(1));
        options.aux = self.has_aux && extent("aux_classifier.0.weight", 0).is_some();
        match self.build {
            Build::Whole(_) => {}
            Build::On(decoder) => decoders::read_options(decoder, &mut options, &shape_of),
            Build::By(class) => (class.read)(&mut options, &shape_of),
        }
        // The first layer, be it a convolution or a norm, says how many channels come in.
        if let Ok(graph) = self.build(&options)
            && let Some(first) = graph.input_parameters().first()
            && let Some(shape) = shape_of(first)
            && let Some(&channels) = shape.get(usize::from(shape.len() > 1))
        {
            options.in_channels = channels;
        }
        self.fitted(options, &shape_of)
    }

    /// The options, or what differs from them in what no single entry says (how many stages a decoder reads, a
    /// width), where more entries then have their shape.
    fn fitted(&self, options: Options, shape_of: ShapeOf<'_>) -> Options {
        const WIDTHS: [f64; 5] = [0.35, 0.5, 0.75, 1.3, 1.4];
        let fitting = |options: &Options| {
            let graph = self.build(options).ok()?;
            let fits = |p: &&Parameter| shape_of(&p.name).is_some_and(|shape| shape == p.shape);
            let fitting = graph.parameters().iter().filter(fits).count();
            Some((fitting, graph.parameters().len()))
        };
        let first = fitting(&options);
        if first.is_some_and(|(fitting, all)| fitting == all) {
            return options;
        }
        let mut others = Vec::new();
        if let Build::On(decoder) = self.build {
            others.extend(decoder.depths.clone().map(|depth| {
                let mut other = options.clone();
                other.settings.encoder_depth = Some(depth);
                other
            }));
        }
        if self.has_width {
            others.extend(WIDTHS.map(|width| Options {
                width,
                ..options.clone()
            }));
        }
        let (mut best, mut most) = (options, first.map_or(0, |(fitting, _)| fitting));
        for other in others {
            let (count, _) = fitting(&other).unwrap_or_default();
            if count > most {
                (best, most) = (other, count);
            }
        }
        best
    }
}

/// By architecture, in the order of the registry: see [`Architecture::own_names`].
static OWN_NAMES: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let names = |architecture: &Architecture| {
        let Ok(graph) = architecture.build(&Options::new(1)) else {
            return Vec::new();
        };
        let entries = graph.parameters().iter();
        let own = entries.filter(|p| !architecture.has_encoder || !p.name.starts_with("encoder."));
        own.flat_map(|p| [Some(p.name.clone()), architecture.former_name(&p.name)])
            .flatten()
            .collect()
    };
    architectures().iter().map(names).collect()
});

impl Architecture {
    /// Names by which its state dicts are told: of all entries, but those of an encoder that can be another's, with
    /// their former names.
    pub fn own_names(&self) -> &'static [String] {
        let at = architectures().iter().position(|a| a.name == self.name);
        at.map_or(&[], |at| &OWN_NAMES[at])
    }
}
