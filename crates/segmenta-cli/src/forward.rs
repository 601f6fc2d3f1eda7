//! `segmenta forward`: a tensor in, logits out.

use anyhow::anyhow;

use segmenta::{Answer, Failure, PerQuery, npy};
use segmenta_runtime::{RuntimeError, check_input};

use super::args::Forward;
use super::message::{check_writable, explain_failure, note, reason, shown};
use super::model;

pub(crate) fn run(args: &Forward, quiet: bool) -> anyhow::Result<()> {
    check_writable(&args.output)?;
    let path = shown(&args.input).to_string();
    let bytes = segmenta_files::read(&args.input).map_err(|error| {
        let why = reason(&error);
        anyhow!("cannot read the tensor: {why} · {path} · check the path")
    })?;
    let input = npy::read(&bytes).map_err(|problem| {
        let (what, remedy) = problem.split_once(" · ").unwrap_or((&problem, "check it"));
        anyhow!("not a tensor for a network: {what} · {path} · {remedy}")
    })?;
    let mut options = model::options(&args.model)?;
    options.outputs = vec![args.name.clone()];
    let model = model::open(&options, quiet)?;
    let results = if args.allow_nan {
        model.engine().forward(&input.data, input.shape)
    } else {
        check_input(&input.data, input.shape)
            .and_then(|()| model.engine().forward_finite(&input.data, input.shape))
    };
    let results = results.map_err(|error| {
        let is_nan = is_not_finite(&error);
        let text = explain_failure(&Failure::new(args.input.clone(), error.into()));
        let remedy = if is_nan {
            "; --allow-nan writes them all the same"
        } else {
            ""
        };
        anyhow!("{text}{remedy}")
    })?;
    let result = &results[0];
    let bytes = match model.description().answer {
        // As transformers has them: picture, query, class.
        Answer::PerQuery(PerQuery::Classes) => npy::write_rows(result),
        _ => npy::write(result),
    };
    segmenta_image::write_atomic(&args.output, &bytes)?;
    if !quiet {
        let (from, to) = (input.shape, result.shape);
        let output = shown(&args.output);
        note(&format!("{from} → {} {to} → {output}", args.name));
    }
    Ok(())
}

fn is_not_finite(error: &RuntimeError) -> bool {
    matches!(
        error,
        RuntimeError::NotFinite { .. } | RuntimeError::InputNotFinite { .. }
    )
}
