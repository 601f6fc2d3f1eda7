//! `segmenta serve`: networks behind HTTP. The work is `segmenta-serve`'s; here are its arguments and what is said of it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};
use segmenta::ModelOptions;
use segmenta_serve::{Batching, Limits, Models, ServeOptions, Server, Wanted};
use tracing_subscriber::filter::LevelFilter;

use super::args::{MemoryUse, PrecisionUse};
use super::message::{Usage, note, reason, shown, warning};
use super::model;
use super::progress;
use super::values::number;

/// Puts networks behind HTTP.
///
/// The first network is asked where a request names none. http://ADDRESS/ is a page for people, /openapi.json says what
/// programs can ask. SIGTERM and Ctrl-C answer what has begun and end; SIGHUP loads the networks anew without losing a request.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  segmenta serve lraspp_mobilenet_v3_large
  segmenta serve deeplabv3_resnet50 runs/pets/model.safetensors cells=runs/nuclei/model.safetensors --port 8080
  segmenta serve nvidia/segformer-b0-finetuned-ade-512-512 --precision bf16 --token-file token

  curl --data-binary @photo.jpg 'localhost:8080/v1/segment?output=overlay' -o overlay.png
  curl --data-binary @photo.jpg 'localhost:8080/v1/segment?output=json&model=cells'
  curl -F file=@a.jpg -F file=@b.jpg -F output=mask localhost:8080/v1/segment/batch -o masks.zip

Clients made for Triton or OpenVINO Model Server (KServe V2), huggingface_hub's InferenceClient work unchanged;
Label Studio's tasks hold their pictures as data URIs, since no address is fetched: docs/book/serve.md.")]
pub(crate) struct Serve {
    /// Networks: a name of `segmenta models`, a repository of the Hugging Face hub, a model file, a run's folder; NAME= before it
    /// says under which name
    #[arg(required = true, value_name = "[NAME=]NETWORK", value_hint = ValueHint::AnyPath)]
    models: Vec<String>,
    /// The port; 0 for any that is free
    #[arg(short, long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// The address to listen on: 0.0.0.0 for every network of this machine
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: IpAddr,
    /// A name by which the server may be asked, beside addresses and localhost; * for any
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// An origin whose pages may ask (https://example.org); * for any
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// A file with a token that requests have to bring: Authorization: Bearer TOKEN
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// Threads that decode, segment and answer [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024), help_heading = "Work")]
    workers: Option<usize>,
    /// Threads that a network computes with [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=1024), help_heading = "Work")]
    threads: Option<usize>,
    /// In what networks compute: auto, f32, bf16, int8 [default: auto, what each model file says]
    #[arg(long, value_name = "PRECISION", help_heading = "Work")]
    precision: Option<PrecisionUse>,
    /// How much memory weights may take: ample, brief, low [default: ample]
    #[arg(long, value_name = "HOW MUCH", help_heading = "Work")]
    memory: Option<MemoryUse>,
    /// Requests of one network that go through it together at most [default: measured at start]
    #[arg(long, value_name = "N", value_parser = number(1..=64), help_heading = "Work")]
    max_batch: Option<usize>,
    /// How long the first of them waits for others, in milliseconds [default: measured at start]
    #[arg(long, value_name = "MS", value_parser = number(0..=1000), help_heading = "Work")]
    max_delay: Option<usize>,
    /// Requests that wait; what comes beyond them is answered 503
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number(1..=100_000), help_heading = "Limits")]
    queue: usize,
    /// Largest body, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = number(1..=4096), help_heading = "Limits")]
    max_body: usize,
    /// Largest picture, in millions of pixels: its head is read before it is decoded
    #[arg(long, value_name = "MP", default_value_t = 100, value_parser = number(1..=1000), help_heading = "Limits")]
    max_pixels: usize,
    /// Pictures of one request
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = number(1..=10_000), help_heading = "Limits")]
    max_pictures: usize,
    /// Seconds until a request has to be answered
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = number(1..=86_400), help_heading = "Limits")]
    deadline: usize,
    /// Seconds until a request has to be here whole
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = number(1..=3600), help_heading = "Limits")]
    read_timeout: usize,
    /// Open connections
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = number(1..=100_000), help_heading = "Limits")]
    max_connections: usize,
}

