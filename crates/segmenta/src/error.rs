//! What can go wrong between a file and a label map.

use segmenta_files::count;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use segmenta_graph::GraphError;
use segmenta_hub::{FolderError, NameError, RepositoryError};
use segmenta_image::{EXTENSIONS, PictureError};
use segmenta_runtime::RuntimeError;
use segmenta_weights::{CardError, Disorder, FindError, HubError, Mismatch, WeightsError};
use segmenta_zoo::{ThresholdError, ZooError};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::resolve::Nearest;

/// Any error of this library. The message says what, where and how to mend it, in one line, and speaks of things:
/// what to type or to click is for the program around it to say, by the variant.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or an option that the zoo does not have.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// A network that contradicts itself.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A file of weights that cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights of another network.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// A model file whose description cannot be read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Published weights that cannot be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A text that names no repository.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A repository of the Hugging Face hub whose files cannot be had.
    #[error(transparent)]
    Repository(#[from] Box<RepositoryError>),
    /// A folder that holds no model which can be loaded.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A network that cannot be written as ONNX.
    #[error(transparent)]
    Onnx(#[from] segmenta_onnx::ExportError),
    /// An ONNX file that cannot be written.
    #[error(transparent)]
    OnnxFile(#[from] segmenta_onnx::SaveError),
    /// Labels of what is no map.
    #[error("the result `{result}` says nothing of pixels · labels · write the result itself")]
    NoLabels {
        /// The result's name.
        result: String,
    },
    /// A picture that cannot be read or written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A network that cannot be run on this input.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model that is not said well enough to be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A place that gives no picture.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Results that cannot be put where they are wanted.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Weights with NaN or infinities.
    #[error("{}", placed(error, file))]
    Broken {
        /// Which of them.
        error: Box<RuntimeError>,
        /// Where the weights come from.
        file: String,
    },
    /// A result that is no map, of which a mask was wanted.
    #[error(
        "the result `{result}` is not a map of classes · no mask can be made of it · \
         ask for the network's result `out`"
    )]
    NoMap {
        /// Its name.
        result: String,
    },
    /// A threshold that cannot be.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// Names of classes that are not one for each.
    #[error("{} for {} · give one for each id, the background's first", count(*.given, "name"), count(*.expected, "class"))]
    Names {
        /// How many were given.
        given: usize,
        /// How many ids there are.
        expected: usize,
    },
    /// It was told to stop.
    #[error("stopped before it was done")]
    Cancelled,
    /// Neither an architecture nor a file that names one.
    #[error("{0}")]
    Unspecified(String),
    /// No network here has the names of a file.
    #[error("{}", unrecognised(.file, .nearest.as_deref(), *.encoder, .names))]
    Unrecognised {
        /// The file.
        file: String,
        /// The network that comes nearest, if one does.
        nearest: Option<Box<Nearest>>,
        /// The encoder that the file holds and nothing else.
        encoder: Option<&'static str>,
        /// The first few names in the file.
        names: Vec<String>,
    },
    /// Several networks have all the names of a file.
    #[error("the names are those of several networks: {} · {file} · name the one that it is", .fits.join(", "))]
    Ambiguous {
        /// The file.
        file: String,
        /// Their architectures.
        fits: Vec<&'static str>,
    },
    /// A file holds another network than the one that was asked for.
    #[error(
        "the file holds a {found}, not a {asked} · {file} · ask for that one, or for none: the names say it"
    )]
    AnotherNetwork {
        /// The file.
        file: String,
        /// The network asked for, in words.
        asked: String,
        /// The file's, in words.
        found: String,
        /// Its architecture.
        architecture: &'static str,
        /// Its encoder, for architectures that take one.
        encoder: Option<&'static str>,
    },
    /// A key that a checkpoint does not have.
    #[error(transparent)]
    Key(FindError),
    /// Entries that do not match by order.
    #[error(transparent)]
    Order(Box<Disorder>),
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
}

/// What · where · how to mend.
fn placed(error: &RuntimeError, file: &str) -> String {
    let text = error.to_string();
    match text.split_once(" · ") {
        Some((what, remedy)) => format!("{what} · {file} · {remedy}"),
        None => format!("{text} · {file}"),
    }
}

impl Error {
    /// The same, with the file that weights which are no numbers come from.
    pub(crate) fn of_weights_in(self, file: &str) -> Self {
        match self {
            Self::Runtime(error @ RuntimeError::WeightsNotFinite { .. }) => Self::Broken {
                error: Box::new(error),
                file: file.to_owned(),
            },
            other => other,
        }
    }
}

impl From<FindError> for Error {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Mismatch(mismatch) => Self::Mismatch(mismatch),
            FindError::Order(disorder) => Self::Order(disorder),
            other => Self::Key(other),
        }
    }
}

/// What is said of a file whose network is not known.
fn unrecognised(
    file: &str,
    nearest: Option<&Nearest>,
    encoder: Option<&str>,
    names: &[String],
) -> String {
    if let Some(nearest) = nearest {
        return format!(
            "no network has these names; the nearest is {nearest}: {} · {}",
            nearest.mismatch.problem(),
            nearest.mismatch.cause()
        );
    }
    if let Some(encoder) = encoder {
        return format!(
            "the file holds the encoder `{encoder}` alone, no network that segments · {file} · begin a \
             training with it as the encoder's weights"
        );
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "no network has names as the file's ({}, …) · {file} · if they are their author's own, name the network \
         and match them by order",
        names.join(", ")
    )
}

