//! A state dict: every tensor of a network under its name, read when it is asked for.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use segmenta_files::count;
use tempfile::{NamedTempFile, TempPath};

use crate::{
    archive,
    dtype::DType,
    error::{Fault, WeightsError},
    format::{Format, JSON, MAX_HEADER, detect},
    pytorch_file, safetensors_file, sharded,
    stored::Stored,
    third_party::without_panic,
};

/// How much of a file tells its format, in bytes.
pub(crate) const HEAD: u64 = 1 << 16;

/// Tensors by name, in the order of their file.
///
/// Opening reads names, types and shapes; [`StateDict::read_f32`] reads numbers, from any thread.
pub struct StateDict {
    path: Option<PathBuf>,
    format: Format,
    metadata: BTreeMap<String, String>,
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
    /// Keeps the file behind [`StateDict::from_bytes`] for as long as `entries` may read it.
    temporary: Option<Arc<TempPath>>,
}

/// What is known of a tensor without reading its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its state-dict name, such as `backbone.conv1.weight`.
    pub name: String,
    /// The number type in the file.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// How many numbers it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Arc<[f32]>,
}

impl Tensor {
    /// A tensor of `shape` with its row-major `values`.
    ///
    /// # Panics
    ///
    /// When there are more or fewer values than the shape has places.
    pub fn new(shape: impl Into<Vec<usize>>, values: impl Into<Arc<[f32]>>) -> Tensor {
        let (shape, values) = (shape.into(), values.into());
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "values of shape {shape:?}"
        );
        Tensor { shape, values }
    }
}

/// A tensor of a state dict: what is known of it, and where its numbers lie.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) info: TensorInfo,
    /// Its name in the file, which a part of a state dict leaves out in part.
    pub(crate) origin: Arc<str>,
    /// Where in the file it is named, for the order of entries; `usize::MAX` where that is not known.
    pub(crate) place: usize,
    pub(crate) source: Source,
}

impl Entry {
    pub(crate) fn new(info: TensorInfo, place: usize, source: Source) -> Entry {
        Entry {
            origin: Arc::from(info.name.as_str()),
            info,
            place,
            source,
        }
    }

    /// The first or second half along the first axis, which is even; of a pickle's tensor the values are given.
    fn half(&self, half: usize, name: String, values: Option<&[f32]>) -> Entry {
        let part = |range: &Range<u64>| {
            let len = (range.end - range.start) / 2;
            let start = range.start + half as u64 * len;
            start..start + len
        };
        let of_slice = |values: &[f32]| {
            let len = values.len() / 2;
            Source::Memory(Arc::from(&values[half * len..][..len]))
        };
        let source = match (&self.source, values) {
            (Source::Pytorch(_), Some(values)) => of_slice(values),
            (Source::Memory(values), _) => of_slice(values),
            (
                Source::Stored {
                    file,
                    bytes,
                    scales,
                },
                _,
            ) => Source::Stored {
                file: file.clone(),
                bytes: part(bytes),
                scales: scales.as_ref().map(part),
            },
            (Source::Pytorch(tensor), None) => Source::Pytorch(tensor.clone()),
        };
        let mut info = self.info.clone();
        info.name = name;
        info.shape[0] /= 2;
        if matches!(source, Source::Memory(_)) {
            info.dtype = DType::F32;
        }
        Entry {
            info,
            source,
            ..self.clone()
        }
    }
}

/// Where a tensor's numbers lie.
#[derive(Clone)]
pub(crate) enum Source {
    Stored {
        file: Arc<Stored>,
        bytes: Range<u64>,
        /// Of numbers of 8 bits, where the scales of the first axis are.
        scales: Option<Range<u64>>,
    },
    Pytorch(pytorch_reader::Tensor),
    Memory(Arc<[f32]>),
}

