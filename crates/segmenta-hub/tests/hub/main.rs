//! Repositories from a hub on this machine: what is brought, what is kept, what is said.

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use segmenta_hub::{Backbone, Client, Environment, RepositoryName, Snapshot, SnapshotError};
use segmenta_weights::Progress;
use server::{Answer, COMMIT, File, Request, Server};
use tempfile::TempDir;

const NAME: &str = "owner/net";
const CONFIG: &str = r#"{"architectures": ["SegformerForSemanticSegmentation"]}"#;

/// What stands for weights: long enough to be cut, with a digest that the hub gives.
fn weights() -> File {
    let content: Vec<u8> = (0..200_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    fs::write(&path, &content).unwrap();
    File {
        etag: segmenta_weights::digest(&path).unwrap(),
        content,
        large: true,
    }
}

fn small(content: &str) -> File {
    File {
        content: content.into(),
        etag: format!("{:040x}", content.len()),
        large: false,
    }
}

fn files() -> BTreeMap<String, File> {
    BTreeMap::from([
        ("config.json".into(), small(CONFIG)),
        ("README.md".into(), small("---\nlicense: mit\n---\n")),
        ("model.safetensors".into(), weights()),
    ])
}

struct Room {
    cache: TempDir,
    server: Server,
}

impl Room {
    fn new(twist: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            cache: tempfile::tempdir().unwrap(),
            server: Server::start(NAME, &files(), twist),
        }
    }

    fn honest() -> Self {
        Self::new(|_, answer| answer)
    }

    fn client(&self, more: &[(&str, &str)]) -> Client {
        let cache = self.cache.path().to_str().unwrap();
        let own = [
            ("HF_HUB_CACHE", cache),
            ("HF_HOME", cache),
            ("HF_ENDPOINT", &self.server.endpoint),
        ];
        let value = |name: &str| more.iter().chain(&own).find(|(n, _)| *n == name);
        let environment = Environment::from_variables(|name| value(name).map(|(_, v)| v.into()));
        Client::new(environment.unwrap())
    }

    fn pull(&self, name: &str, more: &[(&str, &str)]) -> Result<Vec<u8>, String> {
        let client = self.client(more);
        let name: RepositoryName = name.parse().unwrap();
        let pulled = |progress: &mut dyn FnMut(Progress)| -> Result<_, SnapshotError> {
            let snapshot = Snapshot::begin(&client, &name, progress)?;
            Ok(snapshot.with_weights(progress)?.weights()?)
        };
        let path = pulled(&mut |_| {}).map_err(|error| error.to_string())?;
        Ok(fs::read(path).unwrap())
    }

    fn repository(&self) -> std::path::PathBuf {
        self.cache.path().join("models--owner--net")
    }
}

#[test]
fn what_is_brought_lies_as_python_has_it_and_is_asked_for_once() {
    let room = Room::honest();
    assert_eq!(room.pull(NAME, &[]).unwrap(), weights().content);
    let folder = room.repository();
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    let blob = folder.join("blobs").join(weights().etag);
    assert_eq!(fs::read(&blob).unwrap(), weights().content);
    let link = folder
        .join("snapshots")
        .join(COMMIT)
        .join("model.safetensors");
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(&link).unwrap(),
        Path::new("../../blobs").join(weights().etag)
    );
    assert!(link.is_file());
    let asked = room.server.requests().len();
    room.pull(NAME, &[]).unwrap();
    let again = room.server.requests();
    // Whether there is a newer commit.
    let news: Vec<&str> = again[asked..].iter().map(|r| r.path.as_str()).collect();
    assert_eq!(news, ["/owner/net/resolve/main/config.json"]);
    // A commit never changes.
    room.pull(&format!("{NAME}@{COMMIT}"), &[]).unwrap();
    assert_eq!(room.server.requests().len(), again.len());
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let room = Room::honest();
    room.pull(NAME, &[("HF_TOKEN", "hf_secret")]).unwrap();
    let requests = room.server.requests();
    assert!(requests.iter().any(|request| request.large));
    for request in requests {
        let expected = (!request.large).then_some("Bearer hf_secret");
        assert_eq!(request.authorization.as_deref(), expected, "{request:?}");
    }
}

/// A repository that was renamed: the hub redirects to its path, and that is asked with the token, too.
#[test]
fn a_renamed_repository_is_followed() {
    let room = Room::new(|request, answer| {
        let Some(rest) = request.path.strip_prefix("/old/name") else {
            return answer;
        };
        Answer::of("307 Temporary Redirect").with("Location", format!("/owner/net{rest}"))
    });
    let found = room.pull("old/name", &[("HF_TOKEN", "hf_x")]).unwrap();
    assert_eq!(found, weights().content);
    let requests = room.server.requests();
    assert!(
        requests
            .iter()
            .all(|r| r.authorization.is_some() != r.large)
    );
}

