//! What a recipe's `model.encoder_weights` means: a name, a file, a repository, or nothing.

use std::path::Path;

use segmenta_hub::{
    DEFAULT_WEIGHTS, EncoderWeights, RepositoryName, find_encoder_weights, is_non_commercial,
    weights_of_encoder,
};
use segmenta_train::run::{Config, ENCODER, FRESH, Found, Note, RunError};
use segmenta_weights::Progress;
use segmenta_zoo::{find, find_encoder};

use crate::encoder_weights::EncoderFile;
use crate::error::Error;

/// Finds what the encoder of a new run begins with, and puts down what was found: the word, the file, mean and
/// deviation of pictures where the recipe leaves them open. What there is to tell.
///
/// # Errors
/// A word that means nothing for this encoder; weights that cannot be had.
pub(super) fn settle(
    config: &mut Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Note>, RunError> {
    let Some(encoder) = encoder_of(config)? else {
        return Ok(None);
    };
    let asked = config.model.encoder_weights.clone();
    let word = match &asked {
        Some(word) => word.clone(),
        // A network's own weights bring the encoder's.
        None if config.model.weights.is_some() || config.model.hub_file.is_some() => {
            return Ok(None);
        }
        None if find_encoder_weights(&encoder, DEFAULT_WEIGHTS).is_some() => DEFAULT_WEIGHTS.into(),
        None => {
            let others = weights_of_encoder(&encoder).map(|row| row.name.clone());
            let others: Vec<String> = others.collect();
            return Ok((!others.is_empty()).then_some(Note::FreshEncoder { encoder, others }));
        }
    };
    if word == FRESH {
        return Ok(None);
    }
    let meaning = Meaning::of(&word, &encoder).map_err(|problem| RunError::Config {
        origin: "model.encoder_weights".into(),
        problem,
    })?;
    let found = match meaning {
        Meaning::File => return Ok(None),
        Meaning::Row(row) => EncoderFile::pull(row, progress),
        Meaning::Folder => EncoderFile::of_folder(Path::new(&word)),
        Meaning::Repository => word
            .parse::<RepositoryName>()
            .map_err(Error::from)
            .and_then(|name| EncoderFile::of_repository(&name, progress)),
    };
    let file = found.map_err(|error| {
        RunError::Unavailable(format!(
            "{encoder} cannot begin with the weights `{word}`: {error} · or begin fresh: \
             model.encoder_weights = \"{FRESH}\""
        ))
    })?;
    let mut more = file.notes;
    let licence = file.licence.as_deref();
    if licence.is_some_and(is_non_commercial) {
        more.insert(0, "NOT FOR COMMERCIAL USE".into());
    }
    match file.normalisation {
        Some(normalisation) => {
            let input = &mut config.input;
            input.mean.get_or_insert(normalisation.mean);
            input.std.get_or_insert(normalisation.std);
        }
        None => more.push(
            "nothing beside the file says how pictures are prepared for it: input.mean and input.std do, or \
             ImageNet's"
                .into(),
        ),
    }
    config.model.encoder_weights = Some(word.clone());
    let source = Found {
        path: file.path,
        source: file.source,
        licence: file.licence,
        part: ENCODER,
        classes: Vec::new(),
    };
    config.model.encoder_file = Some(source.clone());
    Ok(Some(Note::Encoder {
        encoder,
        weights: word,
        source,
        asked: asked.is_some(),
        more,
    }))
}

/// The name of the encoder, if the network has one.
fn encoder_of(config: &Config) -> Result<Option<String>, RunError> {
    let architecture = find(&config.model.arch)?;
    let named = config.model.encoder.as_deref();
    let named = named.or_else(|| architecture.default_encoder());
    match named.filter(|_| architecture.has_encoder) {
        Some(name) => Ok(Some(find_encoder(name)?.name.into())),
        None => Ok(None),
    }
}

/// What a word means.
#[derive(Debug, PartialEq)]
enum Meaning {
    Row(&'static EncoderWeights),
    File,
    Folder,
    Repository,
}

impl Meaning {
    /// Published weights by their name, before a file of that name; a file or a folder where there is one; what looks
    /// like a path is one, and OWNER/NAME is a repository.
    fn of(word: &str, encoder: &str) -> Result<Self, String> {
        if let Some(row) = find_encoder_weights(encoder, word) {
            return Ok(Self::Row(row));
        }
        let path = Path::new(word);
        if path.is_dir() {
            return Ok(Self::Folder);
        }
        let suffix = path.extension().and_then(|suffix| suffix.to_str());
        let is_weights = suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix));
        let is_path = path.is_absolute() || word.starts_with(['.', '~']) || word.contains('\\');
        if path.is_file() || is_path || is_weights {
            return Ok(Self::File);
        }
        if word.contains('/') {
            return Ok(Self::Repository);
        }
        let names: Vec<&str> = weights_of_encoder(encoder)
            .map(|row| row.name.as_str())
            .collect();
        let there = match &names[..] {
            [] => format!("none are published for {encoder}"),
            _ => format!("{encoder} has {}", names.join(", ")),
        };
        Err(format!(
            "no weights are called “{word}”, and there is no such file · {there}; or give a file, OWNER/NAME of the \
             hub, or \"{FRESH}\""
        ))
    }
}

