//! The files about one picture.

use std::fmt;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use segmenta_image::{Picture, mark_result, save_probability, write_atomic};

use crate::error::{Error, OutputError};
use crate::inputs::Input;
use crate::npy;
use crate::segmentation::Segmentation;

/// A kind of file that is written about a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// `NAME.mask.png`: a palette PNG of class ids, of the photograph's size.
    Mask,
    /// `NAME.overlay.png`: the photograph under the classes' colours.
    Overlay,
    /// `NAME.probability.png`: how sure the network is of each pixel, black 0 to white 1.
    Probability,
    /// `NAME.cutout.png`: the photograph where there is any class but the background, transparent elsewhere.
    Cutout,
    /// `NAME.logits.npy`: the logit of each class at each pixel, 1×classes×height×width of f32, for NumPy.
    Logits,
    /// `NAME.probabilities.npy`: the probability of each class at each pixel, likewise.
    Probabilities,
}

impl What {
    /// All kinds there are.
    pub const ALL: &'static [Self] = &[
        Self::Mask,
        Self::Overlay,
        Self::Probability,
        Self::Cutout,
        Self::Logits,
        Self::Probabilities,
    ];

    /// What stands after a picture's name and a dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Mask => "mask.png",
            Self::Overlay => "overlay.png",
            Self::Probability => "probability.png",
            Self::Cutout => "cutout.png",
            Self::Logits => "logits.npy",
            Self::Probabilities => "probabilities.npy",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = self.suffix().split_once('.').unwrap_or_default();
        f.write_str(name)
    }
}

/// How results are drawn.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    pub(super) what: Vec<What>,
    pub(super) alpha: f64,
    pub(super) legend: bool,
}

impl Drawing {
    pub(super) fn writes(&self, what: What) -> bool {
        self.what.contains(&what)
    }

    /// Writes what is wanted; gives the files, relative to `out`.
    pub(super) fn write(
        &self,
        out: &Path,
        input: &Input,
        picture: &Picture,
        segmentation: &Segmentation,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut written = Vec::new();
        let mut place = |what: What| {
            let name = input.output(what.suffix());
            let path = out.join(&name);
            written.push(name);
            path
        };
        // A sub-folder that cannot be made shows itself in the first file that cannot be written.
        if let Some(folder) = input.name().parent() {
            let _ = fs::create_dir_all(out.join(folder));
        }
        let mask = self.writes(What::Mask).then(|| place(What::Mask));
        let overlay = self.writes(What::Overlay).then(|| place(What::Overlay));
        // Most of a small file's time is the wait for the disk, in which the overlay is drawn.
        thread::scope(|scope| {
            let mask = scope.spawn(|| mask.map_or(Ok(()), |path| segmentation.save(path)));
            let overlay = overlay.map_or(Ok(()), |path| {
                self.save_overlay(&path, picture, segmentation)
            });
            let mask = mask.join().unwrap_or_else(|panic| resume_unwind(panic));
            mask.and(overlay)
        })?;
        if let (true, Some(scores)) = (self.writes(What::Probability), segmentation.probability()) {
            let (width, height) = picture.size();
            save_probability(place(What::Probability), width, height, scores)?;
        }
        if self.writes(What::Cutout) {
            let png = segmentation.cutout(picture)?;
            write_atomic(place(What::Cutout), &mark_result(&png, "cutout"))?;
        }
        for (what, tensor) in [
            (What::Logits, segmentation.logits()),
            (What::Probabilities, segmentation.probabilities()),
        ] {
            if let (true, Some(tensor)) = (self.writes(what), tensor) {
                write_atomic(place(what), &npy::write(tensor))?;
            }
        }
        Ok(written)
    }

    fn save_overlay(
        &self,
        path: &Path,
        picture: &Picture,
        segmentation: &Segmentation,
    ) -> Result<(), Error> {
        let overlay = segmentation.overlay_with(picture, self.alpha)?;
        let overlay = if self.legend {
            segmentation.legend(&overlay)
        } else {
            overlay
        };
        save_marked(&overlay, path, "overlay")
    }
}

/// Writes a drawing as a PNG that says that it is one.
pub(super) fn save_marked(drawing: &Picture, path: &Path, kind: &str) -> Result<(), Error> {
    Ok(write_atomic(path, &mark_result(&drawing.to_png(), kind))?)
}

/// Finds out whether a folder for results is there and takes files, or could be made; makes nothing. For what works
/// long before it knows what to write.
///
/// # Errors
/// As [`prepare_folder`].
pub fn check_folder(out: &Path) -> Result<(), Error> {
    if out.exists() && !out.is_dir() {
        return Err(OutputError::File(out.into()).into());
    }
    segmenta_files::check_folder(out).map_err(|cause| {
        let path = out.into();
        OutputError::Folder { path, cause }.into()
    })
}

/// Makes a folder for results, and finds out now rather than after minutes of work whether it can be written to.
///
/// # Errors
/// [`OutputError`]: it is a file, or cannot be made or written to.
pub fn prepare_folder(out: &Path) -> Result<(), Error> {
    if out.exists() && !out.is_dir() {
        return Err(OutputError::File(out.into()).into());
    }
    let probe = out.join(format!(".segmenta-{}.tmp", std::process::id()));
    let try_it = || {
        fs::create_dir_all(out)?;
        fs::write(&probe, "")?;
        fs::remove_file(&probe)
    };
    try_it().map_err(|cause| {
        let path = out.into();
        OutputError::Folder { path, cause }.into()
    })
}
