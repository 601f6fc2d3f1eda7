//! `segmenta forward`: a tensor in, logits out.

use std::fs;

use anyhow::anyhow;
use segmenta::Failure;

use super::args::Forward;
use super::message::{explain_failure, note, reason, shown};
use super::{model, npy};

pub(crate) fn run(args: &Forward, quiet: bool) -> anyhow::Result<()> {
    let path = shown(&args.input).to_string();
    let bytes = fs::read(&args.input).map_err(|error| {
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
    let results = model.engine().forward(&input.data, input.shape);
    let results = results.map_err(|error| {
        let failure = Failure::new(args.input.clone(), error.into());
        anyhow!(explain_failure(&failure))
    })?;
    let result = &results[0];
    segmenta_image::write_atomic(&args.output, &npy::write(result))?;
    if !quiet {
        let (from, to) = (input.shape, result.shape);
        let output = shown(&args.output);
        note(&format!("{from} → {} {to} → {output}", args.name));
    }
    Ok(())
}
