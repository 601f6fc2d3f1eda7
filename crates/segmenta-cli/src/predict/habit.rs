//! `model=… source=…`: how another tool is spoken to, answered with what to type here.

use std::path::PathBuf;

use crate::message::Usage;

/// What is said to inputs that are KEY=VALUE and no files; `None` where there is none.
pub(super) fn answer(inputs: &[PathBuf]) -> Option<Usage> {
    let pairs = inputs.iter().filter(|path| !path.exists());
    let pairs: Vec<(String, String)> = pairs
        .filter_map(|path| {
            let text = path.to_string_lossy();
            let (key, value) = text.split_once('=')?;
            let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            is_key.then(|| (key.to_owned(), value.to_owned()))
        })
        .collect();
    let value = |key: &str| {
        pairs
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, v)| v.as_str())
    };
    if !["model", "source", "imgsz", "device"]
        .iter()
        .any(|key| value(key).is_some())
    {
        return None;
    }
    let mut words = vec!["segmenta predict".to_owned()];
    let plain = inputs
        .iter()
        .map(|path| path.to_string_lossy().into_owned());
    words.extend(plain.filter(|word| !pairs.iter().any(|(k, v)| *word == format!("{k}={v}"))));
    words.extend(value("source").map(Into::into));
    if words.len() == 1 {
        words.push("photo.jpg".into());
    }
    words.extend(value("model").map(|model| {
        let is_file = [".pt", ".pth", ".ckpt", ".safetensors"]
            .iter()
            .any(|end| model.ends_with(end));
        format!("{} {model}", if is_file { "--weights" } else { "--model" })
    }));
    words.extend(value("imgsz").map(|side| format!("--resize long:{side}")));
    words.extend(value("device").map(|device| format!("--device {device}")));
    Some(Usage(format!(
        "options are written as --option value here, and pictures stand alone · type: {}",
        words.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_tools_words_are_answered_with_ours() {
        let said = |words: &[&str]| {
            let inputs: Vec<PathBuf> = words.iter().map(Into::into).collect();
            answer(&inputs).map(|usage| usage.0)
        };
        let told = said(&["model=best.pt", "source=street.jpg", "imgsz=640"]).unwrap();
        assert!(
            told.ends_with("segmenta predict street.jpg --weights best.pt --resize long:640"),
            "{told}"
        );
        let told = said(&["a.jpg", "model=fcn_resnet50"]).unwrap();
        assert!(
            told.ends_with("segmenta predict a.jpg --model fcn_resnet50"),
            "{told}"
        );
        assert_eq!(said(&["a=b.jpg"]), None, "a file of an odd name");
        assert_eq!(said(&["photo.jpg"]), None);
    }
}
