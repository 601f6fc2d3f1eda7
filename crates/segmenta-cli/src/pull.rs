//! `segmenta models pull`: published weights of networks and of encoders, brought here.

use std::path::PathBuf;

use segmenta::hub_files::{
    DEFAULT_WEIGHTS, EncoderWeights, find_encoder_weights, is_non_commercial, weights_of_encoder,
};
use segmenta::{EncoderFile, published_file};
use segmenta_weights::{Hub, Progress};
use segmenta_zoo::{PublishedWeights, find, find_encoder, published, published_weights};

use super::args::Pull;
use super::message::{Reported, Usage, failure, note, result};
use super::progress::Download;

/// What a name means.
enum Row {
    Network(&'static PublishedWeights),
    Encoder(&'static EncoderWeights),
}

pub(crate) fn run(args: &Pull, quiet: bool) -> anyhow::Result<()> {
    let rows: Vec<Row> = if args.all {
        published_weights().iter().map(Row::Network).collect()
    } else {
        let row = |name: &String| Row::of(name, args.weights.as_deref());
        args.names.iter().map(row).collect::<anyhow::Result<_>>()?
    };
    let mut failed = false;
    for row in rows {
        if !quiet && !row.is_here()? {
            note(&row.told());
        }
        let mut progress = Download::new(quiet);
        let pulled = row.pull(&mut |step| progress.step(step));
        drop(progress);
        match pulled {
            Ok(path) => result(&path.to_string_lossy())?,
            Err(error) => {
                failed = true;
                failure(&error.to_string());
            }
        }
    }
    if failed { Err(Reported.into()) } else { Ok(()) }
}

impl Row {
    /// The weights of a network, or of an encoder; `weights` says which of an encoder's.
    fn of(name: &str, weights: Option<&str>) -> anyhow::Result<Self> {
        if find_encoder(name).is_ok() {
            let wanted = weights.unwrap_or(DEFAULT_WEIGHTS);
            let row = find_encoder_weights(name, wanted).map(Self::Encoder);
            return row.ok_or_else(|| {
                let names: Vec<&str> = weights_of_encoder(name)
                    .map(|row| row.name.as_str())
                    .collect();
                Usage(format!(
                    "{name} has no weights “{wanted}” · it has {} · --weights NAME",
                    names.join(", ")
                ))
                .into()
            });
        }
        find(name)?;
        let row = published(name).ok_or_else(|| {
            anyhow::Error::from(Usage(format!(
                "no weights are published for it · {name} · give a file with --weights where you use it, or name an \
                 encoder (segmenta models encoders)"
            )))
        })?;
        if let Some(weights) = weights {
            return Err(Usage(format!(
                "{name} is no encoder and has one file of weights · --weights {weights} · leave it out"
            ))
            .into());
        }
        Ok(Self::Network(row))
    }

    fn is_here(&self) -> anyhow::Result<bool> {
        Ok(match self {
            Self::Network(row) => Hub::from_env()?.cached(&published_file(row)).is_some(),
            Self::Encoder(row) => EncoderFile::cached(row).is_some(),
        })
    }

    /// What is to be said before it is downloaded.
    fn told(&self) -> String {
        match self {
            Self::Network(row) => format!(
                "{} · {:.1} MiB · {}",
                row.architecture, row.mebibytes, row.licence
            ),
            Self::Encoder(row) => {
                let size = row.mebibytes.map(|size| format!(" · {size:.1} MiB"));
                let licence = row.licence.as_deref().unwrap_or("not known here");
                let kept = if is_non_commercial(licence) {
                    " · NOT FOR COMMERCIAL USE"
                } else {
                    ""
                };
                format!(
                    "{} {} · {}{} · licence: {licence}{kept}",
                    row.encoder,
                    row.name,
                    row.place(),
                    size.unwrap_or_default()
                )
            }
        }
    }

    fn pull(&self, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<PathBuf> {
        Ok(match self {
            Self::Network(row) => Hub::from_env()?.pull(&published_file(row), progress)?,
            Self::Encoder(row) => EncoderFile::pull(row, progress)?.path,
        })
    }
}