impl StateDict {
    /// Opens a `.pth`, `.pt`, `.ckpt`, `.safetensors`, or the `.index.json` of weights in several files, told apart by
    /// content.
    ///
    /// All tensors of the file are there, whatever a checkpoint keeps beside a network: what lies in
    /// dictionaries has their keys before its name (`state_dict.model.conv1.weight`), and what is not a tensor
    /// is left out. [`StateDict::find`] finds a network in it.
    ///
    /// # Errors
    ///
    /// A file that is absent, cut short, damaged, or no weight file at all; see [`Fault`].
    pub fn open(path: &Path) -> Result<StateDict, WeightsError> {
        let at = |fault: Fault| fault.at(path);
        if path.is_dir() {
            return Err(at(Fault::Directory));
        }
        let stored = Stored::open(path).map_err(Fault::from_io).map_err(at)?;
        StateDict::of(stored, path)
    }

    /// Reads the bytes of a file (one that is no index of shards); a pickle through a temporary file.
    ///
    /// # Errors
    ///
    /// As [`StateDict::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<StateDict, WeightsError> {
        let memory = Path::new("<memory>");
        let in_memory = |WeightsError { fault, .. }: WeightsError| fault.at(memory);
        let format = detect(bytes).map_err(|fault| fault.at(memory))?;
        let stored = Stored::Memory(Arc::from(bytes));
        if format == Format::Safetensors {
            let mut dict = StateDict::of(stored, memory)?;
            dict.path = None;
            return Ok(dict);
        }
        let write = || -> io::Result<TempPath> {
            let mut file = NamedTempFile::new()?;
            file.write_all(bytes)?;
            Ok(file.into_temp_path())
        };
        let temporary = write().map_err(|error| Fault::from_io(error).at(memory))?;
        let mut dict = StateDict::open(&temporary).map_err(in_memory)?;
        dict.path = None;
        dict.temporary = Some(Arc::new(temporary));
        Ok(dict)
    }

    fn of(stored: Stored, path: &Path) -> Result<StateDict, WeightsError> {
        let at = |fault: Fault| fault.at(path);
        let io = |error: io::Error| at(Fault::from_io(error));
        let mut head = stored.head(HEAD).map_err(io)?;
        let mut format = detect(&head);
        if matches!(format, Err(Fault::Foreign(JSON))) {
            head = stored.head(MAX_HEADER).map_err(io)?;
            format = detect(&head);
        }
        let format = format.map_err(at)?;
        let mut dict = StateDict::new(format);
        (dict.entries, dict.metadata) = match format {
            Format::Safetensors => safetensors_file::read(&Arc::new(stored)).map_err(at)?,
            Format::SafetensorsSharded => {
                let (contents, format) = sharded::read(&head, path)?;
                dict.format = format;
                contents
            }
            _ => {
                archive::refuse_others(&stored).map_err(at)?;
                let (entries, format) = pytorch_file::read(path, &stored).map_err(at)?;
                dict.format = format;
                (entries, BTreeMap::new())
            }
        };
        if dict.entries.is_empty() {
            return Err(at(Fault::NoTensors));
        }
        dict.path = Some(path.to_path_buf());
        Ok(dict.indexed())
    }

    /// A state dict of tensors in memory. Of two with one name the later counts.
    pub fn from_tensors(tensors: impl IntoIterator<Item = (String, Tensor)>) -> StateDict {
        let entry = |(place, (name, Tensor { shape, values }))| {
            let info = TensorInfo {
                name,
                dtype: DType::F32,
                shape,
            };
            Entry::new(info, place, Source::Memory(values))
        };
        let mut dict = StateDict::new(Format::Memory);
        dict.entries = tensors.into_iter().enumerate().map(entry).collect();
        dict.indexed()
    }

    /// A state dict of some of this one's entries, under other names, with its path and metadata.
    pub(crate) fn part(&self, entries: Vec<Entry>) -> StateDict {
        let part = StateDict {
            path: self.path.clone(),
            format: self.format,
            metadata: self.metadata.clone(),
            entries,
            index: HashMap::new(),
            temporary: self.temporary.clone(),
        };
        part.indexed()
    }

    /// The same with some tensors cut into halves along their first axis, for which `names_of` gives the names of both:
    /// an earlier version of a library may have kept two in one.
    ///
    /// # Errors
    ///
    /// As [`StateDict::read_f32`], of tensors that lie in a pickle.
    pub fn with_halves(
        &self,
        names_of: impl Fn(&str) -> Option<[String; 2]>,
    ) -> Result<StateDict, WeightsError> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let even = entry.info.shape.first().is_some_and(|n| n % 2 == 0);
            match names_of(&entry.info.name) {
                Some(names) if even => {
                    let values = match entry.source {
                        Source::Pytorch(_) => Some(self.read_f32(&entry.info.name)?),
                        Source::Stored { .. } | Source::Memory(_) => None,
                    };
                    for (half, name) in names.into_iter().enumerate() {
                        entries.push(entry.half(half, name, values.as_deref()));
                    }
                }
                _ => entries.push(entry.clone()),
            }
        }
        Ok(self.part(entries))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn new(format: Format) -> StateDict {
        StateDict {
            path: None,
            format,
            metadata: BTreeMap::new(),
            entries: Vec::new(),
            index: HashMap::new(),
            temporary: None,
        }
    }

    /// Makes names findable, and drops all but the last tensor of each name.
    fn indexed(mut self) -> StateDict {
        let last: HashMap<String, usize> = self
            .entries
            .iter()
            .enumerate()
            .map(|(i, e)| (e.info.name.clone(), i))
            .collect();
        let mut at = 0..;
        self.entries
            .retain(|entry| at.next() == last.get(&entry.info.name).copied());
        let names = self.entries.iter().map(|entry| entry.info.name.clone());
        self.index = names.zip(0..).collect();
        self
    }

    /// Where it comes from.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The file; `None` for one in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The `__metadata__` of safetensors; empty for other formats.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|info| info.name.as_str())
    }

    /// What is known of each tensor, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &TensorInfo> {
        self.entries.iter().map(|entry| &entry.info)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of the tensor `name`, without reading it.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.entry(name).map(|entry| &entry.info)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.index.get(name).map(|&i| &self.entries[i])
    }

    /// Reads the tensor `name` as row-major `f32`, whatever its number type in the file.
    ///
    /// # Errors
    ///
    /// No such tensor; a number type that cannot be read; bytes that are not there.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let read = || {
            let entry = self
                .entry(name)
                .ok_or_else(|| Fault::NoSuchTensor(name.into()))?;
            let info = &entry.info;
            let values = match &entry.source {
                Source::Memory(values) => Some(values.to_vec()),
                Source::Stored {
                    file,
                    bytes,
                    scales,
                } => {
                    let bytes = file.read(bytes.clone()).map_err(read_fault)?;
                    let mut values = info.dtype.to_f32(&bytes);
                    if let (Some(values), Some(scales)) = (&mut values, scales) {
                        let scales = file.read(scales.clone()).map_err(read_fault)?;
                        scale_channels(values, &DType::F32.to_f32(&scales).unwrap_or_default());
                    }
                    values
                }
                Source::Pytorch(tensor) => {
                    let bytes = without_panic(|| tensor.read()).map_err(Fault::Damaged)?;
                    info.dtype.to_f32(&bytes.map_err(read_fault)?)
                }
            };
            let unread = || Fault::NumberType {
                name: name.into(),
                dtype: info.dtype.to_string(),
            };
            values.ok_or_else(unread)
        };
        read().map_err(|fault: Fault| fault.at(self.where_from()))
    }

    /// The path, or words for having none.
    pub(crate) fn where_from(&self) -> &Path {
        self.path().unwrap_or(Path::new("<memory>"))
    }
}

impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "StateDict({}, {}, {})",
            self.where_from().display(),
            self.format,
            count(self.len(), "tensor")
        )
    }
}

/// A file that disagrees with itself is damaged; anything else is the system's refusal.
/// Numbers of 8 bits as what they stand for: each row of the first axis has a scale.
fn scale_channels(values: &mut [f32], scales: &[f32]) {
    let of_a_channel = (values.len() / scales.len().max(1)).max(1);
    for (channel, scale) in values.chunks_exact_mut(of_a_channel).zip(scales) {
        channel.iter_mut().for_each(|value| *value *= scale);
    }
}

fn read_fault(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Damaged("it ends too early".into()),
        io::ErrorKind::InvalidData => Fault::Damaged(error.to_string()),
        _ => Fault::from_io(error),
    }
}
