//! Models of the Hugging Face hub and folders like theirs: what they say of themselves as a model file's card.

use std::path::{Path, PathBuf};

use segmenta_files::count;
use segmenta_hub::{
    Class, Client, Environment, FolderError, ModelFolder, Processor, RepositoryName, Snapshot,
    SnapshotError, licence_of,
};
use segmenta_weights::{CARD_VERSION, Filter, ModelCard, Preprocessing, Progress, Resize};
use segmenta_zoo::{Architecture, Options, Recipe, architectures, find, hub_classes};

use crate::describe::Description;
use crate::error::{Error, ModelError};

/// What a name means that no architecture has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A repository of the hub.
    Repository(RepositoryName),
}

impl Named {
    /// What `name` means, if it is no architecture's: a folder where there is one or it is written as a path; with a
    /// slash, a repository. `None` for a short name.
    ///
    /// # Errors
    /// If it has a slash and is neither.
    pub(crate) fn of(name: &str) -> Result<Option<Self>, Error> {
        let path = Path::new(name);
        let is_path = path.is_absolute()
            || name.starts_with(['.', '~'])
            || name.ends_with('/')
            || name.contains('\\');
        if find(name).is_err() && (is_path || path.is_dir()) {
            return Ok(Some(Self::Folder(path.into())));
        }
        if name.contains('/') {
            return Ok(Some(Self::Repository(name.parse()?)));
        }
        Ok(None)
    }
}

/// A model as its folder describes it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) card: ModelCard,
    /// Where it comes from, in words.
    pub(crate) source: String,
    /// What is worth knowing of how it was read.
    pub(crate) notes: Vec<String>,
    /// Its file of weights, where it was asked for.
    pub(crate) weights: Option<PathBuf>,
    /// The module whose entries the file has, with a dot: of an encoder alone; nothing of a whole network.
    #[cfg_attr(
        not(feature = "train"),
        expect(dead_code, reason = "training alone begins with an encoder")
    )]
    pub(crate) part: &'static str,
}

/// What a model is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To know what it is.
    Look,
    /// To be run, by its weights.
    Run,
    /// To be trained on, by its weights: an encoder alone does, whose head is fresh then.
    Train,
}

/// Encoders by themselves: their class, the class of the network that stands on one, and the module that they are in it.
const ENCODERS: [(&str, &str, &str); 2] = [
    (
        "SegformerForImageClassification",
        "SegformerForSemanticSegmentation",
        "segformer.",
    ),
    (
        "SegformerModel",
        "SegformerForSemanticSegmentation",
        "segformer.",
    ),
];

/// Reads what a name means; with its weights unless it is only looked at.
pub(crate) fn describe(
    named: &Named,
    purpose: Purpose,
    progress: &mut dyn FnMut(Progress),
) -> Result<Described, Error> {
    match named {
        Named::Folder(path) => {
            let folder = ModelFolder::open(path)?;
            let mut described = of_folder(&folder, purpose, path.display().to_string())?;
            if purpose != Purpose::Look {
                described.weights = Some(folder.weights()?);
            }
            Ok(described)
        }
        Named::Repository(name) => of_repository(name, purpose, progress),
    }
}

fn of_repository(
    name: &RepositoryName,
    purpose: Purpose,
    progress: &mut dyn FnMut(Progress),
) -> Result<Described, Error> {
    let environment = Environment::from_env().ok_or(ModelError::NoHome)?;
    let client = Client::new(environment);
    let snapshot = Snapshot::begin(&client, name, progress)?;
    // What cannot be loaded is not downloaded.
    let mut described = of_folder(snapshot.folder(), purpose, name.to_string())?;
    if let Some(why) = snapshot.unasked() {
        described.notes.push(format!(
            "the hub cannot be reached ({why}) · {name} · what the cache has is taken"
        ));
    }
    described.card.licence = licence_of(name.id(), described.card.licence);
    let source = format!("{} at {}", name.id(), &snapshot.commit()[..8]);
    described.card.source = Some(source.clone());
    described.source = source;
    if purpose != Purpose::Look {
        described.weights = Some(snapshot.with_weights(progress)?.weights()?);
    }
    Ok(described)
}

