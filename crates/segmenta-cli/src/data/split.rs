//! `segmenta data split`: lists of names.

use std::fmt::Write;

use segmenta::{check_folder, prepare_folder};
use segmenta_data::{DataError, Shares, Split};
use segmenta_image::write_atomic;

use super::super::message::{Usage, result, shown};
use super::args::SplitArgs;
use super::open;

pub(super) fn run(args: &SplitArgs, quiet: bool) -> anyhow::Result<()> {
    let shares = Shares::new(args.train, args.val, args.test).map_err(|error| match error {
        DataError::Setting { what, remedy, .. } => {
            anyhow::Error::from(Usage(format!("{what} · --train, --val, --test · {remedy}")))
        }
        other => other.into(),
    })?;
    check_folder(args.out.as_deref().unwrap_or(&args.source.folder))?;
    let dataset = open(&args.source, None)?;
    let dealt = dataset.split(shares, args.seed);
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| dataset.root().join("splits"));
    prepare_folder(&out)?;
    let mut lists = Vec::new();
    for split in Split::ALL {
        let part = dealt.only(split);
        let path = out.join(format!("{split}.txt"));
        let text = part.list(split)?;
        let before = std::fs::read(&path).ok();
        // A run that was made with the old lists would be measured with the new ones.
        if before
            .as_ref()
            .is_some_and(|before| before != text.as_bytes())
        {
            let path = shown(&path);
            let what = format!(
                "another list is there already · {path} · delete it, or choose a folder with --out"
            );
            return Err(anyhow::anyhow!(what));
        }
        if !part.is_empty() || before.is_some() {
            lists.push((split, part.len(), path, text));
        }
    }
    let mut said = String::new();
    for (split, count, path, text) in lists {
        write_atomic(&path, text.as_bytes())?;
        let _ = writeln!(said, "{split:<5}  {count:>6}  {}", shown(&path));
    }
    if quiet { Ok(()) } else { result(&said) }
}