pub(crate) fn run(args: &Serve, quiet: bool) -> anyhow::Result<()> {
    let level = if quiet {
        LevelFilter::WARN
    } else {
        LevelFilter::INFO
    };
    // A program that has a log already (the command is a library, too) keeps its own.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
    let base = base(args)?;
    let wanted = args
        .models
        .iter()
        .map(|text| Wanted::of(text, &base).map_err(Usage));
    let models = Models::new(wanted.collect::<Result<_, _>>()?).map_err(Usage)?;
    let options = options(args)?;
    if !options.address.ip().is_loopback() && options.token.is_none() && !quiet {
        warning(&format!(
            "everybody who reaches {} can ask · --host · give a --token-file, or stay on 127.0.0.1",
            options.address
        ));
    }
    for entry in models.iter() {
        let mut download = progress::Download::new(quiet);
        entry.load(options.batching, &mut |step| download.step(step))?;
        drop(download);
        let Some(loaded) = entry.loaded() else {
            continue;
        };
        if !quiet {
            loaded.model.notes().iter().for_each(|told| note(told));
            if let Some(line) = model::licence(loaded.model.description()) {
                note(&line);
            }
        }
    }
    let server = Server::bind(&options, models).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another server is there: choose another --port, or 0 for any"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 are the system's: choose another --port"
            }
            _ => "choose another --host or --port",
        };
        anyhow::anyhow!(
            "cannot listen: {} · {} · {remedy}",
            reason(&error),
            options.address
        )
    })?;
    let address = server.address()?;
    for entry in server.state().models.iter() {
        if let Some(loaded) = entry.loaded() {
            let batches = loaded.batches;
            tracing::info!(
                model = entry.name(),
                architecture = loaded.model.description().architecture,
                precision = %loaded.model.engine().precision(),
                batch = batches.most,
                delay_ms = batches.delay.as_secs_f64() * 1e3,
                "serves"
            );
        }
    }
    // Said even where little is: with port 0 nobody could know it.
    super::message::result(&format!("http://{address}"))?;
    server.run(true)?;
    Ok(())
}

/// How every network runs.
fn base(args: &Serve) -> anyhow::Result<ModelOptions> {
    let like = super::args::ModelArgs {
        model: None,
        encoder: None,
        set: Vec::new(),
        weights: None,
        weights_key: None,
        matching: None,
        classes: None,
        threads: args.threads,
        memory: args.memory,
        precision: args.precision,
    };
    model::options(&like)
}

fn options(args: &Serve) -> anyhow::Result<ServeOptions> {
    let seconds = |seconds: usize| Duration::from_secs(seconds as u64);
    Ok(ServeOptions {
        address: SocketAddr::new(args.host, args.port),
        workers: args.workers.unwrap_or(0),
        limits: Limits {
            body: args.max_body << 20,
            pixels: args.max_pixels as u64 * 1_000_000,
            pictures: args.max_pictures,
            read: seconds(args.read_timeout),
            deadline: seconds(args.deadline),
            queue: args.queue,
            connections: args.max_connections,
            ..Limits::default()
        },
        batching: Batching {
            most: args.max_batch,
            delay: args.max_delay.map(|ms| Duration::from_millis(ms as u64)),
        },
        token: args.token_file.as_deref().map(token).transpose()?,
        hosts: args.allow_host.clone(),
        origins: args.cors.clone(),
    })
}

/// A token that may stand in a request's head.
fn token(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the token: {} · {} · name a file with one line",
            reason(&error),
            shown(file)
        )
    })?;
    let token = text.trim();
    let is_right = !token.is_empty() && token.bytes().all(|c| c.is_ascii_graphic());
    if !is_right {
        return Err(Usage(format!(
            "no token in the file · {} · write one line of letters and digits into it",
            shown(file)
        ))
        .into());
    }
    Ok(token.to_owned())
}
