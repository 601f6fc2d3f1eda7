//! What a network's result says: read off the graph, so that it holds for any network, a custom one too.

use segmenta_graph::{Activation, Graph, GraphError, Node, Op, Shape};

/// What one result of a network is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Every pixel of a map has a number for each class.
    PerPixel(PerPixel),
    /// Every query has its numbers, which say nothing without the others that it has; the network's main result brings
    /// both together.
    PerQuery(PerQuery),
    /// The whole picture has one row of numbers: SMP's `label`. It is no map, and makes no mask.
    PerImage,
}

/// What a query has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerQuery {
    /// A row of logits of its class, of which the last says that it has none: 1 × queries × 1 × (classes + 1).
    Classes,
    /// A map of logits of its mask: 1 × queries × rows × columns.
    Masks,
}

/// Numbers for each class at each pixel of a map, which shows the whole input whatever its size.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerPixel {
    /// What the numbers are.
    pub values: Values,
    /// How many there are for a pixel, 1 to 256. One tells a class from the background.
    pub classes: usize,
    /// The input's pixels to one of the map, down and across: 1 where it is as large, 4 where it is a quarter.
    /// Of a side that it does not divide the map has a pixel for the rest. 1, too, of a map of one size, whatever the input's.
    pub stride: [f64; 2],
    /// With one class, the probability above which a pixel is of it, between 0 and 1.
    pub threshold: f32,
}

/// What the numbers of a result are. All grow with the logits, so that the largest names the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Any number; a softmax over the classes, or of one class a sigmoid, makes probabilities of them.
    Logits,
    /// 0 to 1.
    Probabilities,
    /// Logarithms of probabilities, of classes that exclude each other if there are several.
    LogProbabilities,
    /// Hyperbolic tangents of logits, −1 to 1.
    Tangents,
    /// Sums over queries of the probability of a class times that of the query's mask, from 0 on. Of all classes at a
    /// pixel, each has its share as its probability.
    Scores,
}

impl Values {
    /// The value that stands for a probability between 0 and 1, where a class is judged by itself.
    fn of_probability(self, probability: f32) -> f32 {
        // In f64, so that ½ is exactly 0 in logits and thresholds are not moved by rounding twice.
        let p = f64::from(probability);
        let logit = (p / (1.0 - p)).ln();
        let value = match self {
            Self::Logits => logit,
            Self::Probabilities | Self::Scores => p,
            Self::LogProbabilities => p.ln(),
            Self::Tangents => logit.tanh(),
        };
        value as f32
    }
}

/// A threshold that is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ThresholdError {
    /// Not between 0 and 1.
    #[error("a threshold of {0} · it is a probability · take one between 0 and 1, such as 0.5")]
    Range(f32),
    /// A network of several classes gives a pixel the one that is most likely.
    #[error(
        "a threshold for a network of {0} classes · it gives each pixel the most likely one, whatever its probability · leave the threshold out"
    )]
    Classes(usize),
}

impl PerPixel {
    /// A probability of ½.
    pub const THRESHOLD: f32 = 0.5;

    /// Of a map as large as the input.
    pub fn new(values: Values, classes: usize) -> Self {
        Self {
            values,
            classes,
            stride: [1.0; 2],
            threshold: Self::THRESHOLD,
        }
    }

    /// With another threshold.
    ///
    /// # Errors
    /// One that is not between 0 and 1, or more than one class.
    pub fn with_threshold(self, threshold: f32) -> Result<Self, ThresholdError> {
        if self.classes > 1 {
            return Err(ThresholdError::Classes(self.classes));
        }
        if !(threshold > 0.0 && threshold < 1.0) {
            return Err(ThresholdError::Range(threshold));
        }
        Ok(Self { threshold, ..self })
    }

    /// Whether one class is told from the background.
    pub fn is_binary(&self) -> bool {
        self.classes == 1
    }

    /// The threshold among the result's own values: 0 for logits and a probability of ½.
    pub fn threshold_value(&self) -> f32 {
        self.values.of_probability(self.threshold)
    }
}

