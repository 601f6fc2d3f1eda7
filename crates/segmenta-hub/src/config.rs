//! `config.json`: which class of network, which classes of pixels, which fields.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta_files::{count, reason};
use serde_json::{Map, Value};

use crate::error::FolderError;

/// Ids are bytes.
const MOST_CLASSES: usize = 256;
/// Classes of those who name none, as transformers has it.
const DEFAULT_CLASSES: usize = 2;

/// A text without the byte order mark that editors of Windows put before it.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What a `config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    path: PathBuf,
    fields: Map<String, Value>,
}

/// Mean and deviation that a backbone's input has: values in 0 to 1, red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What is subtracted.
    pub mean: [f32; 3],
    /// What divides the rest.
    pub std: [f32; 3],
}

/// Which library wrote a `config.json`, and which class of it the network is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// transformers': `SegformerForSemanticSegmentation`.
    Transformers(String),
    /// segmentation_models_pytorch's: `Unet`.
    Smp(String),
}

impl Config {
    /// The `config.json` of a folder.
    ///
    /// # Errors
    /// If there is none, or it is no JSON object.
    pub fn open(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join("config.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(FolderError::new(
                    "the folder has no config.json, which says what network it is of",
                    folder,
                    "give a folder that save_pretrained wrote or a clone of the hub's, or a file of weights \
                     by itself",
                ));
            }
            Err(error) => {
                let what = format!("config.json cannot be read: {}", reason(&error));
                return Err(FolderError::new(what, path, "check who may read it"));
            }
        };
        match serde_json::from_str(without_mark(&text)) {
            Ok(Value::Object(fields)) => Ok(Self { path, fields }),
            Ok(_) => Err(FolderError::new(
                "config.json is no object",
                path,
                "get the file again",
            )),
            Err(error) => Err(FolderError::new(
                format!("config.json is no JSON: {error}"),
                path,
                "get the file again",
            )),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class, by `architectures` and never by `model_type`: files of other networks have that of SegFormer.
    ///
    /// # Errors
    /// If the file names no class.
    pub fn class(&self) -> Result<Class, FolderError> {
        let first = self
            .fields
            .get("architectures")
            .and_then(|list| list.get(0)?.as_str());
        if let Some(class) = first {
            return Ok(Class::Transformers(class.into()));
        }
        let smp = self.fields.get("_model_class").and_then(Value::as_str);
        if let Some(class) = smp {
            return Ok(Class::Smp(class.into()));
        }
        Err(FolderError::new(
            "config.json names no class of network (`architectures`)",
            &self.path,
            "give the folder of a network for semantic segmentation; a backbone alone has no classes",
        ))
    }

    /// A field; `None` if it is left out or `null`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Those of `names` that are given, as [`ModelCard`](segmenta_weights::ModelCard) has options: words as they
    /// are, anything else as JSON.
    pub fn options<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> BTreeMap<String, String> {
        let option = |name: &str| {
            let value = self.field(name)?;
            let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
            Some((name.to_owned(), text))
        };
        names.into_iter().filter_map(option).collect()
    }

    /// A whole number.
    ///
    /// # Errors
    /// If the field is something else.
    pub fn count(&self, name: &str, default: usize) -> Result<usize, FolderError> {
        let Some(value) = self.field(name) else {
            return Ok(default);
        };
        let count = value.as_u64().and_then(|count| count.try_into().ok());
        count.ok_or_else(|| self.strange(name, value, "a whole number"))
    }

    /// Fields that are not among `known`, and not the library's own notes, which begin with an underscore.
    pub fn unknown<'c>(&'c self, known: &[&str]) -> Vec<&'c str> {
        let names = self.fields.keys().map(String::as_str);
        names
            .filter(|name| !name.starts_with('_') && !known.contains(name))
            .collect()
    }

    /// A number of classes, as many as label maps can hold.
    ///
    /// # Errors
    /// If the field is something else, or there are none or more than 256.
    pub fn class_count(&self, name: &str, default: usize) -> Result<usize, FolderError> {
        self.few(self.count(name, default)?)
    }

    /// Mean and deviation of the input, as SMP's encoders (`mean`, `std`, `input_range`) and timm's networks
    /// (`pretrained_cfg`) have them; `None` if the file does not say.
    ///
    /// # Errors
    /// Values that are no three numbers, or another order of colours than red, green, blue.
    pub fn normalisation(&self) -> Result<Option<Normalisation>, FolderError> {
        let timm = self.field("pretrained_cfg").and_then(Value::as_object);
        let fields = timm.unwrap_or(&self.fields);
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        let (Some(mean), Some(std)) = (given("mean"), given("std")) else {
            return Ok(None);
        };
        if let Some(space) = given("input_space")
            && space.as_str() != Some("RGB")
        {
            return Err(self.strange("input_space", space, "RGB"));
        }
        let range = given("input_range").and_then(|range| range.get(1)?.as_f64());
        // Where values run up to 255, mean and deviation do, too.
        let top = range.unwrap_or(1.0) as f32;
        let three = |name: &str, value: &Value, least: f32| {
            let values = value.as_array().map(|list| list.iter().map(Value::as_f64));
            let values: Option<Vec<f64>> = values.and_then(Iterator::collect);
            let values = values.and_then(|values| <[f64; 3]>::try_from(values).ok());
            let values = values.map(|values| values.map(|value| value as f32 / top));
            let sound = |values: &[f32; 3]| values.iter().all(|v| v.is_finite() && *v >= least);
            let wanted = "a number for each of three colours";
            values
                .filter(sound)
                .ok_or_else(|| self.strange(name, value, wanted))
        };
        Ok(Some(Normalisation {
            mean: three("mean", mean, f32::MIN)?,
            // It divides.
            std: three("std", std, f32::MIN_POSITIVE)?,
        }))
    }

    /// The names of the classes by id, and whether the file has them.
    ///
    /// # Errors
    /// Ids that are no row from 0 on, or more than 256.
    pub fn classes(&self) -> Result<(Vec<String>, bool), FolderError> {
        let unnamed =
            |count: usize| -> Vec<String> { (0..count).map(|id| format!("class {id}")).collect() };
        let Some(table) = self.field("id2label") else {
            let count = self.class_count("num_labels", DEFAULT_CLASSES)?;
            return Ok((unnamed(count), false));
        };
        let Value::Object(table) = table else {
            return Err(self.strange("id2label", table, "names by id"));
        };
        let mut names = unnamed(self.few(table.len())?);
        for (id, name) in table {
            let at = id
                .trim()
                .parse()
                .ok()
                .filter(|&at: &usize| at < table.len());
            let name = name.as_str().map(str::trim);
            match (at, name) {
                (Some(at), Some(name)) if !name.is_empty() => names[at] = name.into(),
                (Some(_), Some(_)) => {}
                (Some(_), None) => return Err(self.strange("id2label", &table[id], "a name")),
                (None, _) => {
                    let what = format!("id2label has the id “{id}” among {} ids", table.len());
                    let remedy = "number the classes from 0 on, without holes";
                    return Err(FolderError::new(what, &self.path, remedy));
                }
            }
        }
        Ok((names, true))
    }

    /// A number of classes that label maps can hold: known before any name is made.
    fn few(&self, classes: usize) -> Result<usize, FolderError> {
        if (1..=MOST_CLASSES).contains(&classes) {
            return Ok(classes);
        }
        Err(FolderError::new(
            format!("the network has {}", count(classes, "class")),
            &self.path,
            format!("label maps hold 1 to {MOST_CLASSES} classes: take a network of fewer"),
        ))
    }

    fn strange(&self, name: &str, value: &Value, wanted: &str) -> FolderError {
        let text: String = value.to_string().chars().take(40).collect();
        let what = format!("the field `{name}` is {text}, not {wanted}");
        FolderError::new(what, &self.path, "get the file again, or correct it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, FolderError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), text).unwrap();
        Config::open(folder.path())
    }

    #[test]
    fn the_class_is_what_architectures_says() {
        let class = |text: &str| config(text).unwrap().class();
        let rmbg =
            r#"{"model_type": "SegformerForSemanticSegmentation", "architectures": ["BriaRMBG"]}"#;
        assert_eq!(class(rmbg).unwrap(), Class::Transformers("BriaRMBG".into()));
        let smp = r#"{"_model_class": "Unet", "classes": 3}"#;
        assert_eq!(class(smp).unwrap(), Class::Smp("Unet".into()));
        for text in [
            "{}",
            r#"{"architectures": []}"#,
            r#"{"architectures": null}"#,
        ] {
            assert!(
                class(text)
                    .unwrap_err()
                    .to_string()
                    .contains("names no class")
            );
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let marked = config("\u{feff}{\"num_labels\": 3}").unwrap();
        assert_eq!(marked.classes().unwrap().0.len(), 3);
    }

    #[test]
    fn fields_that_nobody_knows_are_named() {
        let config =
            config(r#"{"_model_class": "Unet", "classes": 2, "decoder_use_batchnorm": true}"#);
        assert_eq!(
            config.unwrap().unknown(&["classes"]),
            ["decoder_use_batchnorm"]
        );
    }

    #[test]
    fn classes_stand_by_their_ids() {
        let classes = |text: &str| config(text).unwrap().classes();
        let mixed = r#"{"id2label": {"1": "sky", "0": "road", "2": ""}}"#;
        let names = ["road", "sky", "class 2"].map(String::from).to_vec();
        assert_eq!(classes(mixed).unwrap(), (names, true));
        assert_eq!(classes("{}").unwrap().0.len(), 2);
        assert_eq!(classes(r#"{"num_labels": 5}"#).unwrap().0.len(), 5);
        for (text, word) in [
            (r#"{"id2label": {"0": "a", "7": "b"}}"#, "“7”"),
            (r#"{"id2label": {"0": 3}}"#, "a name"),
            (r#"{"id2label": []}"#, "names by id"),
            (r#"{"id2label": {}}"#, "0 classes"),
            (r#"{"num_labels": 847}"#, "847 classes"),
            (
                r#"{"num_labels": 1000000000000000}"#,
                "1000000000000000 classes",
            ),
            (r#"{"num_labels": "many"}"#, "num_labels"),
        ] {
            let said = classes(text).unwrap_err().to_string();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn mean_and_deviation_stand_where_smp_and_timm_write_them() {
        let said = |text: &str| config(text).unwrap().normalisation();
        let smp = r#"{"mean": [0.5, 0.25, 0], "std": [1, 1, 0.5], "input_space": "RGB", "input_range": [0, 1]}"#;
        let smp = said(smp).unwrap().unwrap();
        assert_eq!((smp.mean, smp.std), ([0.5, 0.25, 0.0], [1.0, 1.0, 0.5]));
        let timm = r#"{"architecture": "x", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;
        assert_eq!(said(timm).unwrap().unwrap().std, [0.5; 3]);
        let bytes = r#"{"mean": [255, 0, 51], "std": [255, 255, 255], "input_range": [0, 255]}"#;
        let bytes = said(bytes).unwrap().unwrap();
        assert_eq!((bytes.mean, bytes.std), ([1.0, 0.0, 0.2], [1.0; 3]));
        assert_eq!(said(r#"{"mean": [1, 2, 3]}"#).unwrap(), None);
        for (text, word) in [
            (r#"{"mean": [1, 2], "std": [1, 1, 1]}"#, "`mean`"),
            (r#"{"mean": [1, 2, 3], "std": "x"}"#, "`std`"),
            (r#"{"mean": [1, 2, 3], "std": [1, 1, 0]}"#, "`std`"),
            (
                r#"{"mean": [1, 2, 3], "std": [1, 1, 1], "input_space": "BGR"}"#,
                "`input_space`",
            ),
        ] {
            let error = said(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let none = Config::open(folder.path()).unwrap_err().to_string();
        assert!(none.contains("no config.json"), "{none}");
        for text in ["", "[1]", "{\"a\":"] {
            assert!(
                config(text)
                    .unwrap_err()
                    .to_string()
                    .contains("config.json is no")
            );
        }
    }
}
