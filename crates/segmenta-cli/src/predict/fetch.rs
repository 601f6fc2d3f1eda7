//! Pictures that are named by their URL: downloaded once, kept in the cache.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use segmenta_weights::{Download, Hub, Published, agent, lock_file};

use crate::progress;

/// The inputs with every URL in the place of which stands the picture that was downloaded from it.
///
/// # Errors
/// A picture that cannot be had.
pub(super) fn inputs(named: &[PathBuf], quiet: bool) -> anyhow::Result<Vec<PathBuf>> {
    let local = |path: &PathBuf| match url(path) {
        Some(url) => fetched(url, quiet),
        None => Ok(path.clone()),
    };
    named.iter().map(local).collect()
}

fn url(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    is_url.then_some(text)
}

fn fetched(url: &str, quiet: bool) -> anyhow::Result<PathBuf> {
    let cache = Hub::from_env()?.path_for(&Published {
        file: "pictures",
        url: "",
        bytes: None,
        sha256: "",
    });
    let path = cache.join(file_name(url));
    if path.is_file() {
        return Ok(path);
    }
    let told = |problem: String, remedy: &str| anyhow!("{problem} · {url} · {remedy}");
    if std::env::var_os("SEGMENTA_OFFLINE").is_some_and(|v| !v.is_empty() && v != "0") {
        let problem = "the picture is not in the cache and SEGMENTA_OFFLINE is set";
        return Err(told(problem.into(), "save it to a file, and name that"));
    }
    std::fs::create_dir_all(&cache).map_err(|error| {
        let why = super::message::reason(&error);
        told(
            format!("the cache cannot be written: {why}"),
            "set SEGMENTA_HOME to another folder",
        )
    })?;
    let mut shown = progress::Download::new(quiet);
    let lock = cache.join(format!("{}.lock", file_name(url)));
    let _lock = lock_file(&lock, &mut |step| shown.step(step))
        .map_err(|fault| told(fault.to_string(), "set SEGMENTA_HOME to another folder"))?;
    // Whoever held the lock before may have brought it.
    if path.is_file() {
        return Ok(path);
    }
    // Begun anew: no digest would tell that the picture at this address was another one when a part of it came.
    let part = cache.join(format!("{}.part", file_name(url)));
    let _ = std::fs::remove_file(&part);
    let download = Download {
        agent: agent(),
        url,
        authorization: None,
        part: &part,
        bytes: None,
    };
    download
        .complete(&|_| Ok(()), &mut |step| shown.step(step))
        .map_err(|fault| {
            told(
                fault.to_string(),
                "check the address, or save the picture to a file",
            )
        })?;
    std::fs::rename(&part, &path).map_err(|error| {
        let why = super::message::reason(&error);
        told(
            format!("the cache cannot be written: {why}"),
            "set SEGMENTA_HOME to another folder",
        )
    })?;
    Ok(path)
}

/// What the file of a URL is called: the end of its path, in a folder of its own for each address.
fn file_name(url: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = url.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let kept = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = last.chars().filter(|&c| kept(c)).collect();
    let (stem, end) = name.rsplit_once('.').unwrap_or((&name, "jpg"));
    // The address tells two pictures of one name apart.
    format!("{stem}-{hash:016x}.{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_as_their_addresses_end() {
        let name = file_name("https://a.example/b/pinyon-jay-bird.jpg?itok=1");
        assert!(
            name.starts_with("pinyon-jay-bird-") && name.strip_suffix(".jpg").is_some(),
            "{name}"
        );
        assert_ne!(
            name,
            file_name("https://a.example/c/pinyon-jay-bird.jpg?itok=1")
        );
        assert!(!file_name("http://a/../..%2fx").contains(['/', '%']));
    }

    #[test]
    fn what_is_no_address_stays() {
        let named = [PathBuf::from("photo.jpg"), PathBuf::from("http.jpg")];
        assert_eq!(inputs(&named, true).unwrap(), named);
    }
}
