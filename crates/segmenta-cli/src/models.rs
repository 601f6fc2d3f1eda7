//! `segmenta models`: what there is and what it costs.

use std::collections::BTreeSet;
use std::fmt::Write;

use segmenta::hub_files::{Recommended, is_non_commercial, recommended, search as search_names};
use segmenta::{Description, HubModel, Model, ModelOptions, published_file, save_pretrained};
use segmenta_graph::{Graph, Op};
use segmenta_weights::Hub;
use segmenta_zoo::{
    Architecture, Options, PublishedWeights, architectures, find, hub_classes, published,
};
use segmenta_zoo::{VOC_CLASSES, find_encoder, published_weights};
use serde_json::{Value, json};

use super::args::{Save, Show};
use super::message::{FAINT, STRONG, Usage, count, note, result, shown};
use super::progress::Download;
use super::table::{Table, grouped, mebibytes};

pub(crate) fn list(as_json: bool) -> anyhow::Result<()> {
    // Without a home there is nothing downloaded, which is no reason not to list.
    let hub = Hub::from_env().ok();
    let path = |row: &PublishedWeights| hub.as_ref()?.cached(&published_file(row));
    if as_json {
        let rows: anyhow::Result<Vec<Value>> = architectures()
            .iter()
            .map(|architecture| {
                let row = published(architecture.name);
                let weights = row.map(|row| {
                    json!({
                        "name": row.name, "file": row.file(), "url": row.url, "mebibytes": row.mebibytes,
                        "classes": row.classes, "miou": row.score.miou,
                        "pixel_accuracy": row.score.pixel_accuracy, "protocol": row.score.protocol,
                        "licence": row.licence, "path": path(row),
                    })
                });
                Ok(json!({
                    "name": architecture.name, "description": architecture.description,
                    "parameters": parameters(architecture)?, "aux": architecture.has_aux,
                    "takes_encoder": architecture.has_encoder,
                    "default_encoder": architecture.default_encoder(),
                    "settings": architecture.settings(),
                    "weights": weights,
                }))
            })
            .collect();
        return result(&serde_json::to_string_pretty(&rows?)?);
    }
    let mut table = Table::new(&["name", ">parameters", ">MiB", ">mIoU", "here", "what it is"]);
    for architecture in architectures() {
        let row = published(architecture.name);
        let cell = |text: fn(&PublishedWeights) -> String| row.map_or_else(|| "–".into(), text);
        let here = row.map_or("–", |row| if path(row).is_some() { "yes" } else { "no" });
        table.row([
            architecture.name.into(),
            grouped(parameters(architecture)? as u64),
            cell(|row| format!("{:.0}", row.mebibytes)),
            cell(|row| format!("{:.1}", row.score.miou)),
            here.into(),
            architecture.description.into(),
        ]);
    }
    let mut text = table.render();
    if let Some(row) = published_weights().first() {
        let (classes, protocol) = (row.classes.len(), row.score.protocol);
        let _ = write!(
            text,
            "\n{FAINT}Published weights have {classes} classes, Pascal VOC's. mIoU in percent, as published:\n\
             {protocol}. Parameters: {classes} classes, no auxiliary head; of SMP's networks on their default\n\
             encoder, which is resnet34, and a vision transformer for dpt.\n\
             here: downloaded. –: bring weights of your own.{FAINT:#}\n\n\
             segmenta models show NAME    its layers, shapes and costs\n\
             segmenta models pull NAME    its weights\n\
             segmenta models encoders     what SMP's networks can stand on, and its weights\n\n"
        );
    }
    text += &names(recommended().iter().filter(|row| is_loaded(row)));
    let _ = write!(
        text,
        "\n{FAINT}Of the Hugging Face hub: predict PICTURE --model OWNER/NAME. Empty: not known here; the hub's page says it.\n\
         segmenta models search WORD  finds names, of networks that cannot be loaded yet, too{FAINT:#}\n"
    );
    result(&text)
}

