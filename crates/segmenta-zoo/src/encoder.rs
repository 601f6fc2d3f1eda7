//! Encoders by name: what any decoder can stand on.

use segmenta_graph::{Builder, Node, Parameter, Role, Scope, Shape};

use crate::registry::{ZooError, nearest};
use crate::{efficientnet, mobilenet_v2, resnet};

/// One row of the table of encoders.
#[derive(Debug)]
pub struct Encoder {
    /// Name, as SMP has it.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    build: fn(&mut Builder, &Scope, Node) -> [Node; 5],
}

/// What an encoder gives at one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Channels.
    pub channels: usize,
    /// Pixels of the input for each pixel of the map.
    pub stride: usize,
}

impl PartialEq for Encoder {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Encoder {
    /// Builds it under `name` on `x`: the maps of its five stages, from the largest to the smallest.
    pub(crate) fn build(&self, g: &mut Builder, name: &Scope, x: Node) -> [Node; 5] {
        (self.build)(g, name, x)
    }

    /// Its five stages.
    ///
    /// # Errors
    /// A mistake in the encoder's own description.
    pub fn stages(&self) -> Result<[Stage; 5], ZooError> {
        const SIDE: usize = 64;
        let (mut g, input) = Builder::new(3);
        let maps = self.build(&mut g, &Scope::root(), input);
        let graph = g.finish()?;
        let shapes = graph.shapes(Shape::new(1, 3, SIDE, SIDE))?;
        Ok(maps.map(|map| {
            let shape = shapes[map.index()];
            Stage {
                channels: shape.channels,
                stride: SIDE / shape.height,
            }
        }))
    }

    /// Its state-dict entries under `name`, for an input of `in_channels`.
    ///
    /// # Errors
    /// As [`Encoder::stages`].
    pub fn parameters(&self, name: &Scope, in_channels: usize) -> Result<Vec<Parameter>, ZooError> {
        let (mut g, input) = Builder::new(in_channels);
        self.build(&mut g, name, input);
        Ok(g.finish()?.parameters().to_vec())
    }
}

static ENCODERS: [Encoder; 6] = [
    Encoder {
        name: "resnet18",
        description: "ResNet-18",
        build: |g, name, x| resnet::encode(g, name, x, resnet::RESNET18),
    },
    Encoder {
        name: "resnet34",
        description: "ResNet-34",
        build: |g, name, x| resnet::encode(g, name, x, resnet::RESNET34),
    },
    Encoder {
        name: "resnet50",
        description: "ResNet-50",
        build: |g, name, x| resnet::encode(g, name, x, resnet::RESNET50),
    },
    Encoder {
        name: "mobilenet_v2",
        description: "MobileNetV2",
        build: mobilenet_v2::encode,
    },
    Encoder {
        name: "efficientnet-b0",
        description: "EfficientNet-B0",
        build: |g, name, x| efficientnet::encode(g, name, x, efficientnet::B0),
    },
    Encoder {
        name: "efficientnet-b3",
        description: "EfficientNet-B3",
        build: |g, name, x| efficientnet::encode(g, name, x, efficientnet::B3),
    },
];

/// All encoders, in the order in which they are listed to people.
pub fn encoders() -> &'static [Encoder] {
    &ENCODERS
}

/// The encoder of that name.
///
/// # Errors
/// [`ZooError::UnknownEncoder`], with the nearest name.
pub fn find_encoder(name: &str) -> Result<&'static Encoder, ZooError> {
    let found = ENCODERS.iter().find(|e| e.name == name);
    found.ok_or_else(|| ZooError::UnknownEncoder {
        name: name.into(),
        nearest: nearest(name, ENCODERS.iter().map(|e| e.name)),
    })
}

/// The encoder whose entries a state dict has under `name`, whatever the channels of its input.
pub(crate) fn recognise(
    name: &Scope,
    shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
) -> Option<&'static Encoder> {
    let is_there = |parameter: &Parameter, first: bool| match shape_of(&parameter.name) {
        Some(shape) if first => shape.first() == parameter.shape.first(),
        Some(shape) => shape == parameter.shape,
        // What inference never reads, old files lack.
        None => parameter.role == Role::Counter,
    };
    let entries = |encoder: &'static Encoder| {
        let parameters = encoder.parameters(name, 3).ok()?;
        let mut entries = parameters.iter().enumerate();
        let fits = entries.all(|(index, parameter)| is_there(parameter, index == 0));
        fits.then_some((parameters.len(), encoder))
    };
    // A shallower encoder's entries may all be there too.
    let fitting = ENCODERS.iter().filter_map(entries);
    fitting
        .max_by_key(|(len, _)| *len)
        .map(|(_, encoder)| encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels as SMP's tables have them.
    #[test]
    fn stages_halve_and_have_the_channels_of_the_papers() {
        let channels = |name: &str| {
            let stages = find_encoder(name).unwrap().stages().unwrap();
            assert_eq!(stages.map(|s| s.stride), [2, 4, 8, 16, 32], "{name}");
            stages.map(|s| s.channels)
        };
        assert_eq!(channels("resnet18"), [64, 64, 128, 256, 512]);
        assert_eq!(channels("resnet34"), [64, 64, 128, 256, 512]);
        assert_eq!(channels("resnet50"), [64, 256, 512, 1024, 2048]);
        assert_eq!(channels("mobilenet_v2"), [16, 24, 32, 96, 1280]);
        assert_eq!(channels("efficientnet-b0"), [32, 24, 40, 112, 320]);
        assert_eq!(channels("efficientnet-b3"), [40, 32, 48, 136, 384]);
        assert_eq!(encoders().len(), 6);
    }

    #[test]
    fn an_encoder_is_known_by_its_entries() {
        for encoder in encoders() {
            let name = &Scope::root() / "encoder";
            let grey = encoder.parameters(&name, 1).unwrap();
            let shape_of = |entry: &str| {
                let found = grey.iter().find(|p| p.name == entry);
                found.map(|p| p.shape.clone())
            };
            assert_eq!(recognise(&name, &shape_of), Some(encoder));
        }
        assert_eq!(recognise(&Scope::root(), &|_| None), None);
    }
}
