//! `segmenta weights`: what is in a file.

use segmenta_files::noun;
use std::fmt::Write;

use segmenta::Recognised;
use segmenta_weights::{ModelCard, StateDict, Statistics, TensorInfo};
use serde_json::{Value, json};

use super::args::Weights;
use super::message::{FAINT, Usage, count, explain, result, shown, taken, warning};
use super::table::{Table, grouped};

pub(crate) fn run(args: &Weights) -> anyhow::Result<()> {
    let dict = StateDict::open(&args.file).map_err(segmenta::Error::from)?;
    let wanted = |info: &&TensorInfo| {
        args.filter
            .as_ref()
            .is_none_or(|text| info.name.contains(text))
    };
    let tensors: Vec<&TensorInfo> = dict.iter().filter(wanted).collect();
    if let (Some(text), true) = (&args.filter, tensors.is_empty()) {
        let what = format!("no tensor's name contains “{text}”");
        let remedy = format!(
            "the file has {}; leave --filter out to see them",
            count(dict.len(), "tensor")
        );
        return Err(Usage(format!("{what} · {} · {remedy}", shown(&args.file))).into());
    }
    let mut rows = Vec::with_capacity(tensors.len());
    let mut unread = None;
    for info in tensors {
        let statistics = match (args.no_stats, info.elements()) {
            (true, _) | (_, 0) => None,
            // A tensor of some strange type is listed all the same.
            _ => match dict.read_f32(&info.name) {
                Ok(values) => Some(Statistics::of(&values)),
                Err(error) => {
                    unread.get_or_insert(error);
                    None
                }
            },
        };
        rows.push((info, statistics));
    }
    if let Some(error) = unread {
        warning(&error.to_string());
    }
    let network = Recognised::of(&dict, args.weights_key.as_deref());
    if args.weights_key.is_some()
        && let Err(error @ segmenta::Error::Key(_)) = network
    {
        return Err(error.into());
    }
    result(&if args.json {
        as_json(&dict, &rows, network.ok().as_ref())?
    } else {
        as_table(args, &dict, &rows, &network)?
    })
}

/// The network that the names are of, or why none is known.
fn network_line(network: &Result<Recognised, segmenta::Error>, file: &str) -> Option<String> {
    match network {
        Ok(network) => {
            let on = network
                .encoder
                .map_or(String::new(), |encoder| format!(" on {encoder}"));
            let what = format!(
                "network: {}{on}, {}",
                network.architecture,
                count(network.classes, "class")
            );
            let taken = taken(&network.taken, file);
            Some(taken.map_or(what.clone(), |taken| format!("{what} · {taken}")))
        }
        // The file itself is whole, whatever it is of.
        Err(error @ (segmenta::Error::Unrecognised { .. } | segmenta::Error::Ambiguous { .. })) => {
            Some(format!("network: {}", explain(error)))
        }
        Err(_) => None,
    }
}

type Row<'a> = (&'a TensorInfo, Option<Statistics>);

fn as_json(
    dict: &StateDict,
    rows: &[Row<'_>],
    network: Option<&Recognised>,
) -> anyhow::Result<String> {
    let tensors = rows.iter().map(|(info, statistics)| {
        let mut tensor = json!({
            "name": info.name, "dtype": info.dtype.to_string(), "shape": info.shape,
        });
        if let Some(s) = statistics {
            tensor["statistics"] = json!({
                "min": s.min, "max": s.max, "mean": s.mean, "std": s.std,
                "zeros": s.zeros, "non_finite": s.non_finite,
            });
        }
        tensor
    });
    let value = json!({
        "file": dict.path(),
        "format": dict.format().to_string(),
        "metadata": dict.metadata(),
        "values": rows.iter().map(|(info, _)| info.elements()).sum::<usize>(),
        "network": network.map(|network| json!({
            "architecture": network.architecture, "encoder": network.encoder, "classes": network.classes,
            "prefix": network.taken.prefix, "tensors": network.taken.entries,
            "beside": network.taken.beside, "others": network.taken.others,
        })),
        "tensors": tensors.collect::<Vec<Value>>(),
    });
    Ok(serde_json::to_string_pretty(&value)?)
}

fn as_table(
    args: &Weights,
    dict: &StateDict,
    rows: &[Row<'_>],
    network: &Result<Recognised, segmenta::Error>,
) -> anyhow::Result<String> {
    let headings = [
        "name", "type", "shape", ">min", ">max", ">mean", ">std", "broken",
    ];
    let columns = if args.no_stats { 3 } else { headings.len() };
    let mut table = Table::new(&headings[..columns]);
    for (info, statistics) in rows {
        let shape: Vec<String> = info.shape.iter().map(ToString::to_string).collect();
        let mut cells = vec![info.name.clone(), info.dtype.to_string(), shape.join("×")];
        if let Some(s) = statistics {
            cells.extend([f64::from(s.min), f64::from(s.max), s.mean, s.std].map(short));
            let broken = s.non_finite > 0;
            cells.push(if broken {
                format!("{} NaN or ∞", s.non_finite)
            } else {
                String::new()
            });
        }
        table.row(cells);
    }
    let values: usize = rows.iter().map(|(info, _)| info.elements()).sum();
    let mut text = table.render();
    let _ = writeln!(
        text,
        "\n{} · {} {} · {}",
        count(rows.len(), "tensor"),
        grouped(values as u64),
        noun(values, "value"),
        dict.format()
    );
    if let Some(card) = ModelCard::from_metadata(dict.metadata()).map_err(segmenta::Error::from)? {
        let _ = writeln!(
            text,
            "model file: {} · {}: {}",
            card.architecture,
            count(card.classes.len(), "class"),
            card.classes.join(", ")
        );
        for (what, value) in [("source", &card.source), ("licence", &card.licence)] {
            if let Some(value) = value {
                let _ = writeln!(text, "{what}: {value}");
            }
        }
    } else {
        for (key, value) in dict.metadata() {
            let _ = writeln!(text, "{FAINT}{key}: {value}{FAINT:#}");
        }
        if let Some(line) = network_line(network, &shown(&args.file).to_string()) {
            let _ = writeln!(text, "{line}");
        }
    }
    Ok(text)
}

/// Four digits that tell.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        a if (1e-3..1e4).contains(&a) => format!("{value:.4}"),
        _ if value.is_nan() => "–".into(),
        _ => format!("{value:.2e}"),
    }
}
