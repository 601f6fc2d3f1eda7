//! What was seen of every value of a network.

use std::collections::BTreeMap;

use rayon::prelude::*;
use segmenta_graph::{Graph, Node, Op, Shape};
use segmenta_runtime::value_names;

use crate::histogram::{Histogram, RangeBy};

/// So many numbers of a map are counted into its histogram; extremes and means are of all.
const COUNTED: usize = 1 << 16;

/// What was seen of one value.
#[derive(Clone, Debug)]
pub struct Observed {
    histogram: Histogram,
    /// Sums and the smallest and largest numbers of each channel.
    sums: Vec<f64>,
    squares: Vec<f64>,
    extremes: Vec<[f32; 2]>,
    /// Numbers of a channel.
    count: u64,
}

/// What was seen of all values of a network, picture after picture.
#[derive(Debug)]
pub struct Observations {
    of: Vec<Option<Observed>>,
    names: Vec<String>,
}

impl Observations {
    /// Of a network of which nothing was seen yet.
    pub fn new(graph: &Graph) -> Self {
        let names = value_names(graph);
        Self {
            of: vec![None; names.len()],
            names,
        }
    }

    /// Takes in what a step wrote of a node's value: N×C×H×W. Numbers must be finite.
    pub fn add(&mut self, node: Node, shape: Shape, values: &[f32]) {
        let known = &mut self.of[node.index()];
        let observed = known.get_or_insert_with(|| Observed::new(shape.channels));
        observed.add(shape, values);
    }

    /// What was seen of a node's value; `None` where it is no map of its own.
    pub fn of(&self, node: Node) -> Option<&Observed> {
        self.of[node.index()].as_ref()
    }

    /// The range of each value that was seen, by its name.
    pub fn ranges(&self, by: RangeBy) -> BTreeMap<String, [f32; 2]> {
        let seen = self.names.par_iter().zip(&self.of);
        let seen = seen.filter_map(|(name, observed)| {
            Some((name.clone(), observed.as_ref()?.histogram.range(by)))
        });
        seen.collect()
    }

    /// The mean of each channel of a node's value, also where it is made of others' channels.
    pub fn means(&self, graph: &Graph, node: Node) -> Option<Vec<f32>> {
        let data = graph.node(node);
        if let Some(observed) = self.of(node) {
            return Some(observed.means());
        }
        match data.op {
            Op::Concat => {
                let parts = data.inputs.iter().map(|&input| self.means(graph, input));
                Some(parts.collect::<Option<Vec<_>>>()?.concat())
            }
            Op::Slice { first, .. } => {
                let whole = self.means(graph, data.inputs[0])?;
                Some(whole[first..][..data.channels].to_vec())
            }
            // What is fused away or does nothing in inference has the value of its input.
            ref op if op.is_training_only() => self.means(graph, data.inputs[0]),
            _ => None,
        }
    }
}

impl Observed {
    fn new(channels: usize) -> Self {
        Self {
            histogram: Histogram::new(),
            sums: vec![0.0; channels],
            squares: vec![0.0; channels],
            extremes: vec![[0.0; 2]; channels],
            count: 0,
        }
    }

    fn add(&mut self, shape: Shape, values: &[f32]) {
        let plane = shape.height * shape.width;
        if plane == 0 {
            return;
        }
        for (index, numbers) in values.chunks_exact(plane).enumerate() {
            let channel = index % shape.channels;
            let (mut sum, mut square, mut low, mut high) = (0.0, 0.0, 0.0_f32, 0.0_f32);
            for &x in numbers {
                sum += f64::from(x);
                square += f64::from(x) * f64::from(x);
                low = low.min(x);
                high = high.max(x);
            }
            self.sums[channel] += sum;
            self.squares[channel] += square;
            let [least, most] = self.extremes[channel];
            self.extremes[channel] = [least.min(low), most.max(high)];
            self.histogram.reach([low, high]);
        }
        self.count += (shape.batch * plane) as u64;
        // An odd step walks over all columns and channels of maps whose sides are even.
        let step = (values.len() / COUNTED) | 1;
        self.histogram.add(values.iter().step_by(step).copied());
    }

    /// The mean of each channel.
    pub fn means(&self) -> Vec<f32> {
        let count = self.count.max(1) as f64;
        self.sums.iter().map(|sum| (sum / count) as f32).collect()
    }

    /// Mean and variance of all numbers.
    pub fn moments(&self) -> [f64; 2] {
        let count = (self.count * self.sums.len() as u64).max(1) as f64;
        let mean = self.sums.iter().sum::<f64>() / count;
        [mean, self.squares.iter().sum::<f64>() / count - mean * mean]
    }

    /// The smallest and the largest number, 0 among them.
    pub fn extremes(&self) -> [f32; 2] {
        self.histogram.extremes()
    }

    /// The same of each channel.
    pub fn channel_extremes(&self) -> &[[f32; 2]] {
        &self.extremes
    }
}
