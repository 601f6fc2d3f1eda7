//! Names and colours of classes.

use std::path::Path;

use segmenta_files::count;
use segmenta_image::Palette;

use crate::{DataError, text};

/// The classes of a data set: their names in the order of their ids, and a colour for each id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    palette: Palette,
    named: bool,
}

/// Classes of these names hold the pixels that count nowhere.
const NO_CLASS: [&str; 6] = [
    "unlabelled",
    "unlabeled",
    "void",
    "ignore",
    "ignored",
    "ignore_index",
];

/// Whether a class's name says that it is none.
pub(crate) fn is_no_class(name: &str) -> bool {
    let mut known = NO_CLASS.iter();
    known.any(|known| name.eq_ignore_ascii_case(known))
}

/// Names as a user gives them: 1 to 255, each different.
pub(crate) fn check_names(names: &[String], place: &str) -> Result<(), DataError> {
    let remedy = "name 1 to 255 classes, each differently, in the order of their ids";
    let wrong = |what: String| Err(DataError::data(what, place, remedy));
    if names.is_empty() || names.len() > 255 {
        return wrong(count(names.len(), "class"));
    }
    for (id, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            return wrong(format!("class {id} has no name"));
        }
        if let Some(first) = names[..id].iter().position(|other| other == name) {
            return wrong(format!("classes {first} and {id} are both called `{name}`"));
        }
    }
    Ok(())
}

/// A list of names of classes, one a line. Empty lines are passed over, and comments, which begin with `#` and a
/// blank.
pub(crate) fn read_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = text::read(path)?;
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        match line.strip_prefix('#') {
            // Passed over, it would give the next class its id.
            Some(rest) if rest.starts_with(|c: char| !c.is_whitespace() && c != '#') => {
                return Err(DataError::at(
                    format!("line {} is a comment or a class: `{line}`", number + 1),
                    path,
                    "write a blank after the # of a comment, or call the class otherwise",
                ));
            }
            Some(_) => {}
            None if line.is_empty() => {}
            None => names.push(line.to_owned()),
        }
    }
    check_names(&names, &path.display().to_string())?;
    Ok(names)
}

impl Classes {
    /// Classes with colours of their own.
    pub fn with_palette(
        names: impl IntoIterator<Item = impl Into<String>>,
        palette: Palette,
    ) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let palette = palette.with_classes(names.len());
        Self {
            names,
            palette,
            named: true,
        }
    }

    /// So many classes whose names nobody has said; two are a background and a foreground where `one_class` says so.
    pub(crate) fn unnamed(count: usize, one_class: bool) -> Self {
        let names: Vec<String> = if one_class && count == 2 {
            ["background", "foreground"].map(String::from).into()
        } else {
            (0..count).map(|id| format!("class {id}")).collect()
        };
        Self {
            named: false,
            ..Self::new(names)
        }
    }

    /// The same colours with other names.
    pub(crate) fn renamed(&self, names: Vec<String>) -> Self {
        Self::with_palette(names, self.palette.clone())
    }

    /// Classes with Pascal VOC's colours.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::with_palette(names, Palette::voc())
    }

    /// How many, 0 where they are not known.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether somebody has said their names: the layout, a list, the user. Otherwise they are made up: `class 3`.
    pub fn are_named(&self) -> bool {
        self.named
    }

    /// Their names, in the order of their ids.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A class's name; `class N` for one that has none.
    pub fn name(&self, id: usize) -> String {
        let name = self.names.get(id);
        name.cloned().unwrap_or_else(|| format!("class {id}"))
    }

    /// Their colours.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }
}

/// Pascal VOC 2012: background and 20 classes of things.
pub const VOC_CLASSES: [&str; 21] = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// Oxford-IIIT Pets' trimaps, 1 to 3 in the files.
pub const PETS_CLASSES: [&str; 3] = ["pet", "background", "border"];

/// Of [`PETS_CLASSES`]: a warm animal before dark ground, its border light.
pub(crate) const PETS_COLOURS: [[u8; 3]; 3] = [[240, 130, 40], [38, 42, 60], [250, 236, 180]];

/// CamVid's 11 classes in SegNet's order.
pub const CAMVID_CLASSES: [&str; 11] = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
];

