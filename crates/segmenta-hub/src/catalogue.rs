//! Names to recommend, by field. Only what was looked up stands in the table; what is empty is not known.

use std::sync::LazyLock;

/// A network of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recommended {
    /// What it is for: `driving`, `faces`, ...
    pub field: String,
    /// The repository.
    pub id: String,
    /// Its class, as `architectures` in its `config.json` has it.
    pub class: String,
    /// What it stands on.
    pub backbone: String,
    /// What it learned from.
    pub data: String,
    /// Mean intersection over union in percent, as published.
    pub miou: Option<String>,
    /// The licence of the weights, or the tag that the hub's page has.
    pub licence: Option<String>,
}

static TABLE: LazyLock<Vec<Recommended>> = LazyLock::new(|| {
    let text = include_str!("catalogue.csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.records().filter_map(Result::ok);
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    rows.map(|row| {
        let cell = |at: usize| row.get(at).unwrap_or_default();
        Recommended {
            field: cell(0).into(),
            id: cell(1).into(),
            class: cell(2).into(),
            backbone: cell(3).into(),
            data: cell(4).into(),
            miou: given(cell(5)),
            licence: given(cell(6)),
        }
    })
    .collect()
});

/// All of them, by field.
pub fn recommended() -> &'static [Recommended] {
    &TABLE
}

/// Those in whose name, field, class, backbone or data a word stands, whatever its case.
pub fn search(word: &str) -> impl Iterator<Item = &'static Recommended> {
    let word = word.trim().to_lowercase();
    TABLE.iter().filter(move |row| {
        [&row.field, &row.id, &row.class, &row.backbone, &row.data]
            .iter()
            .any(|text| text.to_lowercase().contains(&word))
    })
}

/// The one whose name is a few letters from `id`.
pub(crate) fn nearest(id: &str) -> Option<String> {
    const MOST_EDITS: usize = 4;
    let edits = |row: &&Recommended| strsim::damerau_levenshtein(&row.id, id);
    let best = TABLE.iter().min_by_key(edits)?;
    (1..=MOST_EDITS)
        .contains(&edits(&best))
        .then(|| best.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RepositoryName;

    #[test]
    fn every_row_names_a_repository_of_a_field() {
        assert!(recommended().len() > 20);
        for row in recommended() {
            let name: Result<RepositoryName, _> = row.id.parse();
            assert_eq!(name.unwrap().to_string(), row.id);
            for text in [&row.field, &row.class, &row.backbone, &row.data] {
                assert!(!text.is_empty(), "{}", row.id);
            }
        }
    }

    #[test]
    fn words_and_slips_find_their_row() {
        let faces: Vec<&str> = search("Face").map(|row| row.id.as_str()).collect();
        assert!(faces.contains(&"jonathandinu/face-parsing"), "{faces:?}");
        assert_eq!(search("no such thing").count(), 0);
        let near = nearest("jonathandinu/face-prasing");
        assert_eq!(near.as_deref(), Some("jonathandinu/face-parsing"));
        assert_eq!(nearest("somebody/something"), None);
    }
}