/// The card of a folder.
fn of_folder(folder: &ModelFolder, purpose: Purpose, source: String) -> Result<Described, Error> {
    let mut part = "";
    let (architecture, mut card, notes) = match folder.config().class()? {
        Class::Transformers(class) => {
            let encoder = ENCODERS.iter().find(|(known, _, _)| *known == class);
            match encoder {
                Some(&(_, network, module)) if purpose == Purpose::Train => {
                    part = module;
                    of_encoder(folder, network)?
                }
                Some((_, network, _)) => return Err(encoder_alone(folder, &class, network)),
                None => of_transformers(folder, &class)?,
            }
        }
        Class::Smp(class) => of_smp(folder, &class)?,
    };
    card.architecture = architecture.name.into();
    card.source = Some(source.clone());
    card.licence = folder.licence();
    Ok(Described {
        card,
        source,
        notes,
        weights: None,
        part,
    })
}

type Read = (&'static Architecture, ModelCard, Vec<String>);

fn of_transformers(folder: &ModelFolder, class: &str) -> Result<Read, Error> {
    let config = folder.config();
    let architecture = hub_classes().find(|architecture| architecture.name == class);
    let Some(architecture) = architecture else {
        let known: Vec<&str> = hub_classes().map(|class| class.name).collect();
        return Err(unknown_class(folder, class, &known));
    };
    let (classes, named) = config.classes()?;
    let (card, mut notes) = prepared(folder, architecture, classes)?;
    if !named {
        let unnamed = format!(
            "config.json names no classes (id2label), so that there are {} without names · {}",
            count(card.classes.len(), "class"),
            config.path().display()
        );
        notes.insert(0, unnamed);
    }
    Ok((architecture, card, notes))
}

/// A network of the class `network` on the encoder that a folder has: its head, and so its classes, are the file's to
/// say nothing of.
fn of_encoder(folder: &ModelFolder, network: &str) -> Result<Read, Error> {
    let architecture = find(network)?;
    let (card, mut notes) = prepared(folder, architecture, Vec::new())?;
    notes.push("an encoder alone: the head begins fresh".into());
    Ok((architecture, card, notes))
}

fn encoder_alone(folder: &ModelFolder, class: &str, network: &str) -> Error {
    Error::Folder(FolderError {
        what: format!("it is an encoder alone (`{class}`), which knows no classes of pixels"),
        path: folder.path().into(),
        remedy: format!("train a {network} that begins with it: as model.arch of a recipe"),
    })
}

/// The card of a network with these classes, as far as the folder's fields and its processor say it.
fn prepared(
    folder: &ModelFolder,
    architecture: &Architecture,
    classes: Vec<String>,
) -> Result<(ModelCard, Vec<String>), Error> {
    let config = folder.config();
    let mut notes = Vec::new();
    let processor = folder.processor()?;
    let processor = processor.or_else(|| {
        let usual = Processor::of_class(architecture.name)?;
        notes.push(format!(
            "there is no preprocessor_config.json, so that pictures are prepared as transformers does by default \
             for this class · {}",
            folder.path().display()
        ));
        Some(usual)
    });
    let preprocessing = processor.map_or_else(own_size, |processor| processor.preprocessing);
    let card = ModelCard {
        options: config.options(architecture.fields().iter().copied()),
        in_channels: config.count("num_channels", 3)?,
        ..card(classes, preprocessing)
    };
    Ok((card, notes))
}

/// segmentation_models_pytorch names its classes as we do, but for capitals.
fn of_smp(folder: &ModelFolder, class: &str) -> Result<Read, Error> {
    let config = folder.config();
    let name = class.to_lowercase();
    let found = architectures()
        .iter()
        .find(|architecture| architecture.has_encoder && architecture.name == name);
    let Some(architecture) = found else {
        let all = architectures().iter().filter(|a| a.has_encoder);
        let known: Vec<&str> = all.map(|architecture| architecture.name).collect();
        return Err(unknown_class(folder, class, &known));
    };
    let classes = config.class_count("classes", 1)?;
    let names = (0..classes).map(|id| format!("class {id}")).collect();
    let mut options = config.options(architecture.settings());
    let activation = options.get("activation").map(String::as_str);
    let takes_largest = activation == Some("argmax2d") && classes > 1;
    if activation == Some("argmax") {
        return Err(Error::Folder(FolderError {
            what: "its result is one number, the place of the largest of all logits (activation `argmax`)"
                .into(),
            path: config.path().into(),
            remedy: "set activation in config.json to null for logits".into(),
        }));
    }
    let mut notes = vec![format!(
        "the file names no classes and says nothing of how pictures are prepared: they keep their size, with \
         ImageNet's mean and deviation · {}",
        config.path().display()
    )];
    let mut known = architecture.settings();
    known.extend(["encoder_name", "encoder_weights", "in_channels", "classes"]);
    let unknown = config.unknown(&known);
    if let Some(first) = unknown.first() {
        notes.push(format!(
            "{} of the file left out, which `{name}` does not have: `{first}`{} · {}",
            count(unknown.len(), "field"),
            if unknown.len() > 1 { ", …" } else { "" },
            config.path().display()
        ));
    }
    if takes_largest {
        options.remove("activation");
        notes.push(
            "its result is the class of the largest logit (activation `argmax2d`): the logits are kept instead, \
             of which masks are the same"
                .into(),
        );
    }
    let encoder = config.field("encoder_name").and_then(|name| name.as_str());
    let card = ModelCard {
        encoder: encoder.map(Into::into),
        options,
        in_channels: config.count("in_channels", 3)?,
        ..card(names, own_size())
    };
    Ok((architecture, card, notes))
}

/// ImageNet's mean and deviation at the picture's own size.
fn own_size() -> Preprocessing {
    Preprocessing {
        resize: Resize::None,
        filter: Filter::default(),
        center_crop: None,
        mean: Recipe::IMAGENET.mean.to_vec(),
        std: Recipe::IMAGENET.std.to_vec(),
        pad: None,
        channel_order: segmenta_weights::ChannelOrder::default(),
        middle: segmenta_weights::Middle::Transformers,
        windows: false,
    }
}

fn card(classes: Vec<String>, preprocessing: Preprocessing) -> ModelCard {
    ModelCard {
        format_version: CARD_VERSION,
        architecture: String::new(),
        encoder: None,
        options: [].into(),
        classes,
        palette: None,
        in_channels: 3,
        preprocessing,
        answer: None,
        int8: None,
        training: None,
        source: None,
        licence: None,
    }
}

fn unknown_class(folder: &ModelFolder, class: &str, known: &[&str]) -> Error {
    Error::Folder(FolderError {
        what: format!("networks of the class `{class}` cannot be loaded"),
        path: folder.path().into(),
        remedy: format!("there are {}", known.join(", ")),
    })
}

impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Repository(error) => Self::Repository(error),
            SnapshotError::Folder(error) => Self::Folder(error),
        }
    }
}