impl Answer {
    /// Of a named result.
    ///
    /// # Errors
    /// [`GraphError::NoOutput`] lists the results there are.
    pub fn of(graph: &Graph, output: &str) -> Result<Self, GraphError> {
        Ok(Self::of_node(graph, graph.output(output)?))
    }

    /// Of the main result.
    pub fn of_main(graph: &Graph) -> Self {
        Self::of_node(graph, graph.outputs()[0].node)
    }

    fn of_node(graph: &Graph, node: Node) -> Self {
        if graph.is_one_pixel(node) {
            return Self::PerImage;
        }
        if let Some(queries) = of_queries(graph, node) {
            return Self::PerQuery(queries);
        }
        Self::PerPixel(PerPixel {
            stride: stride(graph, node),
            ..PerPixel::new(values(graph, node), graph.node(node).channels)
        })
    }

    /// The numbers for each pixel, if that is what it is.
    pub fn per_pixel(&self) -> Option<&PerPixel> {
        match self {
            Self::PerPixel(answer) => Some(answer),
            Self::PerImage | Self::PerQuery(_) => None,
        }
    }
}

/// What a result with a channel for each query is: a product of a map and what queries became, or a row of them with
/// queries as its channels. Scores of classes are a product, too, of masks as probabilities.
fn of_queries(graph: &Graph, node: Node) -> Option<PerQuery> {
    let data = graph.node(node);
    match data.op {
        Op::Transpose => Some(PerQuery::Classes),
        Op::Product => {
            let masks = graph.node(data.inputs[0]).op;
            (masks != Op::Activation(Activation::Sigmoid)).then_some(PerQuery::Masks)
        }
        _ => None,
    }
}

/// What the last node that makes numbers makes; those after it only move them.
fn values(graph: &Graph, mut node: Node) -> Values {
    loop {
        let data = graph.node(node);
        match data.op {
            Op::ResizeLike { .. }
            | Op::ResizeTo { .. }
            | Op::Upsample { .. }
            | Op::FitLike { .. }
            | Op::PadToEven => {
                node = data.inputs[0];
            }
            Op::Product => return Values::Scores,
            op if op.is_training_only() => node = data.inputs[0],
            Op::Activation(Activation::Sigmoid) => return Values::Probabilities,
            Op::Activation(Activation::Tanh) => return Values::Tangents,
            Op::Softmax { parts, log } if parts == data.channels => {
                return if log {
                    Values::LogProbabilities
                } else {
                    Values::Probabilities
                };
            }
            _ => return Values::Logits,
        }
    }
}

fn stride(graph: &Graph, node: Node) -> [f64; 2] {
    // Large beside every stride, and all of them divide it.
    const SIDE: usize = 1 << 14;
    // No input's pixels have to do with one of a map that is always as large.
    if graph.has_fixed_size(node) {
        return [1.0; 2];
    }
    let input = Shape::new(1, graph.in_channels(), SIDE, SIDE);
    let Ok(shapes) = graph.shapes(input) else {
        return [1.0; 2];
    };
    let map = shapes[node.index()];
    [map.height, map.width].map(|side| SIDE as f64 / side as f64)
}

#[cfg(test)]
mod tests {
    use segmenta_graph::{Builder, Filter, Scope};

    use super::*;
    use crate::{Options, find};

    fn answer(architecture: &str, classes: usize, settings: &[(&str, &str)]) -> PerPixel {
        let mut options = Options::new(classes);
        for (name, value) in settings {
            options.set(name, value).unwrap();
        }
        let graph = find(architecture).unwrap().build(&options).unwrap();
        *Answer::of_main(&graph).per_pixel().unwrap()
    }

    #[test]
    fn activations_of_smp_are_told_apart() {
        for (activation, values) in [
            ("identity", Values::Logits),
            ("sigmoid", Values::Probabilities),
            ("softmax", Values::Probabilities),
            ("softmax2d", Values::Probabilities),
            ("logsoftmax", Values::LogProbabilities),
            ("tanh", Values::Tangents),
        ] {
            for architecture in ["unet", "fpn", "dpt"] {
                let got = answer(architecture, 3, &[("activation", activation)]);
                assert_eq!(got, PerPixel::new(values, 3), "{architecture} {activation}");
            }
        }
    }