#[test]
fn what_python_brought_is_found_without_a_network() {
    let room = Room::honest();
    let folder = room.repository();
    let snapshot = folder.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    fs::write(snapshot.join("config.json"), CONFIG).unwrap();
    let offline = [("HF_HUB_OFFLINE", "1")];
    // It may have one, which pictures would have to be prepared by.
    let said = room.pull(NAME, &offline).unwrap_err();
    assert!(
        said.contains("`preprocessor_config.json` is not in the cache"),
        "{said}"
    );
    let lacks = folder.join(".no_exist").join(COMMIT);
    fs::create_dir_all(&lacks).unwrap();
    fs::write(lacks.join("preprocessor_config.json"), "").unwrap();
    let offline = [("HF_HUB_OFFLINE", "1")];
    let said = room.pull(NAME, &offline).unwrap_err();
    let place = snapshot.join("model.safetensors");
    for word in ["HF_HUB_OFFLINE", "/resolve/", place.to_str().unwrap()] {
        assert!(said.contains(word), "{said}");
    }
    fs::write(snapshot.join("pytorch_model.bin"), b"older").unwrap();
    assert_eq!(room.pull(NAME, &offline).unwrap(), b"older");
    fs::write(snapshot.join("model.safetensors"), b"newer").unwrap();
    assert_eq!(room.pull(NAME, &offline).unwrap(), b"newer");
    assert_eq!(room.server.requests(), []);
    // The same where the hub cannot be reached.
    let nowhere = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    assert_eq!(room.pull(NAME, &nowhere).unwrap(), b"newer");
    let client = room.client(&nowhere);
    let snapshot = Snapshot::begin(&client, &NAME.parse().unwrap(), &mut |_| {}).unwrap();
    assert!(snapshot.unasked().is_some());
    let said = room.pull("owner/other", &nowhere).unwrap_err();
    assert!(said.contains("check the network and HF_ENDPOINT"), "{said}");
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let cuts = AtomicUsize::new(0);
    let room = Room::new(move |request, answer| {
        if !request.large || cuts.fetch_add(1, Ordering::SeqCst) > 1 {
            return answer;
        }
        let length = Some(answer.body.len());
        let body = answer.body[..answer.body.len() / 2].to_vec();
        Answer {
            body,
            length,
            ..answer
        }
    });
    assert_eq!(room.pull(NAME, &[]).unwrap(), weights().content);
    let requests = room.server.requests();
    let starts: Vec<_> = requests
        .iter()
        .filter(|r| r.large)
        .map(|r| r.start)
        .collect();
    assert_eq!(starts, [None, Some(100_000), Some(150_000)]);
}

#[test]
fn another_content_than_the_hub_says_is_not_kept() {
    let room = Room::new(|request, mut answer| {
        if request.large {
            answer.body[7] ^= 1;
        }
        answer
    });
    let said = room.pull(NAME, &[]).unwrap_err();
    assert!(said.contains("SHA-256"), "{said}");
    let blobs: Vec<_> = fs::read_dir(room.repository().join("blobs"))
        .unwrap()
        .collect();
    assert_eq!(blobs.len(), 2, "{blobs:?}");
}

#[test]
fn refusals_are_said_with_their_remedies() {
    let refused = |status: &'static str, code: &'static str, more: &[(&str, &str)]| {
        let room = Room::new(move |_, _| Answer::of(status).with("X-Error-Code", code));
        room.pull(NAME, more).unwrap_err()
    };
    let token = [("HF_TOKEN", "hf_x")];
    for (status, code, more, word) in [
        ("401 Unauthorized", "", &[][..], "check the name"),
        (
            "401 Unauthorized",
            "",
            &token[..],
            "does not accept the token",
        ),
        (
            "401 Unauthorized",
            "GatedRepo",
            &[],
            "accept its conditions",
        ),
        (
            "403 Forbidden",
            "GatedRepo",
            &token,
            "the account whose token",
        ),
        ("403 Forbidden", "", &token, "may read this repository"),
        ("404 Not Found", "RepoNotFound", &[], "no such repository"),
    ] {
        let said = refused(status, code, more);
        assert!(said.contains(word) && said.contains(NAME), "{said}");
    }
    let room = Room::honest();
    let said = room.pull("owner/net@v9", &[]).unwrap_err();
    assert!(said.contains("no revision `v9`"), "{said}");
    let said = room
        .pull("nvidia/segformer-b0-finetuned-ade-512-521", &[])
        .unwrap_err();
    assert!(
        said.contains("did you mean nvidia/segformer-b0-finetuned-ade-512-512?"),
        "{said}"
    );
}

