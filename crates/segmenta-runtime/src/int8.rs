//! What 8-bit numbers stand for in a network: the range of every value, as calibration found it.
//!
//! A value is stored as `scale · (number − zero point)` with numbers from 0 to 255, so that its range, 0 included, is
//! spread over all of them (Jacob et al. 2018, arXiv:1712.05877). Weights have a scale an output channel and no zero
//! point ([`quantise_weights`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use segmenta_graph::Graph;
use segmenta_kernels::low::Quantisation;

/// How the values of a network are stored in 8 bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Int8 {
    /// The smallest and the largest number that each value is stored up to, by the value's name ([`value_names`]).
    /// A value without a range stays in f32; the network's input has one like all others.
    pub ranges: BTreeMap<String, [f32; 2]>,
    /// Layers, by their node's name, that are computed in f32 all the same.
    pub full: BTreeSet<String>,
}

/// The largest number that a weight is stored as. −128 has no opposite.
pub const MOST: f32 = 127.0;

/// The name of each node's value: the node's, with a number where several nodes have it.
pub fn value_names(graph: &Graph) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let names = graph.nodes().iter().map(|node| {
        let count = seen.entry(&node.name).or_default();
        *count += 1;
        match *count {
            1 => node.name.clone(),
            n => format!("{}#{n}", node.name),
        }
    });
    names.collect()
}

/// What spreads a range over the numbers of 8 bits. 0 is one of them, so that padding is exact.
pub fn quantisation([low, high]: [f32; 2]) -> Quantisation {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let scale = (high - low) / 255.0;
    if !scale.is_normal() {
        // A value that is always 0.
        return Quantisation {
            scale: 1.0,
            zero_point: 0,
        };
    }
    Quantisation {
        scale,
        zero_point: (-low / scale).round_ties_even().clamp(0.0, 255.0) as i32,
    }
}

/// Weights as numbers of 8 bits, and the scale of each of `channels` output channels: its largest weight is
/// [`MOST`] or −[`MOST`]. A channel of zeros has a scale of 1.
///
/// Weights that came from such numbers become the same numbers again, whatever their channels were multiplied with.
pub fn quantise_weights(weights: &[f32], channels: usize) -> (Vec<i8>, Vec<f32>) {
    let of_a_channel = (weights.len() / channels.max(1)).max(1);
    let each = weights.chunks_exact(of_a_channel);
    let scales: Vec<f32> = each
        .clone()
        .map(|channel| {
            let most = channel.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
            let scale = most / MOST;
            if scale.is_normal() { scale } else { 1.0 }
        })
        .collect();
    let numbers = each.zip(&scales).flat_map(|(channel, &scale)| {
        let number = move |&w: &f32| (w / scale).round_ties_even().clamp(-MOST, MOST) as i8;
        channel.iter().map(number)
    });
    (numbers.collect(), scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_a_number_of_every_range() {
        for range in [[0.0, 6.0], [-1.0, 3.0], [2.0, 5.0], [-7.0, -1.0]] {
            let Quantisation { scale, zero_point } = quantisation(range);
            let real = |number: i32| scale * (number - zero_point) as f32;
            assert!((0..=255).contains(&zero_point), "{range:?}");
            let [low, high] = [range[0].min(0.0), range[1].max(0.0)];
            assert!((real(0) - low).abs() <= scale && (real(255) - high).abs() <= scale);
        }
        let nothing = quantisation([0.0, 0.0]);
        assert_eq!((nothing.scale, nothing.zero_point), (1.0, 0));
    }

    #[test]
    fn numbers_come_back_from_their_weights_times_anything() {
        let weights: Vec<f32> = (0..96_u32)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013)
            .collect();
        let (numbers, scales) = quantise_weights(&weights, 4);
        for factor in [1.0, 0.37, 123.4] {
            let back = numbers.chunks_exact(24).zip(&scales);
            let back: Vec<f32> = back
                .flat_map(|(n, s)| n.iter().map(move |&n| f32::from(n) * s * factor))
                .collect();
            assert_eq!(quantise_weights(&back, 4).0, numbers, "times {factor}");
        }
        assert!(
            numbers
                .chunks_exact(24)
                .all(|c| c.iter().any(|n| n.abs() == 127))
        );
    }
}