    #[test]
    fn strides_follow_the_graph() {
        let one = |stride: f64| PerPixel {
            stride: [stride; 2],
            ..PerPixel::new(Values::Logits, 1)
        };
        for (architecture, upsampling, stride) in [
            ("fpn", "1", 4.0),
            ("fpn", "2", 2.0),
            ("fpn", "8", 0.5),
            ("pan", "1", 4.0),
            ("pspnet", "1", 8.0),
            ("deeplabv3", "1", 8.0),
            ("segformer", "4", 1.0),
        ] {
            let got = answer(architecture, 1, &[("upsampling", upsampling)]);
            assert_eq!(got, one(stride), "{architecture} {upsampling}");
        }
        assert_eq!(answer("fcn8s_resnet34", 1, &[]), one(1.0));
        assert_eq!(answer("segnet", 1, &[]), one(1.0));
    }

    #[test]
    fn a_map_of_one_size_has_no_stride() {
        let (mut g, input) = Builder::new(3);
        let name = |leaf: &str| &Scope::root() / leaf;
        let fixed = g.resize_to(input, [40, 60], Filter::BILINEAR, &name("fixed"));
        g.output("out", fixed);
        let answer = Answer::of_main(&g.finish().unwrap());
        let same = PerPixel::new(Values::Logits, 3);
        assert_eq!(answer, Answer::PerPixel(same));
    }

    #[test]
    fn a_label_of_the_whole_picture_is_no_map() {
        let mut options = Options::new(2);
        options.set("aux_params", "{\"classes\": 4}").unwrap();
        let graph = find("unet").unwrap().build(&options).unwrap();
        assert_eq!(Answer::of(&graph, "label").unwrap(), Answer::PerImage);
        assert!(Answer::of(&graph, "lable").is_err());
        let aux = Options {
            aux: true,
            ..Options::new(21)
        };
        let graph = find("fcn_resnet50").unwrap().build(&aux).unwrap();
        let same = PerPixel::new(Values::Logits, 21);
        assert_eq!(Answer::of(&graph, "aux").unwrap(), Answer::PerPixel(same));
    }

    #[test]
    fn queries_are_told_from_scores() {
        let mut options = Options::new(3);
        for (name, value) in [("hidden_size", "32"), ("num_attention_heads", "2")] {
            options.set(name, value).unwrap();
        }
        let eomt = find("EomtForUniversalSegmentation").unwrap();
        let graph = eomt.build(&options).unwrap();
        let scores = PerPixel::new(Values::Scores, 3);
        assert_eq!(Answer::of_main(&graph), Answer::PerPixel(scores));
        for (result, queries) in [
            ("class_queries_logits", PerQuery::Classes),
            ("masks_queries_logits", PerQuery::Masks),
        ] {
            let answer = Answer::of(&graph, result).unwrap();
            assert_eq!(answer, Answer::PerQuery(queries), "{result}");
        }
    }

    #[test]
    fn thresholds_are_probabilities() {
        let one = |values| PerPixel::new(values, 1);
        assert_eq!(one(Values::Logits).threshold_value(), 0.0);
        assert_eq!(one(Values::Probabilities).threshold_value(), 0.5);
        assert_eq!(one(Values::Tangents).threshold_value(), 0.0);
        let third = |values| one(values).with_threshold(0.25).unwrap().threshold_value();
        assert!((third(Values::Logits) + 3_f32.ln()).abs() < 1e-6);
        assert!((third(Values::LogProbabilities) + 4_f32.ln()).abs() < 1e-6);
        assert!((third(Values::Tangents) + 0.8).abs() < 1e-6);
        for wrong in [0.0, 1.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(
                one(Values::Logits).with_threshold(wrong).is_err(),
                "{wrong}"
            );
        }
        let many = PerPixel::new(Values::Logits, 21).with_threshold(0.3);
        assert_eq!(many, Err(ThresholdError::Classes(21)));
    }
}
