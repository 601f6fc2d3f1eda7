//! What a check says, to people and to programs.

use segmenta_files::count;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::scan::Scan;
use crate::{Kind, MaskMeaning, Split};

/// So many files of a problem are named to people; programs get all.
const NAMED: usize = 5;

/// What is in a data set and what is wrong with it. `Display` is for people, serde for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The layout.
    pub kind: Kind,
    /// The folder.
    pub root: PathBuf,
    /// Pictures that have (or need no) mask.
    pub pictures: usize,
    /// Pictures in each split.
    pub splits: BTreeMap<Split, usize>,
    /// `(width, height)` of the picture with the fewest pixels.
    pub smallest: Option<(usize, usize)>,
    /// `(width, height)` of the picture with the most.
    pub largest: Option<(usize, usize)>,
    /// What the values of masks mean; `None` where there are no masks.
    pub masks: Option<MaskMeaning>,
    /// Pixels of each class, in the order of ids.
    pub classes: Vec<ClassCount>,
    /// Pixels that no class counts.
    pub ignored: u64,
    /// What is to be said, the worst first.
    pub findings: Vec<Finding>,
}

/// How much of a class there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its id.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// Its pixels.
    pub pixels: u64,
    /// All pixels that count in the pictures where it occurs.
    #[serde(skip)]
    pub of_pixels: u64,
    /// Pictures in which it occurs.
    pub pictures: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Training would fail or learn what is wrong.
    Error,
    /// Training would run; whether it should, is the user's to say.
    Warning,
    /// Worth knowing.
    Note,
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// A picture has no mask.
    MissingMask,
    /// A mask has no picture.
    MissingPicture,
    /// A list names what is not there.
    ListedWithoutFiles,
    /// A list has a name more than once.
    ListedTwice,
    /// Several pictures or masks have one name.
    TwoOfOneName,
    /// A picture cannot be read.
    UnreadablePicture,
    /// A picture has 16-bit values of which only 12 bits are used.
    NearlyBlack,
    /// A file holds several pictures; the first is read.
    FirstOfSeveral,
    /// A mask cannot be read.
    UnreadableMask,
    /// A mask has colours where ids are wanted.
    ColourMask,
    /// A picture and its mask have two sizes.
    SizesDiffer,
    /// A mask has values that stand for no class.
    IdsOutOfRange,
    /// In a mask no pixel counts.
    BlankMask,
    /// One picture is in two splits, under whatever names.
    InTwoSplits,
    /// One picture is there more than once.
    Copies,
    /// A class has no pixel.
    EmptyClass,
    /// Masks of one class are 0 and 255.
    WhiteOnBlack,
    /// A mask has 0 and 255 alone, though 255 is no class.
    WhiteAmongIds,
    /// A class is called `void` or the like.
    NoClass,
    /// Masks lie as the photograph in its file and are turned with it.
    Turned,
    /// There are no masks at all.
    NoMasks,
    /// A document of annotations has what gives no pixels, or contradicts itself.
    Annotations,
}

impl Problem {
    fn severity(self) -> Severity {
        match self {
            Self::MissingMask
            | Self::ListedWithoutFiles
            | Self::UnreadablePicture
            | Self::UnreadableMask
            | Self::ColourMask
            | Self::SizesDiffer
            | Self::IdsOutOfRange
            | Self::TwoOfOneName
            | Self::InTwoSplits => Severity::Error,
            Self::MissingPicture
            | Self::NearlyBlack
            | Self::FirstOfSeveral
            | Self::ListedTwice
            | Self::BlankMask
            | Self::WhiteAmongIds
            | Self::Copies
            | Self::EmptyClass
            | Self::Annotations => Severity::Warning,
            Self::WhiteOnBlack | Self::NoClass | Self::Turned | Self::NoMasks => Severity::Note,
        }
    }