/// A model that is not said well enough to be loaded, or in ways that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// There is no folder to keep files of repositories in.
    #[error(
        "there is no folder for files of the hub · neither HF_HOME nor a home folder is set · set HF_HOME to a folder"
    )]
    NoHome,
    /// A folder of weights and the name of another model.
    #[error("two models are named · {} · name the folder alone", shown(.0))]
    TwoFolders(PathBuf),
    /// Neither an architecture nor a file of weights is given.
    #[error("no model is named · give an architecture, a model file, or both")]
    Unnamed,
    /// An architecture whose weights nobody publishes, and no file of weights.
    #[error("no weights are published for `{0}` · give a file of weights")]
    Unpublished(String),
    /// A model file of another architecture than the one named.
    #[error(
        "the file holds a `{found}`, not a `{named}` · {file} · name no architecture: the file does"
    )]
    OtherArchitecture {
        /// The file.
        file: String,
        /// The architecture in it.
        found: String,
        /// The architecture that was named.
        named: String,
    },
    /// A setting of the architecture that cannot be.
    #[error("{problem} · the setting {name} = {value}")]
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Computing in int8, where the file does not say what 8-bit numbers stand for.
    #[error(
        "no model file for int8: it does not say what 8-bit numbers stand for · {0} · quantise it first"
    )]
    NotQuantised(String),
    /// A network of one's own that cannot segment pictures.
    #[error("{problem} · {place} · {remedy}")]
    Custom {
        /// What is wrong.
        problem: String,
        /// With which part of the network.
        place: String,
        /// What it should be.
        remedy: &'static str,
    },
}

impl ModelError {
    pub(crate) fn setting(name: &str, value: &str, problem: String) -> Self {
        Self::Setting {
            name: name.into(),
            value: value.into(),
            problem,
        }
    }
}

/// A place that gives no picture, or not all of its pictures.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InputError {
    /// There is nothing of this name.
    #[error("no such file or folder · {} · check the path", shown(.0))]
    Missing(PathBuf),
    /// A folder in which nothing looks like a picture.
    #[error("no picture in the folder · {} · pictures end in {}", shown(.0), EXTENSIONS.join(", "))]
    NoPicture(PathBuf),
    /// A folder or pattern that has nothing but results of Segmenta.
    #[error(
        "no picture but {count} of Segmenta's own results · {} · name a file to take it all the same",
        shown(.place)
    )]
    OnlyResults {
        /// The folder or pattern.
        place: PathBuf,
        /// How many results there are.
        count: usize,
    },
    /// A pattern that is none.
    #[error(
        "{problem} · {} · * is any name, ** any folders, ? a letter, {{a,b}} one or the other",
        shown(.pattern)
    )]
    Pattern {
        /// The pattern.
        pattern: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A pattern that no picture fits.
    #[error("the pattern fits no picture · {} · check it", shown(.0))]
    NoMatch(PathBuf),
    /// A folder or link that cannot be followed.
    #[error("cannot look into it: {cause} · {} · check who may read it", shown(.path))]
    Unreadable {
        /// The folder or link.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

impl InputError {
    /// The place.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing(path) | Self::NoPicture(path) | Self::NoMatch(path) => path,
            Self::OnlyResults { place, .. } => place,
            Self::Pattern { pattern, .. } => pattern,
            Self::Unreadable { path, .. } => path,
        }
    }
}

/// Results that cannot be put where they are wanted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The folder for results is a file.
    #[error("the output folder is a file · {} · name another", shown(.0))]
    File(PathBuf),
    /// The folder for results cannot be made or written to.
    #[error(
        "cannot write to the output folder: {} · {} · name another",
        segmenta_files::reason(.cause),
        shown(.path)
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A result would replace a picture that is an input.
    #[error("a sheet would replace the picture · {} · name another output folder", shown(.0))]
    Replaces(PathBuf),
}

/// A file that could not be done, and why. Serialised, it is an object of `file` and `message`.
#[derive(Debug)]
pub struct Failure {
    file: PathBuf,
    // Results that carry one are mostly pictures that went well.
    error: Box<Error>,
}

impl Failure {
    /// `error` stopped the work on `file`.
    pub fn new(file: PathBuf, error: Error) -> Self {
        Self {
            file,
            error: Box::new(error),
        }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Why.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// `message` (what, where and how to mend) in one line that names the file, whatever its name is made of.
    pub fn name_in(&self, message: &str) -> String {
        let (raw, shown) = (self.file.display().to_string(), shown(&self.file));
        let text = message.replace(&raw, &shown);
        if text.contains(&*shown) {
            return text;
        }
        match text.split_once(" · ") {
            Some((what, remedy)) => format!("{what} · {shown} · {remedy}"),
            None => format!("{text} · {shown}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name_in(&self.error.to_string()))
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Failure", 2)?;
        fields.serialize_field("file", &self.file.to_string_lossy())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.end()
    }
}

/// A path as text that stays on its line: control characters are escaped.
fn shown(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    if !text.chars().any(char::is_control) {
        return text;
    }
    let escape = |c: char| -> String {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.into()
        }
    };
    text.chars().map(escape).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use segmenta_graph::Shape;

    #[test]
    fn a_failure_names_its_file_in_one_line() {
        let shape = Shape::new(1, 3, 9000, 7000);
        let short = RuntimeError::Memory {
            shape,
            bytes: 1 << 34,
        };
        let failure = Failure::new("a\nb.jpg".into(), short.into());
        let text = failure.to_string();
        assert!(text.contains(" · a\\nb.jpg"), "{text}");
        assert!(!text.contains('\n'), "{text}");
        let missing = Failure::new("c".into(), InputError::Missing("c".into()).into());
        let text = missing.to_string();
        assert_eq!(text, "no such file or folder · c · check the path");
    }
}
