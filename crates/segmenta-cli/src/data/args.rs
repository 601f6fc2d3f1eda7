//! What `segmenta data` can be asked.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use segmenta_data::{Kind, MaskRule, Open, Split};

use super::super::message::Usage;
use super::super::values::{fraction, number};

const LAYOUT: &str = "How the data lies";

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    pub(crate) command: Data,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Bring a published data set into the cache, once: voc2012, oxford-pets, camvid, ade20k, coco-val
    #[command(after_help = "\
Examples:
  segmenta data pull                             what there is
  segmenta data pull oxford-pets                 size and licence are said before; prints the folder
  segmenta train pets-segnet --data oxford-pets  a name stands for its folder in every command

Archives come from where they are published, or from a mirror that has them under their names
(SEGMENTA_DATA), are gone on with where a download was cut, verified, and unpacked into the cache
(SEGMENTA_HOME). Sets of Kaggle need an account: kaggle.com says how, `kaggle datasets download`
brings them, and any folder with pictures and masks will do.")]
    Pull(PullData),
    /// Every problem of a data set, with file names and counts, before a network meets it
    #[command(after_help = "\
Examples:
  segmenta data check VOCdevkit
  segmenta data check nuclei --classes nucleus
  segmenta data check scans --images 'raw/img_{}.tif' --masks 'seg/mask_{}.png' --ignore 11
  segmenta data check scans --masks 0/255
  segmenta data check pets --json | jq '.findings[] | {problem, count}'

Looked for: missing pairs, two files of one name, files that cannot be read, sizes that differ,
masks that break the rule by which values are classes, masks of colours, one picture in two splits
(by content), classes without a pixel.

One rule holds for all masks. ids: a value is the id of its class, 255 is no class. 0/255: 0 is the
background, 255 the class before it; so 0/128/255 or 1/2/3, the value of each class in the order of
ids. from-one: a value is the id plus 1, 0 and 255 are no class. The check says which holds and what
speaks for it; --masks says it yourself.

Exit codes: 0 no errors (there may be warnings), 1 errors were found, 2 wrong usage.")]
    Check(Check),
    /// Pixels of each class, and weights that would balance them
    #[command(after_help = "\
Examples:
  segmenta data classes pets --split train
  segmenta data classes camvid --json | jq '[.classes[].weight]'

The weight is by median frequency balancing: a class's frequency is its share of the pixels of those
pictures in which it occurs; its weight is the median of all frequencies divided by its own.")]
    Classes(ClassesArgs),
    /// Deal pictures out to train, val and test at random: lists of names
    #[command(after_help = "\
Examples:
  segmenta data split nuclei --train 0.8 --seed 42
  segmenta data split nuclei --train 0.7 --val 0.15 --test 0.15 -o lists

Writes train.txt, val.txt and test.txt into DIR/splits, where every command finds them; lists in
another folder are given with --splits. The same names and seed give the same lists everywhere.")]
    Split(SplitArgs),
    /// A sheet of augmented pairs, as the network will see them
    #[command(after_help = "\
Examples:
  segmenta data preview nuclei --recipe recipes/nuclei-unet.toml
  segmenta data preview pets --count 4 --draws 5 --epoch 7 -o pets.png