/// Names of the hub in which a word stands.
pub(crate) fn search(word: &str, as_json: bool) -> anyhow::Result<()> {
    let rows: Vec<&Recommended> = search_names(word).collect();
    if as_json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.id, "field": row.field, "class": row.class, "backbone": row.backbone,
                    "data": row.data, "miou": row.miou, "licence": row.licence, "loaded": is_loaded(row),
                })
            })
            .collect();
        return result(&serde_json::to_string_pretty(&rows)?);
    }
    if rows.is_empty() {
        let fields: BTreeSet<&str> = recommended().iter().map(|row| &*row.field).collect();
        let fields: Vec<&str> = fields.into_iter().collect();
        return Err(Usage(format!(
            "no name here has “{word}” in it · fields are {} · any other repository of the hub goes by --model \
             OWNER/NAME all the same",
            fields.join(", ")
        ))
        .into());
    }
    result(&names(rows.into_iter()))
}

/// Whether networks of its class can be loaded.
fn is_loaded(row: &Recommended) -> bool {
    hub_classes().any(|class| class.name == row.class)
}

/// A table of names of the hub.
fn names<'r>(rows: impl Iterator<Item = &'r Recommended>) -> String {
    let headings = [
        "for", "name", "backbone", "data", ">mIoU", "licence", "loads",
    ];
    let mut table = Table::new(&headings);
    for row in rows {
        let given = |cell: &Option<String>| cell.clone().unwrap_or_default();
        let licence = given(&row.licence);
        let kept = if is_non_commercial(&licence) {
            " (not commercial)"
        } else {
            ""
        };
        table.row([
            row.field.clone(),
            row.id.clone(),
            row.backbone.clone(),
            row.data.clone(),
            given(&row.miou),
            format!("{licence}{kept}"),
            if is_loaded(row) { "yes" } else { "not yet" }.into(),
        ]);
    }
    table.render()
}

/// What a model of the hub says of itself.
fn of_hub(description: &Description) -> Vec<(&'static str, String)> {
    let recipe = &description.preprocess;
    let crop = recipe
        .center_crop
        .map(|[width, height]| format!(", the middle {width}x{height}"));
    let mut lines = vec![
        ("source", description.source.clone()),
        (
            "classes",
            format!(
                "{}: {}",
                description.classes.len(),
                description.classes.join(", ")
            ),
        ),
        (
            "pictures",
            format!("resized to {}{}", recipe.resize, crop.unwrap_or_default()),
        ),
    ];
    let licence = description.licence.as_deref().unwrap_or("not known here");
    let kept = if is_non_commercial(licence) {
        " · NOT FOR COMMERCIAL USE"
    } else {
        ""
    };
    lines.push(("licence", format!("{licence}{kept}")));
    lines
}

fn parameters(architecture: &Architecture) -> anyhow::Result<usize> {
    let graph = architecture.build(&Options::new(VOC_CLASSES.len()))?;
    Ok(graph.trainable_count())
}