/// How files of weights end.
const SUFFIXES: [&str; 5] = ["safetensors", "pth", "pt", "ckpt", "bin"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_weights_a_file_or_a_repository() {
        let of = |word: &str| Meaning::of(word, "resnet18");
        assert!(matches!(of("SSL"), Ok(Meaning::Row(row)) if row.name == "ssl"));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of(folder.path().to_str().unwrap()), Ok(Meaning::Folder));
        // What ends as weights do is no repository, wherever it is looked for.
        assert_eq!(of("weights/r18.pth"), Ok(Meaning::File));
        assert_eq!(of("./none"), Ok(Meaning::File));
        assert_eq!(of("timm/resnet18.a1_in1k"), Ok(Meaning::Repository));
        let said = of("noisy-student").unwrap_err();
        assert!(said.contains("imagenet, ssl, swsl"), "{said}");
    }

    fn settled(recipe: &str) -> Result<(Config, Option<Note>), String> {
        let mut config = Config::parse(recipe, &[], "the test").unwrap();
        let note = settle(&mut config, &mut |_| {}).map_err(|error| error.to_string())?;
        Ok((config, note))
    }

    #[test]
    fn what_needs_no_published_weights_asks_for_none() {
        for recipe in [
            "[model]\narch = \"segnet\"",
            "[model]\nencoder = \"resnet18\"\nencoder_weights = \"none\"",
            "[model]\nencoder = \"resnet18\"\nweights = \"mine.safetensors\"",
            "[model]\nencoder = \"resnet18\"\nencoder_weights = \"mine.pth\"",
        ] {
            let (config, note) = settled(recipe).unwrap();
            assert_eq!((note, config.model.encoder_file), (None, None), "{recipe}");
            assert_eq!(config.input.mean, None);
        }
        let (_, note) = settled("[model]\nencoder = \"resnext101_32x4d\"").unwrap();
        let said = note.unwrap().to_string();
        assert!(
            said.contains("begins fresh") && said.contains("ssl, swsl"),
            "{said}"
        );
    }

    #[test]
    fn a_repository_s_folder_gives_weights_and_how_pictures_are_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let recipe = format!(
            "[model]\nencoder = \"resnet18\"\nencoder_weights = {:?}\n[input]\nstd = [0.1, 0.2, 0.3]",
            path.to_str().unwrap()
        );
        let said = settled(&recipe).unwrap_err();
        assert!(
            said.contains("no weights") && said.contains("\"none\""),
            "{said}"
        );
        std::fs::write(path.join("model.safetensors"), [0; 8]).unwrap();
        let (_, note) = settled(&recipe).unwrap();
        let said = note.unwrap().to_string();
        assert!(said.contains("or ImageNet's"), "{said}");
        let config = r#"{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}"#;
        std::fs::write(path.join("config.json"), config).unwrap();
        std::fs::write(path.join("README.md"), "---\nlicense: cc-by-nc-4.0\n---\n").unwrap();
        let (config, note) = settled(&recipe).unwrap();
        // What the recipe says stands.
        assert_eq!(config.input.normalisation(), [[0.5; 3], [0.1, 0.2, 0.3]]);
        let file = config.model.encoder_file.unwrap();
        assert_eq!(file.path, path.join("model.safetensors"));
        let said = note.unwrap().to_string();
        assert!(
            said.contains("cc-by-nc-4.0 · NOT FOR COMMERCIAL USE"),
            "{said}"
        );
        assert!(!said.contains("to begin fresh"), "{said}");
    }
}