    /// The finding in words, of one picture: `mask of another size than its picture`.
    pub fn word(self) -> &'static str {
        self.words()[0]
    }

    /// The finding in words, for one and for several, and what to do.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::MissingMask => [
                "picture without a mask",
                "pictures without a mask",
                "add the masks, or move the pictures elsewhere",
            ],
            Self::MissingPicture => [
                "mask without a picture",
                "masks without a picture",
                "add the pictures, or leave them: they are passed over",
            ],
            Self::ListedWithoutFiles => [
                "name in a list without its files",
                "names in lists without their files",
                "add picture and mask, or take the name out of the list",
            ],
            Self::ListedTwice => [
                "name that a list has more than once",
                "names that lists have more than once",
                "they count once; take the others out of the list",
            ],
            Self::TwoOfOneName => [
                "name of several pictures or masks",
                "names of several pictures or masks",
                "keep one of each, or give each picture a mask of its whole name: a.jpg.png",
            ],
            Self::UnreadablePicture => [
                "picture that cannot be read",
                "pictures that cannot be read",
                "copy or download it again, or take it out with its mask",
            ],
            Self::NearlyBlack => [
                "picture of 12 bits in 16",
                "pictures of 12 bits in 16",
                "stretch the values to 16 bits, or save 8: a network sees it nearly black",
            ],
            Self::FirstOfSeveral => [
                "file of several pictures, of which the first is read",
                "files of several pictures, of which the first is read",
                "save the others to files of their own if they matter",
            ],
            Self::UnreadableMask => [
                "mask that cannot be read",
                "masks that cannot be read",
                "save masks as PNG with class ids: palette or 8-bit grey",
            ],
            Self::ColourMask => [
                "mask of colours where ids are wanted",
                "masks of colours where ids are wanted",
                "make masks of ids: segmenta data convert rgb DIR -o OUT",
            ],
            Self::SizesDiffer => [
                "mask of another size than its picture",
                "masks of another size than their pictures",
                "make the mask at the picture's size (nearest pixel)",
            ],
            Self::IdsOutOfRange => [
                "mask with values that stand for no class",
                "masks with values that stand for no class",
                "correct the masks, name all classes in classes.txt, or say what values mean (masks) and which count nowhere (ignore)",
            ],
            Self::BlankMask => [
                "mask in which no pixel counts",
                "masks in which no pixel counts",
                "nothing is learned from them: draw them, or take them out",
            ],
            Self::InTwoSplits => [
                "picture in two splits (the same bytes)",
                "pictures in two splits (the same bytes)",
                "keep it in one, or scores say what was learned by heart",
            ],
            Self::Copies => [
                "picture that is there more than once",
                "pictures that are there more than once",
                "keep one, unless it is meant to count more",
            ],
            Self::EmptyClass => [
                "class without a pixel",
                "classes without a pixel",
                "its score will be n/a; take it out of the classes, or add pictures that have it",
            ],
            Self::WhiteOnBlack => [
                "mask of 0 and 255",
                "masks of 0 and 255",
                "taken as one class before a background: 255 is id 1",
            ],
            Self::WhiteAmongIds => [
                "mask of 0 and 255 alone, where values are ids",
                "masks of 0 and 255 alone, where values are ids",
                "255 counts nowhere in them; if it is a class, say so: masks = \"0/255\"",
            ],
            Self::NoClass => [
                "class whose name says that it is none",
                "classes whose names say that they are none",
                "call it otherwise to keep it, ignore its value to leave it out",
            ],
            Self::Turned => [
                "mask that lies as its photograph does in the file",
                "masks that lie as their photographs do in the file",
                "turned upright together (EXIF orientation)",
            ],
            Self::NoMasks => [
                "picture, and no masks",
                "pictures, and no masks",
                "enough to predict; to learn, put masks of the same names into masks/ beside images/",
            ],
            Self::Annotations => [
                "fault in annotations",
                "sorts of faults in annotations",
                "correct the shapes, or leave them: they give no pixels",
            ],
        }
    }
}

/// One problem and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub problem: Problem,
    /// How bad.
    pub severity: Severity,
    /// How often.
    pub count: usize,
    /// More about all of them, or nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do.
    pub remedy: String,
    /// The files, as seen from the data set's folder, with what is wrong with each.
    pub files: Vec<String>,
    /// Which items of the data set have it, by index; none for what lies beside them (a mask without a picture) or
    /// concerns the whole set.
    #[serde(skip)]
    pub items: Vec<usize>,
}

impl Finding {
    pub(super) fn new(problem: Problem) -> Self {
        Self {
            problem,
            severity: problem.severity(),
            count: 0,
            detail: String::new(),
            remedy: problem.words()[2].into(),
            files: Vec::new(),
            items: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, file: String) {
        self.count += 1;
        self.files.push(file);
    }

    pub(super) fn add_at(&mut self, scan: &Scan, file: String) {
        self.items.push(scan.index);
        self.add(file);
    }
}

impl Report {
    /// How many findings are errors.
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl fmt::Display for Finding {
    /// How bad it is, the count in words, the first files, the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        self.tell(f)
    }
}

impl Finding {
    /// As `Display` has it, without how bad it is.
    pub fn told(&self) -> String {
        struct Told<'a>(&'a Finding);
        impl fmt::Display for Told<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.tell(f)
            }
        }
        Told(self).to_string()
    }

    fn tell(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, several, _] = self.problem.words();
        let words = if self.count == 1 { one } else { several };
        write!(f, "{} {words}", self.count)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        for file in self.files.iter().take(NAMED) {
            let line: String = file
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect();
            write!(f, "\n  {line}")?;
        }
        if self.files.len() > NAMED {
            write!(f, "\n  and {} more", self.files.len() - NAMED)?;
        }
        write!(f, "\n  → {}", self.remedy)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.to_string_lossy().replace(char::is_control, "?");
        let pictures = count(self.pictures, "picture");
        write!(f, "{} in {root}: {pictures}", self.kind)?;
        if !self.splits.is_empty() {
            let splits: Vec<String> = self
                .splits
                .iter()
                .map(|(split, n)| format!("{split} {n}"))
                .collect();
            write!(f, " ({})", splits.join(", "))?;
        }
        if let (Some((w, h)), Some((mw, mh))) = (self.smallest, self.largest) {
            if (w, h) == (mw, mh) {
                write!(f, " of {w}×{h}")?;
            } else {
                write!(f, " of {w}×{h} to {mw}×{mh}")?;
            }
        }
        if !self.classes.is_empty() {
            write!(f, ", {}", count(self.classes.len(), "class"))?;
        }
        writeln!(f)?;
        if let Some(masks) = &self.masks {
            writeln!(f, "masks are {masks}")?;
        }
        for finding in &self.findings {
            writeln!(f, "\n{finding}")?;
        }
        if self
            .findings
            .iter()
            .all(|finding| finding.severity == Severity::Note)
        {
            writeln!(f, "\nno problems")?;
        }
        Ok(())
    }
}
