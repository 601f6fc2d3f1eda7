//! Where files are kept and how the hub is asked: what the variables of Python's `huggingface_hub` say.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use etcetera::home_dir;

/// The hub of those who name none.
const ENDPOINT: &str = "https://huggingface.co";

/// Where files are kept and how the hub is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The folder of all repositories.
    pub cache: PathBuf,
    /// The hub's address.
    pub endpoint: String,
    /// What says who asks.
    pub token: Option<String>,
    /// The variable by which the network is not to be used, if one is set.
    pub offline: Option<&'static str>,
}

impl Environment {
    /// What Python's variables say: the cache is `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `huggingface/hub` in
    /// `XDG_CACHE_HOME` or in `.cache` at home; the token `HF_TOKEN`, or what stands in the file `HF_TOKEN_PATH` or
    /// `token` in `HF_HOME`; the hub `HF_ENDPOINT`; and the network is not used if `HF_HUB_OFFLINE`,
    /// `TRANSFORMERS_OFFLINE` or `SEGMENTA_OFFLINE` is set. `None` where there is no home folder.
    pub fn from_env() -> Option<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// As [`Environment::from_env`], with the variables that `get` knows.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let path = |name: &str| get(name).map(|value| expanded(Path::new(&value)));
        let text = |name: &str| get(name).map(|value| value.to_string_lossy().trim().to_owned());
        let home = || {
            let cache = || Some(home_dir().ok()?.join(".cache"));
            let base = path("XDG_CACHE_HOME").or_else(cache)?;
            Some(base.join("huggingface"))
        };
        let home = path("HF_HOME").or_else(home);
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| in_home("hub"))?;
        let in_file = || {
            let file = path("HF_TOKEN_PATH").or_else(|| in_home("token"))?;
            fs::read_to_string(file).ok()
        };
        let implicit = !text("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_on(&value));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(in_file)
            .map(|token| token.trim().to_owned())
            .filter(|token| implicit && !token.is_empty() && token.bytes().all(is_visible));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .into_iter()
            .find(|name| text(name).is_some_and(|value| is_on(&value)));
        let ours = "SEGMENTA_OFFLINE";
        let offline = offline.or_else(|| text(ours).filter(|v| v != "0").map(|_| ours));
        Some(Self {
            cache,
            endpoint: endpoint.trim_end_matches('/').into(),
            token,
            offline,
        })
    }
}

/// What Python takes for true.
fn is_on(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

/// A header may hold nothing else.
fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// A path whose `~` is the home folder, as Python expands it.
fn expanded(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), home_dir()) {
        (Ok(rest), Ok(home)) => home.join(rest),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let value = |name: &str| variables.iter().find(|(n, _)| *n == name);
        Environment::from_variables(|name| value(name).map(|(_, v)| v.into())).unwrap()
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (variables, cache) in [
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")][..], "/c"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
        ] {
            assert_eq!(environment(variables).cache, Path::new(cache));
        }
        let home = home_dir().unwrap();
        assert_eq!(
            environment(&[("HF_HOME", "~/models")]).cache,
            home.join("models/hub")
        );
        assert_eq!(environment(&[]).cache, home.join(".cache/huggingface/hub"));
    }

    #[test]
    fn the_token_comes_from_a_variable_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(environment(&[("HF_HOME", home)]).token, None);
        fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let token = |variables: &[(&str, &str)]| environment(variables).token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_file"));
        let both = [("HF_HOME", home), ("HF_TOKEN", "hf_variable")];
        assert_eq!(token(&both).as_deref(), Some("hf_variable"));
        let none = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(&none), None);
    }

    #[test]
    fn offline_is_what_python_takes_for_it() {
        for (variable, value, offline) in [
            ("HF_HUB_OFFLINE", "1", true),
            ("HF_HUB_OFFLINE", "True", true),
            ("HF_HUB_OFFLINE", "0", false),
            ("TRANSFORMERS_OFFLINE", "yes", true),
            ("SEGMENTA_OFFLINE", "1", true),
        ] {
            let found = environment(&[(variable, value)]).offline;
            assert_eq!(found, offline.then_some(variable));
        }
        let endpoint = environment(&[("HF_ENDPOINT", "http://127.0.0.1:1/")]).endpoint;
        assert_eq!(endpoint, "http://127.0.0.1:1");
        assert_eq!(environment(&[]).endpoint, ENDPOINT);
    }
}