/// What a repository of the hub, or a folder like one, says of itself; its weights are not looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubModel {
    /// Its architecture.
    pub architecture: &'static str,
    /// What the network is built with.
    pub options: Options,
    /// What it is.
    pub description: Description,
    /// What is worth knowing of how it was read.
    pub notes: Vec<String>,
}

impl HubModel {
    /// The model of a name: `OWNER/NAME`, `OWNER/NAME@REVISION` or a folder; `None` of a short name, which is an
    /// architecture's or nobody's.
    ///
    /// # Errors
    /// No such folder or repository, one that holds no network which can be loaded, or no network to ask by.
    pub fn find(name: &str, progress: &mut dyn FnMut(Progress)) -> Result<Option<Self>, Error> {
        let Some(named) = Named::of(name)? else {
            return Ok(None);
        };
        let described = describe(&named, Purpose::Look, progress)?;
        let architecture = find(&described.card.architecture)?;
        let none = segmenta_weights::StateDict::from_tensors([]);
        let source = described.source;
        let description = Description::from_card(&described.card, &none, architecture, source)?;
        Ok(Some(Self {
            architecture: architecture.name,
            options: description.options.clone(),
            description,
            notes: described.notes,
        }))
    }
}

mod save;

pub use save::{SavedFolder, save_pretrained};

#[cfg(test)]
mod processors;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_folder_a_repository_or_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let named = |name: &str| Named::of(name).unwrap();
        assert_eq!(named(path), Some(Named::Folder(path.into())));
        assert_eq!(named("./none"), Some(Named::Folder("./none".into())));
        assert_eq!(named("unet"), None);
        assert_eq!(named("resnet5"), None);
        let repository = Named::Repository("a/b@v1".parse().unwrap());
        assert_eq!(named("a/b@v1"), Some(repository));
        assert!(Named::of("a/b/c").is_err());
    }
}
