//! The `segmenta` command as a function ([`run`]), which the binary and the Python package call: what is asked for
//! (`args`, which is also its help), a file a command, and how it speaks to people (`message`, `progress`, `table`).

mod args;
mod bench;
mod compare;
mod data;
mod demo;
mod encoders;
mod eval;
mod export;
mod forward;
mod message;
mod model;
mod models;
mod predict;
mod progress;
mod pull;
mod quantize;
mod random;
mod report;
mod segment;
#[cfg(feature = "serve")]
mod serve;
mod table;
#[cfg(feature = "train")]
mod train;
mod values;
#[cfg(feature = "serve")]
mod view;
mod weights;
mod worst;

use std::ffi::OsString;
use std::io;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::Shell;

use args::{Args, Command, Models};
use bench::Bench;
use message::{Reported, is_usage};

/// Does what a command line says, whose first word is the program's name, and gives the process's exit code: 0 (done),
/// 1 (failed), 2 (wrong usage). What is to be said goes to standard output and standard error. Commands that can be
/// interrupted put a handler of Ctrl-C in place for the whole process, and an interrupted one may end it, with 130: a
/// process runs one command.
pub fn run(typed: Vec<OsString>) -> u8 {
    let Err(error) = parse(typed).and_then(dispatch) else {
        return 0;
    };
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        // Help and version come this way too. A closed pipe is no failure of ours.
        let _ = error.print();
        return error.exit_code() as u8;
    }
    if is_closed_pipe(&error) {
        // `segmenta models | head -1` has what it wanted.
        return 0;
    }
    if !error.is::<Reported>() {
        message::error(&error);
    }
    if is_usage(&error) { 2 } else { 1 }
}

/// What was typed, with what a recipe of `predict` adds.
fn parse(typed: Vec<OsString>) -> anyhow::Result<Args> {
    // Whether options go together is known once the recipe is read: what is typed beside it may need what it says.
    let loose = Args::command().ignore_errors(true);
    if let Ok(matches) = loose.try_get_matches_from(&typed)
        && let Some(("predict", predict)) = matches.subcommand()
        && let Some(recipe) = predict.get_one::<String>("recipe")
    {
        let typed = predict::recipe::expand(recipe, predict, typed)?;
        let matches = Args::command().try_get_matches_from(typed)?;
        return Ok(Args::from_arg_matches(&matches)?);
    }
    let matches = Args::command().try_get_matches_from(&typed)?;
    Ok(Args::from_arg_matches(&matches)?)
}

fn dispatch(args: Args) -> anyhow::Result<()> {
    let quiet = args.quiet;
    match args.command {
        Command::Predict(args) => predict::run(&args, quiet),
        Command::Models(args) => match args.command {
            None => models::list(args.json),
            Some(Models::Show(args)) => models::show(&args, quiet),
            Some(Models::Search { word, json }) => models::search(&word, json),
            Some(Models::Encoders { name, json }) => encoders::list(name.as_deref(), json),
            Some(Models::Pull(args)) => pull::run(&args, quiet),
            Some(Models::Save(args)) => models::save(&args, quiet),
        },
        Command::Weights(args) => weights::run(&args),
        Command::Forward(args) => forward::run(&args, quiet),
        Command::Bench(args) => match args.command {
            Bench::Forward(args) => bench::forward(&args),
            #[cfg(feature = "train")]
            Bench::Step(args) => bench::step(&args),
            Bench::Kernels(args) => bench::kernels(&args),
        },
        Command::Data(args) => data::run(&args, quiet),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(&args, quiet),
        Command::Eval(args) => eval::run(&args, quiet),
        Command::Compare(args) => compare::run(&args, quiet),
        Command::Quantize(args) => quantize::run(&args, quiet),
        Command::Export(args) => export::run(&args, quiet),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, quiet),
        #[cfg(feature = "serve")]
        Command::View(args) => view::run(&args, quiet),
        Command::Demo(args) => demo::run(&args, quiet),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "segmenta", &mut script);
    message::result(&String::from_utf8(script)?)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
