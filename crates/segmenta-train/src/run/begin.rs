//! The weights that a run begins with.

use std::path::Path;

use segmenta_graph::Graph;
use segmenta_weights::StateDict;

use super::RunError;
use crate::engine::Parameters;

/// What was taken from a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Entries of the network that the file gave.
    pub taken: usize,
    /// Entries that it does not have; counters of steps are not counted.
    pub missing: Vec<String>,
    /// Entries that it has in another shape.
    pub misshapen: Vec<String>,
    /// What became of the classes' own weights where the file's classes stand in another order, or are called
    /// otherwise.
    pub classes: Option<String>,
}

impl Taken {
    /// In a sentence.
    pub fn summary(&self, file: &Path) -> String {
        let begin = |names: &[String], what: &str| match names {
            [] => String::new(),
            [one] => format!(" · `{one}` {what}: begins fresh"),
            [first, ..] => format!(
                " · {} entries {what} (`{first}`, …): begin fresh",
                names.len()
            ),
        };
        format!(
            "{} entries from {}{}{}{}",
            self.taken,
            file.display(),
            begin(&self.misshapen, "have another shape there"),
            begin(&self.missing, "are not there"),
            self.classes
                .iter()
                .fold(String::new(), |_, said| format!(" · {said}")),
        )
    }
}

/// Fills the entries under `prefix` from a file, whose names may have the prefix or not. Kernels for another number
/// of input channels are made from those of three as segmentation_models_pytorch makes them: repeated, and scaled by
/// 3 / channels; one channel takes the sum.
///
/// # Errors
/// A file that cannot be read, or from which nothing fits.
pub(super) fn take(
    parameters: &mut Parameters,
    graph: &Graph,
    file: &Path,
    prefix: &str,
) -> Result<Taken, RunError> {
    let dict = StateDict::open(file)?;
    let has_prefix = prefix.is_empty() || dict.names().any(|name| name.starts_with(prefix));
    let mut found = Taken::default();
    for (at, entry) in graph.parameters().iter().enumerate() {
        let Some(rest) = entry.name.strip_prefix(prefix) else {
            continue;
        };
        let name = if has_prefix { &*entry.name } else { rest };
        let Some(info) = dict.get(name) else {
            if entry.is_trainable() || !entry.shape.is_empty() {
                found.missing.push(entry.name.clone());
            }
            continue;
        };
        if info.shape == entry.shape {
            parameters.set(at, dict.read_f32(name)?);
            found.taken += 1;
        } else if let Some(values) = other_channels(&dict, name, &info.shape, &entry.shape)? {
            parameters.set(at, values);
            found.taken += 1;
        } else {
            found.misshapen.push(entry.name.clone());
        }
    }
    if found.taken == 0 {
        return Err(RunError::Checkpoint {
            problem: "nothing in it fits the network".into(),
            path: file.display().to_string(),
            remedy: "look at it with `segmenta weights`, and name the network that it is of (model.arch, model.encoder)",
        });
    }
    Ok(found)
}

/// A first kernel `[out, 3, h, w]` for another number of channels.
fn other_channels(
    dict: &StateDict,
    name: &str,
    from: &[usize],
    to: &[usize],
) -> Result<Option<Vec<f32>>, RunError> {
    let ([out, 3, h, w], [out_to, channels, h_to, w_to]) = (from, to) else {
        return Ok(None);
    };
    if (out, h, w) != (out_to, h_to, w_to) {
        return Ok(None);
    }
    let values = dict.read_f32(name)?;
    let (taps, channels) = (h * w, *channels);
    let mut made = Vec::with_capacity(out * channels * taps);
    for kernel in values.chunks_exact(3 * taps) {
        for channel in 0..channels {
            for tap in 0..taps {
                made.push(if channels == 1 {
                    (0..3).map(|c| kernel[c * taps + tap]).sum()
                } else {
                    kernel[channel % 3 * taps + tap] * 3.0 / channels as f32
                });
            }
        }
    }
    Ok(Some(made))
}
