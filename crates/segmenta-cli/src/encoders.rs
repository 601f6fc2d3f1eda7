//! `segmenta models encoders`: what SMP's networks can stand on, and the weights that it can begin with.

use segmenta::EncoderFile;
use segmenta::hub_files::{EncoderWeights, WeightsSource, is_non_commercial, weights_of_encoder};
use segmenta_graph::Scope;
use segmenta_zoo::{encoders, find_encoder};
use serde_json::{Value, json};

use super::message::{FAINT, result};
use super::table::{Table, grouped};

/// All encoders, or the weights of one.
pub(crate) fn list(name: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    match name {
        Some(name) => weights(find_encoder(name)?.name, as_json),
        None => all(as_json),
    }
}

fn all(as_json: bool) -> anyhow::Result<()> {
    const STRIDES: [usize; 5] = [2, 4, 8, 16, 32];
    let mut rows = Vec::new();
    let strides = STRIDES.map(|stride| format!(">at {stride}"));
    let mut headings = vec!["name", ">parameters"];
    headings.extend(strides.iter().map(String::as_str));
    headings.extend(["weights", "family"]);
    let mut table = Table::new(&headings);
    for encoder in encoders() {
        let (stages, family) = (encoder.stages()?, encoder.family());
        let parameters = encoder.parameters(&Scope::root(), 3)?;
        let trainable = parameters.iter().filter(|p| p.is_trainable());
        let count: usize = trainable.map(segmenta_graph::Parameter::len).sum();
        let described = stages
            .iter()
            .map(|s| json!({"channels": s.channels, "stride": s.stride}));
        rows.push(json!({
            "name": encoder.name, "family": family.name, "dilates": family.dilates(), "parameters": count,
            "stages": described.collect::<Vec<_>>(),
            "weights": weights_of_encoder(encoder.name).map(facts).collect::<Vec<_>>(),
        }));
        let mut cells = vec![encoder.name.to_string(), grouped(count as u64)];
        cells.extend(STRIDES.map(|stride| {
            let stage = stages.iter().find(|stage| stage.stride == stride);
            stage.map_or_else(|| "–".into(), |stage| stage.channels.to_string())
        }));
        let names: Vec<&str> = weights_of_encoder(encoder.name)
            .map(|row| row.name.as_str())
            .collect();
        cells.push(names.join(", "));
        cells.push(family.name.into());
        table.row(cells);
    }
    if as_json {
        return result(&serde_json::to_string_pretty(&rows)?);
    }
    result(&format!(
        "{}\n{FAINT}Channels at each stride. Parameters: three channels in. Weights: what model.encoder_weights may \
         say; a new\nnetwork begins with imagenet.{FAINT:#}\n\n\
         segmenta models encoders NAME  where its weights are, and their licences\n\
         segmenta models pull NAME      downloads them\n",
        table.render()
    ))
}

/// The weights of an encoder: where they are, what is known of them.
fn weights(encoder: &str, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let rows: Vec<Value> = weights_of_encoder(encoder).map(facts).collect();
        return result(&serde_json::to_string_pretty(&rows)?);
    }
    let mut table = Table::new(&["weights", "from", ">MiB", "here", "licence"]);
    for row in weights_of_encoder(encoder) {
        let place = match &row.source {
            WeightsSource::Repository(name) => name.id().to_owned(),
            WeightsSource::Url(url) => url.clone(),
        };
        let licence = row.licence.clone().unwrap_or_default();
        let kept = if is_non_commercial(&licence) {
            " · NOT FOR COMMERCIAL USE"
        } else {
            ""
        };
        let here = if EncoderFile::cached(row).is_some() {
            "yes"
        } else {
            "no"
        };
        table.row([
            row.name.clone(),
            place,
            row.mebibytes
                .map_or_else(String::new, |size| format!("{size:.0}")),
            here.into(),
            format!("{licence}{kept}"),
        ]);
    }
    result(&format!(
        "{}\n{FAINT}OWNER/NAME is a repository of the Hugging Face hub. Empty: not known here. here: downloaded.{FAINT:#}\n\n\
         segmenta models pull {encoder} --weights NAME\n\
         segmenta train RECIPE --set model.encoder={encoder} --set model.encoder_weights=NAME\n",
        table.render()
    ))
}

fn facts(row: &'static EncoderWeights) -> Value {
    let (repository, revision, url) = match &row.source {
        WeightsSource::Repository(name) => (Some(name.id()), Some(name.revision()), None),
        WeightsSource::Url(url) => (None, None, Some(url)),
    };
    json!({
        "name": row.name, "repository": repository, "revision": revision, "url": url, "mebibytes": row.mebibytes,
        "licence": row.licence, "path": EncoderFile::cached(row),
    })
}
