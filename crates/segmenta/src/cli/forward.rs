//! `segmenta forward`: a tensor in, logits out.

use std::fs;

use anyhow::Context;

use super::args::Forward;
use super::message::{note, shown};
use super::{model, npy};

pub(crate) fn run(args: &Forward, quiet: bool) -> anyhow::Result<()> {
    let path = shown(&args.input).to_string();
    let bytes =
        fs::read(&args.input).with_context(|| format!("cannot read the tensor · {path}"))?;
    let input = npy::read(&bytes).map_err(|problem| {
        let (what, remedy) = problem.split_once(" · ").unwrap_or((&problem, "check it"));
        anyhow::anyhow!("not a tensor for a network: {what} · {path} · {remedy}")
    })?;
    let mut options = model::options(&args.model)?;
    options.outputs = vec![args.name.clone()];
    let model = model::open(&options, quiet)?;
    let results = model
        .engine()
        .forward(&input.data, input.shape)
        .map_err(segmenta::Error::from)?;
    let result = &results[0];
    segmenta_image::write_atomic(&args.output, &npy::write(result))?;
    if !quiet {
        let (from, to) = (input.shape, result.shape);
        note(&format!(
            "{from} → {} {to} → {}",
            args.name,
            shown(&args.output)
        ));
    }
    Ok(())
}
