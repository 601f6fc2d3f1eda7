//! The network that the arguments name, loaded.

use segmenta::data::annotation::ClassList;
use segmenta::data::palette;
use segmenta::hub_files::is_non_commercial;
use segmenta::{Description, Model, ModelOptions, Names, Precision, WeightMemory};
use segmenta_runtime::{Isa, LowEngine};

use super::args::{ClassArgs, MemoryUse, ModelArgs, NameUse, PrecisionUse};
use super::message::{Usage, count, note, taken, warning};
use super::progress;

/// The arguments as the library takes them, with the instruction set that the environment asks for.
pub(crate) fn options(args: &ModelArgs) -> anyhow::Result<ModelOptions> {
    let mut options = ModelOptions::new();
    options.architecture.clone_from(&args.model);
    options.encoder.clone_from(&args.encoder);
    options.settings.clone_from(&args.set);
    options.weights.clone_from(&args.weights);
    options.weights_key.clone_from(&args.weights_key);
    options.names = match args.matching {
        Some(NameUse::ByOrder) => Names::ByOrder,
        Some(NameUse::ByName) | None => Names::ByName,
    };
    options.classes = args.classes;
    options.threads = args.threads.unwrap_or(0);
    options.isa = isa()?;
    options.engine = engine()?;
    options.memory = match args.memory {
        Some(MemoryUse::Ample) | None => WeightMemory::Ample,
        Some(MemoryUse::Brief) => WeightMemory::Brief,
        Some(MemoryUse::Low) => WeightMemory::Low,
    };
    options.precision = match args.precision {
        Some(PrecisionUse::Auto) | None => None,
        Some(PrecisionUse::F32) => Some(Precision::F32),
        Some(PrecisionUse::Bf16) => Some(Precision::Bf16),
        Some(PrecisionUse::Int8) => Some(Precision::Int8),
    };
    Ok(options)
}

/// Speaks of bf16 where nobody has and it would be much faster.
pub(crate) fn say_precision(args: &ModelArgs, options: &ModelOptions, quiet: bool) {
    let is_open = matches!(args.precision, None | Some(PrecisionUse::Auto));
    let engine = options.engine.unwrap_or_else(LowEngine::fastest);
    if is_open && !quiet && Precision::Bf16.gain(engine) >= WORTH_A_WORD {
        note(
            "this processor multiplies bf16 many times faster than f32 · --precision bf16 · labels differ in a few \
             pixels of a thousand",
        );
    }
}

/// From how many times as many products a second on bf16 is spoken of: tiles, not vectors.
const WORTH_A_WORD: f32 = 8.0;

/// Loads the model; says which download it waits for and what of the weights it has no use for.
pub(crate) fn open(options: &ModelOptions, quiet: bool) -> anyhow::Result<Model> {
    let mut download = progress::Download::new(quiet);
    let model = Model::open(options, &mut |step| download.step(step))?;
    let unused = model.unused_weights();
    if let Some(names) = unused
        .get(..unused.len().min(3))
        .filter(|names| !names.is_empty())
    {
        let more = if unused.len() > names.len() {
            ", …"
        } else {
            ""
        };
        warning(&format!(
            "the network has no place for {} of the file: {}{more} · {}",
            count(unused.len(), "tensor"),
            names.join(", "),
            model.description().source,
        ));
    }
    if !quiet {
        model.notes().iter().for_each(|told| note(told));
        if let Some(line) = licence(model.description()) {
            note(&line);
        }
    }
    let told = taken(model.taken(), &model.description().source);
    if let Some(told) = told.filter(|_| !quiet) {
        note(&told);
    }
    Ok(model)
}

/// The model with the classes' names and colours that were typed.
pub(crate) fn with_classes(model: Model, args: &ClassArgs) -> anyhow::Result<Model> {
    let model = match &args.names {
        Some(names) => model.with_classes(class_names(names)?)?,
        None => model,
    };
    let Some(word) = &args.palette else {
        return Ok(model);
    };
    let classes = model.description().class_names().len();
    Ok(model.with_palette(palette(word)?.with_classes(classes)))
}

/// Names of classes: those that were typed, or a file's.
pub(crate) fn class_names(text: &str) -> anyhow::Result<Vec<String>> {
    if ["by-name", "by-order"].contains(&text) {
        let problem =
            format!("`{text}` says how tensors find their place · --names · type --match {text}");
        return Err(Usage(problem).into());
    }
    let path = std::path::Path::new(text);
    if path.is_file() {
        return Ok(ClassList::read(path)?.names().to_vec());
    }
    let names = text.split(',').map(str::trim);
    let list = ClassList::new(names).map_err(|problem| {
        Usage(format!(
            "{problem} · --names · give names apart by commas, or a file with one a line"
        ))
    })?;
    Ok(list.names().to_vec())
}

/// What is said of a licence, where one is known.
pub(crate) fn licence(description: &Description) -> Option<String> {
    let licence = description.licence.as_deref()?;
    let kept = if is_non_commercial(licence) {
        " · NOT FOR COMMERCIAL USE"
    } else {
        ""
    };
    Some(format!("licence: {licence}{kept} · {}", description.source))
}

/// A setting as it is given: NAME=VALUE. What it may be, the zoo says.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => {
            Ok((name.trim().into(), value.trim().into()))
        }
        _ => Err("NAME=VALUE, as encoder_depth=4".into()),
    }
}

/// The instruction set that the environment asks for.
pub(crate) fn isa() -> Result<Option<Isa>, Usage> {
    from_environment(
        "SEGMENTA_ISA",
        "instruction set",
        Isa::named,
        Isa::available,
    )
}

/// What the environment asks to multiply in low precision.
fn engine() -> Result<Option<LowEngine>, Usage> {
    let (named, available) = (LowEngine::named, LowEngine::available);
    from_environment(
        "SEGMENTA_ENGINE",
        "engine for low precision",
        named,
        available,
    )
}

fn from_environment<T: ToString>(
    variable: &str,
    kind: &str,
    named: impl Fn(&str) -> Option<T>,
    available: impl Fn() -> Vec<T>,
) -> Result<Option<T>, Usage> {
    let Some(name) = std::env::var_os(variable).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let name = name.to_string_lossy();
    if let Some(found) = named(&name) {
        return Ok(Some(found));
    }
    let known: Vec<String> = available().iter().map(ToString::to_string).collect();
    Err(Usage(format!(
        "no {kind} “{name}” here · {variable} · this processor has {}",
        known.join(", ")
    )))
}