pub(crate) fn show(args: &Show, quiet: bool) -> anyhow::Result<()> {
    let mut download = Download::new(quiet);
    let hub = HubModel::find(&args.name, &mut |step| download.step(step))?;
    drop(download);
    let name = hub.as_ref().map_or(&*args.name, |hub| hub.architecture);
    let encoder = args.encoder.as_deref().map(find_encoder).transpose()?;
    let architecture = find(name)?;
    let own = hub.as_ref().map_or_else(
        || Options::new(VOC_CLASSES.len()),
        |hub| hub.options.clone(),
    );
    let encoder = encoder.or(own.encoder);
    let classes = args.classes.unwrap_or(own.classes);
    let mut options = Options {
        classes,
        in_channels: args.input.channels,
        aux: args.aux,
        width: args.width,
        encoder,
        ..own
    };
    for (name, value) in &args.set {
        let set = options.set(name, value);
        set.map_err(|problem| Usage(format!("{problem} · --set {name}={value}")))?;
    }
    let graph = architecture.build(&options)?;
    let summary = graph
        .summary(args.input, &[])
        .map_err(|error| Usage(error.to_string()))?;
    let outputs: Vec<String> = graph.outputs().iter().map(|o| o.name.clone()).collect();
    let wanted = ModelOptions::new().outputs(outputs);
    let zeros = |parameter: &segmenta_graph::Parameter| vec![0.0; parameter.len()];
    let model = Model::untrained(name, &options, &wanted, zeros)?;
    let memory = model
        .engine()
        .memory(args.input)
        .map_err(segmenta::Error::from)?;

    if args.json {
        let layers = summary.rows.iter().map(|row| {
            let s = row.shape;
            json!({
                "name": row.name, "kind": row.kind, "shape": [s.batch, s.channels, s.height, s.width],
                "parameters": row.parameters, "multiply_adds": row.multiply_adds,
            })
        });
        let i = args.input;
        let value = json!({
            "name": args.name, "licence": hub.as_ref().and_then(|hub| hub.description.licence.clone()),
            "encoder": encoder.map(|e| e.name), "settings": options.named(), "classes": classes,
            "input": [i.batch, i.channels, i.height, i.width],
            "layers": layers.collect::<Vec<_>>(),
            "parameters": summary.parameters, "multiply_adds": summary.multiply_adds,
            "weight_bytes": summary.weight_bytes, "activation_bytes": summary.activation_bytes,
            "arena_bytes": memory.arena_bytes, "packed_weight_bytes": memory.weight_bytes,
            "results": results(&graph).into_iter().map(|(name, channels, size, logits)|
                json!({"name": name, "channels": channels, "size": size, "logits": logits})).collect::<Vec<_>>(),
        });
        return result(&serde_json::to_string_pretty(&value)?);
    }
    let mut table = Table::new(&["layer", "kind", "shape", ">parameters", ">multiply-adds"]);
    let number = |n: u64| if n == 0 { String::new() } else { grouped(n) };
    for row in &summary.rows {
        table.row([
            row.name.clone(),
            row.kind.clone(),
            row.shape.to_string(),
            number(row.parameters as u64),
            number(row.multiply_adds),
        ]);
    }
    let mut text = format!(
        "{STRONG}{}{STRONG:#} · {}{} · {} · input {}\n\n{}\n",
        args.name,
        architecture.description,
        encoder.map_or_else(String::new, |e| format!(", here on {}", e.name)),
        count(classes, "class"),
        args.input,
        table.render()
    );
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<14}  {value}");
    };
    for (what, value) in hub.iter().flat_map(|hub| of_hub(&hub.description)) {
        line(what, value);
    }
    line("parameters", grouped(summary.parameters as u64));
    line(
        "multiply-adds",
        format!("{:.2} G", summary.multiply_adds as f64 / 1e9),
    );
    line(
        "weights",
        format!("{:.1} MiB", mebibytes(summary.weight_bytes)),
    );
    line(
        "activations",
        format!(
            "{:.1} MiB if all were kept; {:.1} MiB in the arena that they share here",
            mebibytes(summary.activation_bytes),
            mebibytes(memory.arena_bytes)
        ),
    );
    for (name, channels, size, logits) in results(&graph) {
        let resized = if size == logits {
            String::new()
        } else {
            format!(", from {logits}")
        };
        line(
            &format!("result {name}"),
            format!("{}, {size}{resized}", count(channels, "class")),
        );
    }
    result(&text)
}

/// Each result of a network: its name, its channels, its size for an input of H×W, and that before
/// the last resize or fit.
fn results(graph: &Graph) -> Vec<(String, usize, String, String)> {
    let outputs = graph.outputs().iter();
    outputs
        .map(|output| {
            let data = graph.node(output.node);
            let logits = match (&data.op, data.inputs.first()) {
                (
                    Op::ResizeLike { .. } | Op::Upsample { .. } | Op::FitLike { .. },
                    Some(&logits),
                ) => logits,
                _ => output.node,
            };
            let size = |node| graph.symbolic_size(node);
            let (name, channels) = (output.name.clone(), data.channels);
            (name, channels, size(output.node), size(logits))
        })
        .collect()
}

pub(crate) fn save(args: &Save, quiet: bool) -> anyhow::Result<()> {
    let options = ModelOptions::new().weights(&args.weights);
    let saved = save_pretrained(&options, &args.out, &mut |_| {})?;
    if !quiet {
        for said in &saved.notes {
            note(said);
        }
        note(&format!("for from_pretrained of {}", saved.library));
    }
    result(&shown(&saved.path).to_string())
}