A row a picture: first as it is, then each draw as picture and with its mask laid over. The recipe's
`augment` list is taken, at its top or below [data] or [train]:
  augment = [
    { name = \"resize\", size = \"256x256\" },
    { name = \"horizontal_flip\", p = 0.5 },
    { name = \"color_jitter\", brightness = 0.2, hue = 0.05, p = 0.2 },
  ]")]
    Preview(Preview),
    /// Other annotations to masks of class ids
    Convert(ConvertArgs),
}

/// Which data set.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The data set's folder
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
    /// Its layout: voc, pets, camvid, cityscapes, ade20k, coco, folder, image-folder [default: recognised]
    #[arg(long, help_heading = LAYOUT)]
    pub(crate) kind: Option<Kind>,
    /// Of a folder: where pictures lie, {} for the name: 'images/{}.jpg', 'img_{}.png'
    #[arg(long, value_name = "PATTERN", help_heading = LAYOUT)]
    pub(crate) images: Option<String>,
    /// Likewise of masks: 'masks/{}.png', 'mask_{}.png'. Also, or again, what their values mean: ids, 0/255, from-one,
    /// 1/2/3 [default: as the layout, the list of classes or all masks say]
    #[arg(long, value_name = "PATTERN|RULE", help_heading = LAYOUT)]
    pub(crate) masks: Vec<String>,
    /// Names of the classes in the order of their ids [default: DIR/classes.txt, or the layout's own]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', help_heading = LAYOUT)]
    pub(crate) classes: Option<Vec<String>>,
    /// Values of masks that are no class, beside 255
    #[arg(long, value_name = "ID", value_delimiter = ',', help_heading = LAYOUT)]
    pub(crate) ignore: Vec<u8>,
    /// Folder of train.txt, val.txt, test.txt [default: DIR/splits, or the layout's own lists]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = LAYOUT)]
    pub(crate) splits: Option<PathBuf>,
}

impl Source {
    pub(crate) fn open(&self) -> anyhow::Result<Open> {
        let (mut masks, mut rule) = (None, None);
        for text in &self.masks {
            let again = if text.contains("{}") {
                masks.replace(text.clone()).is_some()
            } else {
                rule.replace(text.parse::<MaskRule>()?).is_some()
            };
            if again {
                let problem = "given twice · --masks · a pattern with {} and a rule for values are two things; give each once";
                return Err(Usage(problem.into()).into());
            }
        }
        Ok(Open {
            kind: self.kind,
            images: self.images.clone(),
            masks,
            rule,
            classes: self.classes.clone(),
            ignore: self.ignore.clone(),
            splits: self.splits.clone(),
            ..Open::default()
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The whole report as JSON, all files named
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClassesArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Only this split: train, val or test
    #[arg(long)]
    pub(crate) split: Option<Split>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Share to learn from, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    pub(crate) train: f64,
    /// Share to choose by while learning [default: what is left]
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    pub(crate) val: Option<f64>,
    /// Share to measure on [default: what is left if --val is given]
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    pub(crate) test: Option<f64>,
    /// Which random choice
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder for the lists [default: DIR/splits]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    #[command(flatten)]
    pub(crate) source: Source,
    /// A TOML file with an `augment` list [default: pictures as they are]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) recipe: Option<PathBuf>,
    /// Only this split: train, val or test
    #[arg(long)]
    pub(crate) split: Option<Split>,
    /// Pictures, chosen at random
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = number(1..=64))]
    pub(crate) count: usize,
    /// How often each is drawn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(1..=16))]
    pub(crate) draws: usize,
    /// The run's seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// The first epoch that is drawn, the others following it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) epoch: u64,
    /// The sheet to write, .png or .jpg
    #[arg(short, long, value_name = "FILE", default_value = "preview.png", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    #[command(subcommand)]
    pub(crate) from: Convert,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Convert {
    /// COCO's JSON of instances: polygons with holes, run lengths
    #[command(after_help = "\
Examples:
  segmenta data convert coco annotations/instances_train2017.json -o train
  segmenta data convert coco annotations/instances_val2017.json -o val --classes train/classes.txt

Ids follow the categories' numbers from 1 without gaps; 0 is the background. Categories of one name
are one class, and one called background is 0. Larger things are painted first. A ring inside
another that runs the other way round is a hole. Annotations without a segmentation and rings of
fewer than 3 points are left out and counted.")]
    Coco(Converted),
    /// labelme's JSON files: polygons, rectangles, circles, masks
    #[command(after_help = "\
Examples:
  segmenta data convert labelme annotated/train -o train
  segmenta data convert labelme annotated/val -o val --classes train/classes.txt

Ids follow the labels in alphabetical order from 1; 0 is the background (_background_), and
__ignore__ is 255, which counts nowhere. Shapes are painted in the order in which they were drawn;
lines and points are left out and counted.")]
    Labelme(Converted),
    /// CVAT's XML (`CVAT for images 1.1`, `CVAT for video 1.1`): polygons, boxes, ellipses, masks
    #[command(after_help = "\
Examples:
  segmenta data convert cvat annotations.xml -o masks
  segmenta data convert cvat annotations.xml -o masks --classes background,road,car

Ids follow the task's labels from 1; 0 is the background. Shapes are turned as they are annotated
and painted by their z_order. A video gives a mask for every frame, frame_000000.png and so on, its
tracks moved between their key frames as CVAT moves them. Lines, points, skeletons, cuboids and tags
are left out and counted.")]
    Cvat(Converted),
    /// Masks of colours, a colour a class
    #[command(after_help = "\
Examples:
  segmenta data convert rgb painted/ --colors label_colors.txt -o masks
  segmenta data convert rgb painted/ -o masks          the colours found become classes

The list of colours has a class a line: road 128 64 128 (or 128 64 128 road, or road,128,64,128, or
CVAT's road:128,64,128::). A labelmap.txt, label_colors.txt or class_dict.csv in PATH or above it is
taken by itself. Other colours become 255, which counts nowhere, and are reported. Colours that were
found are called after themselves; DIR/classes.txt and DIR/labelmap.txt have them for the next call.")]
    Rgb(Rgb),
}

#[derive(Debug, Args)]
pub(crate) struct Converted {
    /// The file of annotations, or a folder of them
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) input: PathBuf,
    /// Folder for masks/ and classes.txt; made if it is not there
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,
    /// Classes in the order of their ids: a classes.txt or labelmap.txt, or the names [default: the
    /// annotations' own]
    #[arg(long, value_name = "FILE|A,B,C", value_hint = ValueHint::FilePath)]
    pub(crate) classes: Option<String>,
    /// Number the classes anew where a classes.txt in DIR or beside it gives them other ids
    #[arg(long)]
    pub(crate) renumber: bool,
    /// Write over masks that are there already and differ
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rgb {
    #[command(flatten)]
    pub(crate) paths: Converted,
    /// Names and colours of the classes, a class a line, in the order of their ids
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) colors: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PullData {
    /// The data set; without it, what there is
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}