#[test]
fn a_busy_hub_is_waited_for_within_reason() {
    let asked = AtomicUsize::new(0);
    let room = Room::new(
        move |_, answer| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::of("429 Too Many Requests").with("Retry-After", "0"),
            _ => answer,
        },
    );
    room.pull(NAME, &[]).unwrap();
    let room = Room::new(|_, _| Answer::of("429 Too Many Requests").with("Retry-After", "3600"));
    let said = room.pull(NAME, &[]).unwrap_err();
    assert!(
        said.contains("3600 s") && said.contains("try again later"),
        "{said}"
    );
    assert_eq!(room.server.requests().len(), 1);
}

#[test]
fn a_server_that_is_no_hub_is_said_to_be_none() {
    let room = Room::new(|_, _| Answer::of("200 OK"));
    let said = room.pull(NAME, &[]).unwrap_err();
    assert!(
        said.contains("no hub does") && said.contains("HF_ENDPOINT"),
        "{said}"
    );
    let room = Room::new(|_, answer| Answer {
        headers: answer
            .headers
            .into_iter()
            .map(|(name, value)| match name {
                "ETag" => (name, "\"../../evil\"".into()),
                _ => (name, value),
            })
            .collect(),
        ..Answer::of("200 OK")
    });
    assert!(room.pull(NAME, &[]).unwrap_err().contains("ETag"));
}

#[test]
fn shards_come_with_their_index() {
    let mut files = files();
    files.remove("model.safetensors");
    let index = r#"{"weight_map": {"a": "part-1.safetensors", "b": "part-1.safetensors"}}"#;
    files.insert("model.safetensors.index.json".into(), small(index));
    files.insert("part-1.safetensors".into(), weights());
    let room = Room {
        cache: tempfile::tempdir().unwrap(),
        server: Server::start(NAME, &files, |_, answer| answer),
    };
    assert_eq!(room.pull(NAME, &[]).unwrap(), index.as_bytes());
    let part = room
        .repository()
        .join("snapshots")
        .join(COMMIT)
        .join("part-1.safetensors");
    assert_eq!(fs::read(part).unwrap(), weights().content);
}

/// A cache that cannot be written, and one on a disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_takes_nothing_is_named() {
    let room = Room::honest();
    let none = [("HF_HUB_CACHE", "/proc/none")];
    let said = room.pull(NAME, &none).unwrap_err();
    assert!(
        said.contains("/proc/none") && said.contains("HF_HUB_CACHE"),
        "{said}"
    );
    fs::create_dir_all(room.repository().join("blobs")).unwrap();
    let part = room
        .repository()
        .join("blobs")
        .join(format!("{}.incomplete", weights().etag));
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let said = room.pull(NAME, &[]).unwrap_err();
    assert!(
        said.contains("the disk is full") && said.contains("on another disk"),
        "{said}"
    );
}

/// Weights of a backbone, whose `config.json` names no class; only what is there is brought.
#[test]
fn a_backbone_is_its_weights_and_what_its_pictures_are_like() {
    let mut repository = files();
    let config = r#"{"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "input_range": [0, 1]}"#;
    repository.insert("config.json".into(), small(config));
    let room = Room {
        cache: tempfile::tempdir().unwrap(),
        server: Server::start(NAME, &repository, |_, answer| answer),
    };
    let name: RepositoryName = format!("{NAME}@{COMMIT}").parse().unwrap();
    let brought =
        |more: &[(&str, &str)]| Backbone::of_repository(&room.client(more), &name, &mut |_| {});
    let offline = [("HF_HUB_OFFLINE", "1")];
    let error = brought(&offline).unwrap_err().to_string();
    assert!(
        error.contains("`model.safetensors` is not in the cache"),
        "{error}"
    );
    assert!(
        error.contains(&format!("snapshots/{COMMIT}/model.safetensors")),
        "{error}"
    );

    let backbone = brought(&[]).unwrap();
    assert_eq!(fs::read(&backbone.weights).unwrap(), weights().content);
    assert_eq!(backbone.normalisation.unwrap().std, [0.25; 3]);
    assert_eq!(backbone.licence.as_deref(), Some("mit"));
    // All of one commit: nothing is asked again.
    let asked = room.server.requests().len();
    assert_eq!(brought(&[]).unwrap().normalisation, backbone.normalisation);
    assert_eq!(room.server.requests().len(), asked);

    // Weights that were put where the message said, and nothing else.
    let cache = tempfile::tempdir().unwrap();
    let folder = cache
        .path()
        .join("models--owner--net/snapshots")
        .join(COMMIT);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.safetensors"), b"by hand").unwrap();
    let by_hand = [("HF_HUB_CACHE", cache.path().to_str().unwrap()), offline[0]];
    let backbone = brought(&by_hand).unwrap();
    assert_eq!(fs::read(&backbone.weights).unwrap(), b"by hand");
    assert_eq!(backbone.normalisation, None);
}