/// Of [`CAMVID_CLASSES`], as CamVid has them.
pub(crate) const CAMVID_COLOURS: [[u8; 3]; 11] = [
    [128, 128, 128],
    [128, 0, 0],
    [192, 192, 128],
    [128, 64, 128],
    [60, 40, 222],
    [128, 128, 0],
    [192, 128, 128],
    [64, 64, 128],
    [64, 0, 128],
    [64, 64, 0],
    [0, 128, 192],
];

/// Cityscapes' 19 classes that are measured, in the order of their train ids.
pub const CITYSCAPES_CLASSES: [&str; 19] = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
];

/// Of [`CITYSCAPES_CLASSES`], as Cityscapes has them.
pub(crate) const CITYSCAPES_COLOURS: [[u8; 3]; 19] = [
    [128, 64, 128],
    [244, 35, 232],
    [70, 70, 70],
    [102, 102, 156],
    [190, 153, 153],
    [153, 153, 153],
    [250, 170, 30],
    [220, 220, 0],
    [107, 142, 35],
    [152, 251, 152],
    [70, 130, 180],
    [220, 20, 60],
    [255, 0, 0],
    [0, 0, 142],
    [0, 0, 70],
    [0, 60, 100],
    [0, 80, 100],
    [0, 0, 230],
    [119, 11, 32],
];

/// The label id (in `labelIds` files) of each of [`CITYSCAPES_CLASSES`].
pub(crate) const CITYSCAPES_LABEL_IDS: [u8; 19] = [
    7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33,
];

/// ADE20K's 150 classes of the scene parsing benchmark, by the first of their names.
pub const ADE20K_CLASSES: [&str; 150] = [
    "wall",
    "building",
    "sky",
    "floor",
    "tree",
    "ceiling",
    "road",
    "bed",
    "windowpane",
    "grass",
    "cabinet",
    "sidewalk",
    "person",
    "earth",
    "door",
    "table",
    "mountain",
    "plant",
    "curtain",
    "chair",
    "car",
    "water",
    "painting",
    "sofa",
    "shelf",
    "house",
    "sea",
    "mirror",
    "rug",
    "field",
    "armchair",
    "seat",
    "fence",
    "desk",
    "rock",
    "wardrobe",
    "lamp",
    "bathtub",
    "railing",
    "cushion",
    "base",
    "box",
    "column",
    "signboard",
    "chest of drawers",
    "counter",
    "sand",
    "sink",
    "skyscraper",
    "fireplace",
    "refrigerator",
    "grandstand",
    "path",
    "stairs",
    "runway",
    "case",
    "pool table",
    "pillow",
    "screen door",
    "stairway",
    "river",
    "bridge",
    "bookcase",
    "blind",
    "coffee table",
    "toilet",
    "flower",
    "book",
    "hill",
    "bench",
    "countertop",
    "stove",
    "palm",
    "kitchen island",
    "computer",
    "swivel chair",
    "boat",
    "bar",
    "arcade machine",
    "hovel",
    "bus",
    "towel",
    "light",
    "truck",
    "tower",
    "chandelier",
    "awning",
    "streetlight",
    "booth",
    "television receiver",
    "airplane",
    "dirt track",
    "apparel",
    "pole",
    "land",
    "bannister",
    "escalator",
    "ottoman",
    "bottle",
    "buffet",
    "poster",
    "stage",
    "van",
    "ship",
    "fountain",
    "conveyer belt",
    "canopy",
    "washer",
    "plaything",
    "swimming pool",
    "stool",
    "barrel",
    "basket",
    "waterfall",
    "tent",
    "bag",
    "minibike",
    "cradle",
    "oven",
    "ball",
    "food",
    "step",
    "tank",
    "trade name",
    "microwave",
    "pot",
    "animal",
    "bicycle",
    "lake",
    "dishwasher",
    "screen",
    "blanket",
    "sculpture",
    "hood",
    "sconce",
    "vase",
    "traffic light",
    "tray",
    "ashcan",
    "fan",
    "pier",
    "crt screen",
    "plate",
    "monitor",
    "bulletin board",
    "shower",
    "radiator",
    "glass",
    "clock",
    "flag",
];
