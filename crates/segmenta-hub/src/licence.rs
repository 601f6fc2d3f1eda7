//! What a repository's page says of its licence.

use std::fs;
use std::path::Path;

/// How much of a page is read: its head is at its beginning.
const HEAD: usize = 1 << 16;

/// Words in a licence that keeps it from being used for profit, in lower case.
const NON_COMMERCIAL: [&str; 8] = [
    "-nc",
    "nvidia's licence",
    "noncommercial",
    "non-commercial",
    "nvidia source code license",
    "research only",
    "research and evaluation",
    "bria-rmbg",
];

/// The licence that the head of a folder's `README.md` names: its name, or its identifier, with a link where it
/// names one.
pub(crate) fn of_folder(folder: &Path) -> Option<String> {
    let bytes = fs::read(folder.join("README.md")).ok()?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]);
    of_page(&text)
}

fn of_page(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let head = text.strip_prefix("---")?.split("\n---").next()?;
    let field = |name: &str| {
        // A list of several licences is left to the page.
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let value = line.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let licence = field("license");
    let name = field("license_name");
    let link = field("license_link").filter(|link| link.starts_with("http"));
    let said = match (licence, name) {
        (Some(licence), Some(name)) if licence == "other" => name,
        (Some(licence), _) => licence,
        (None, name) => name?,
    };
    Some(match link {
        Some(link) => format!("{said} ({link})"),
        None => said,
    })
}

/// What NVIDIA publishes SegFormer's weights under (github.com/NVlabs/SegFormer, LICENSE); pages of the hub call it
/// `other`.
const NVIDIA: &str = "NVIDIA Source Code License for SegFormer (non-commercial)";

/// The licence of a repository, by what its page `said`: where that is nothing, or `other`, by what is known here.
pub fn licence_of(id: &str, said: Option<String>) -> Option<String> {
    let said = said.filter(|licence| licence != "other");
    let of_nvidia = || {
        let theirs = id.starts_with("nvidia/segformer-") || id.starts_with("nvidia/mit-b");
        theirs.then(|| NVIDIA.to_owned())
    };
    let in_table = || {
        let row = crate::catalogue::recommended()
            .iter()
            .find(|row| row.id == id);
        row.and_then(|row| row.licence.clone())
    };
    said.or_else(of_nvidia).or_else(in_table)
}

/// Whether a licence, by its words, keeps what is under it from being used for profit. What says nothing of it is
/// not known to.
pub fn is_non_commercial(licence: &str) -> bool {
    let licence = licence.to_ascii_lowercase();
    NON_COMMERCIAL.iter().any(|word| licence.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_page_names_the_licence() {
        for (text, licence) in [
            ("---\nlicense: mit\ntags:\n- a\n---\n# Net", Some("mit")),
            (
                "---\r\nlicense: \"apache-2.0\"\r\n---\r\n",
                Some("apache-2.0"),
            ),
            (
                "---\nlicense: other\nlicense_name: apple-amlr\nlicense_link: https://a.b/c\n---",
                Some("apple-amlr (https://a.b/c)"),
            ),
            ("---\nlicense: other\n---", Some("other")),
            ("---\ntags: []\n---\nlicense: mit", None),
            ("# Net\nlicense: mit", None),
            ("", None),
        ] {
            assert_eq!(of_page(text).as_deref(), licence, "{text}");
        }
    }

    #[test]
    fn what_keeps_from_profit_is_known_by_its_words() {
        for licence in [
            "cc-by-nc-4.0",
            "other: NVIDIA Source Code License for SegFormer",
            "mit (NVIDIA's licence on the encoder applies)",
        ] {
            assert!(is_non_commercial(licence));
        }
        for licence in ["mit", "apache-2.0", "other", "cc-by-4.0"] {
            assert!(!is_non_commercial(licence));
        }
    }

    #[test]
    fn a_page_that_says_other_is_known_better() {
        let of = |id: &str, said: Option<&str>| licence_of(id, said.map(Into::into));
        for id in ["nvidia/mit-b2", "nvidia/segformer-b0-finetuned-ade-512-512"] {
            for said in [None, Some("other")] {
                assert!(is_non_commercial(&of(id, said).unwrap()), "{id}");
            }
        }
        assert_eq!(of("a/b", Some("mit")).as_deref(), Some("mit"));
        assert_eq!(of("a/b", Some("apple-amlr")).as_deref(), Some("apple-amlr"));
        assert_eq!(of("a/b", None), None);
        // All rows of the table that are NVIDIA's say so.
        let rows = crate::catalogue::recommended().iter();
        for row in rows.filter(|row| row.id.starts_with("nvidia/segformer")) {
            assert_eq!(row.licence.as_deref(), Some(NVIDIA), "{}", row.id);
        }
    }
}
