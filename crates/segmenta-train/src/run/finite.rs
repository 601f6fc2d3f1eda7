//! Numbers that are none: found before they are kept, and told with the first layer that has them.

use segmenta_graph::{Graph, Shape};

use super::RunError;
use crate::engine::{Engine, EngineError, EngineOptions, Parameters, Phase};
use crate::optim::{Part, Parts};

/// Refuses parameters that are NaN or infinite. `place` is where they come from.
pub(super) fn check_parameters(
    parameters: &Parameters,
    place: &str,
    remedy: &'static str,
) -> Result<(), RunError> {
    let mut first: Option<(String, usize)> = None;
    let mut of = 0;
    for (at, entry) in parameters.entries().iter().enumerate() {
        let values = parameters.values(at)?;
        let count = values.iter().filter(|value| !value.is_finite()).count();
        if count > 0 {
            of += 1;
            first.get_or_insert_with(|| (entry.name.clone(), count));
        }
    }
    match first {
        None => Ok(()),
        Some((entry, count)) => Err(RunError::NotFiniteWeights {
            entry,
            count,
            of,
            place: place.into(),
            remedy,
        }),
    }
}

/// The layer that an engine names, in words.
pub(super) fn place_of(error: &EngineError) -> Option<String> {
    let EngineError::NotFinite { node, phase, .. } = error else {
        return None;
    };
    Some(match phase {
        Phase::Forward => format!("`{node}`"),
        Phase::Backward => format!("`{node}`, going backward"),
    })
}

/// The first layer whose values in evaluation are no numbers, for these pictures.
pub(super) fn first_in_evaluation(
    graph: &Graph,
    parameters: &Parameters,
    pictures: &[f32],
    shape: Shape,
) -> Option<String> {
    // With all of it frozen and nothing dropped, norms go by their running statistics, as in evaluation.
    let mut tops: Vec<&str> = parameters
        .entries()
        .iter()
        .filter_map(|entry| entry.name.split('.').next())
        .collect();
    tops.sort_unstable();
    tops.dedup();
    let frozen = |prefix: &str| Part {
        frozen: true,
        ..Part::new(prefix)
    };
    let options = EngineOptions {
        parts: Parts {
            parts: tops.into_iter().map(frozen).collect(),
            ..Parts::default()
        },
        drops: false,
        debug_numerics: true,
        outputs: vec![graph.outputs()[0].name.clone()],
        ..EngineOptions::default()
    };
    let mut engine = Engine::new(graph.clone(), parameters.clone(), options).ok()?;
    let error = engine.forward(pictures.to_vec(), shape).err()?;
    place_of(&error)
}
