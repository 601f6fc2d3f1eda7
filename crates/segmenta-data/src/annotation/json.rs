//! JSON that may be of another format than the one that was asked for.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::DataError;

/// A text as a document of the format `name`. What it is instead is said where that can be seen.
pub(crate) fn read<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    name: &str,
    remedy: &str,
) -> Result<T, DataError> {
    parse(text, name, remedy).map_err(|(what, remedy)| DataError::at(what, path, remedy))
}

fn parse<T: DeserializeOwned>(text: &str, name: &str, remedy: &str) -> Result<T, (String, String)> {
    if text.trim().is_empty() {
        return Err(("an empty file".into(), remedy.into()));
    }
    let error = match serde_json::from_str(text) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    // A document of the wanted format with a fault in it is sent nowhere else: the fault is said.
    if error.is_data()
        && let Some((what, remedy)) = recognise(text)
        && what != format!("{name}'s JSON")
    {
        return Err((
            format!("no annotations of {name}: this looks like {what}"),
            remedy.into(),
        ));
    }
    // Python writes numbers that are none as words, which JSON does not have.
    let line = text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let place = error.column().saturating_sub(1);
    let near = line.get(place.saturating_sub(1)..).unwrap_or_default();
    let none = ["NaN", "Infinity"].into_iter().find(|word| {
        let near = near.trim_start_matches(['-', ' ', '[', ',', ':']);
        near.starts_with(word) || near.starts_with(&word[1..])
    });
    let what = match none {
        Some(word) => format!(
            "a value that is no number ({word}) at line {} column {}",
            error.line(),
            error.column()
        ),
        None if error.is_data() && text.trim_start().starts_with('[') => {
            format!("no annotations of {name}: the document is a list, not an object")
        }
        None => {
            let problem = segmenta_files::of_type(&error.to_string());
            format!("no annotations of {name} ({problem})")
        }
    };
    Err((what, remedy.into()))
}

/// Which format a JSON document has, by its keys, and what to do with it.
fn recognise(text: &str) -> Option<(&'static str, &'static str)> {
    let document: Value = serde_json::from_str(text).ok()?;
    let first = match &document {
        Value::Array(all) => all.first()?,
        other => other,
    };
    let has = |keys: &[&str]| keys.iter().all(|key| first.get(key).is_some());
    let listed = document.is_array();
    let in_first = |keys: &[&str]| {
        let values = first.as_object().and_then(|object| object.values().next());
        values.is_some_and(|value| keys.iter().all(|key| value.get(key).is_some()))
    };
    Some(match () {
        () if !listed && has(&["shapes", "imagePath"]) => (
            "labelme's JSON",
            "convert it as that: segmenta data convert labelme",
        ),
        () if !listed && has(&["images", "annotations"]) => (
            "COCO's JSON",
            "convert it as that: segmenta data convert coco",
        ),
        () if listed && has(&["image_id", "category_id"]) => (
            "COCO's results, which have no list of images and categories",
            "give the document of annotations that they belong to",
        ),
        () if has(&["data", "annotations"])
            || has(&["data", "predictions"])
            || has(&["data", "completions"]) =>
        {
            (
                "Label Studio's JSON",
                "export the project as `COCO` (polygons), or as `Brush labels to PNG`",
            )
        }
        () if has(&["_via_img_metadata"]) || in_first(&["regions", "filename"]) => (
            "the JSON of VGG Image Annotator (VIA)",
            "export its annotations as COCO",
        ),
        () if has(&["type", "features"]) => {
            ("GeoJSON", "draw it over the pictures first, or export COCO")
        }
        () if has(&["size", "objects"]) => ("Supervisely's JSON", "export the project as COCO"),
        () if has(&["asset", "regions"]) => ("VoTT's JSON", "export the project as COCO"),
        () if has(&["items", "categories"]) => ("Datumaro's JSON", "convert it there to COCO"),
        () if has(&["item", "annotations"]) => ("V7 Darwin's JSON", "export the data set as COCO"),
        () if has(&["data_row"]) || has(&["Labeled Data"]) => (
            "Labelbox's JSON",
            "export the project as COCO, or its masks as PNG",
        ),
        () if has(&["imgHeight", "imgWidth", "objects"]) => (
            "Cityscapes' polygons",
            "take the masks that lie beside them: *_labelIds.png",
        ),
        () if has(&["images"]) || has(&["annotations"]) => (
            "a part of COCO's JSON",
            "give a document with images, annotations and categories",
        ),
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "read to see whether it can be")]
        struct Wanted {
            wanted: Vec<f64>,
        }
        let (what, remedy) = parse::<Wanted>(text, "TOOL", "give another").unwrap_err();
        format!("{what} · {remedy}")
    }

    #[test]
    fn other_formats_are_called_by_their_names() {
        for (text, name) in [
            (
                r#"[{"id": 1, "data": {"image": "a"}, "annotations": []}]"#,
                "Label Studio",
            ),
            (r#"{"shapes": [], "imagePath": "a.jpg"}"#, "labelme"),
            (
                r#"{"images": [], "annotations": [], "categories": []}"#,
                "COCO's JSON",
            ),
            (
                r#"[{"image_id": 1, "category_id": 2, "score": 0.5}]"#,
                "COCO's results",
            ),
            (
                r#"{"a.jpg123": {"filename": "a.jpg", "regions": []}}"#,
                "VIA",
            ),
            (
                r#"{"type": "FeatureCollection", "features": []}"#,
                "GeoJSON",
            ),
        ] {
            let text = said(text);
            assert!(text.contains("looks like") && text.contains(name), "{text}");
        }
        assert!(said("").starts_with("an empty file"));
        assert!(said("[]").contains("is a list"), "{}", said("[]"));
        assert!(
            said("7").contains("no annotations of TOOL (it cannot be 7 at line 1 column 1; give")
        );
    }

    #[test]
    fn a_fault_in_the_wanted_format_is_not_sent_in_a_circle() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "read to see whether it can be")]
        struct Image {
            width: f64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "read to see whether it can be")]
        struct Document {
            images: Vec<Image>,
        }
        let text = r#"{"images": [{"id": 1}], "annotations": [], "categories": []}"#;
        let (what, remedy) = parse::<Document>(text, "COCO", "export it again").unwrap_err();
        assert!(what.contains("missing field `width` at line 1"), "{what}");
        assert_eq!(remedy, "export it again");
        let (what, remedy) = parse::<Document>(text, "labelme", "").unwrap_err();
        assert!(what.contains("looks like COCO's JSON"), "{what}");
        assert!(remedy.contains("convert coco"), "{remedy}");
    }

    #[test]
    fn numbers_that_are_none_are_named() {
        for text in [
            r#"{"wanted": [1, NaN]}"#,
            r#"{"wanted": [NaN]}"#,
            r#"{"other":NaN, "wanted": []}"#,
            r#"{"wanted": [-Infinity, 2]}"#,
            "{\n\"wanted\": [1,Infinity]}",
        ] {
            let said = said(text);
            assert!(said.contains("that is no number"), "{text}: {said}");
        }
        assert!(!said(r#"{"wanted": [1, nothing]}"#).contains("no number"));
    }

    #[test]
    fn nesting_without_end_is_refused() {
        for deep in ["[", "{\"x\":", "{\"wanted\":[["] {
            let said = said(&deep.repeat(1 << 20));
            assert!(said.starts_with("no annotations of TOOL"), "{said}");
        }
    }
}
