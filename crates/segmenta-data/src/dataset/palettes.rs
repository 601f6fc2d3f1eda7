//! Palettes by the names of the data sets that they are known from, and those of files.

use std::path::Path;

use segmenta_image::Palette;

use super::classes::CITYSCAPES_COLOURS;
use crate::DataError;
use crate::annotation::ClassList;

/// The names that [`palette`] knows.
pub const PALETTES: [&str; 4] = ["voc", "torchvision", "cityscapes", "ade20k"];

/// Colours by a name of [`PALETTES`], or of a file: a class a line, its name and three numbers, as [`ClassList`] reads
/// them.
///
/// # Errors
/// A word that is neither; a file that cannot be read, or that has no colours.
pub fn palette(word: &str) -> Result<Palette, DataError> {
    match word {
        "voc" => return Ok(Palette::voc()),
        "torchvision" => return Ok(Palette::torchvision()),
        "cityscapes" => return Ok(Palette::from_colors(&CITYSCAPES_COLOURS)),
        "ade20k" => return Ok(Palette::from_colors(&ADE20K_COLOURS)),
        _ => {}
    }
    let path = Path::new(word);
    if !path.exists() && path.extension().is_none() {
        return Err(DataError::setting(
            format!("no palette is called `{word}`"),
            "palette",
            "name voc, torchvision, cityscapes or ade20k, or a file with a class and its red, green and blue a line",
        ));
    }
    let list = ClassList::read(path)?;
    let colours: Option<Vec<[u8; 3]>> = list.colours().iter().copied().collect();
    let colours = colours.ok_or_else(|| {
        DataError::at(
            "a list of classes without colours",
            path,
            "write red, green and blue behind each name: road 128 64 128",
        )
    })?;
    Ok(Palette::from_colors(&colours))
}

/// Of ADE20K's 150 classes, in the order of [`super::ADE20K_CLASSES`]: the scene parsing benchmark's own colours.
#[rustfmt::skip]
const ADE20K_COLOURS: [[u8; 3]; 150] = [
    [120, 120, 120], [180, 120, 120], [6, 230, 230], [80, 50, 50], [4, 200, 3], [120, 120, 80],
    [140, 140, 140], [204, 5, 255], [230, 230, 230], [4, 250, 7], [224, 5, 255], [235, 255, 7],
    [150, 5, 61], [120, 120, 70], [8, 255, 51], [255, 6, 82], [143, 255, 140], [204, 255, 4],
    [255, 51, 7], [204, 70, 3], [0, 102, 200], [61, 230, 250], [255, 6, 51], [11, 102, 255],
    [255, 7, 71], [255, 9, 224], [9, 7, 230], [220, 220, 220], [255, 9, 92], [112, 9, 255],
    [8, 255, 214], [7, 255, 224], [255, 184, 6], [10, 255, 71], [255, 41, 10], [7, 255, 255],
    [224, 255, 8], [102, 8, 255], [255, 61, 6], [255, 194, 7], [255, 122, 8], [0, 255, 20],
    [255, 8, 41], [255, 5, 153], [6, 51, 255], [235, 12, 255], [160, 150, 20], [0, 163, 255],
    [140, 140, 140], [250, 10, 15], [20, 255, 0], [31, 255, 0], [255, 31, 0], [255, 224, 0],
    [153, 255, 0], [0, 0, 255], [255, 71, 0], [0, 235, 255], [0, 173, 255], [31, 0, 255],
    [11, 200, 200], [255, 82, 0], [0, 255, 245], [0, 61, 255], [0, 255, 112], [0, 255, 133],
    [255, 0, 0], [255, 163, 0], [255, 102, 0], [194, 255, 0], [0, 143, 255], [51, 255, 0],
    [0, 82, 255], [0, 255, 41], [0, 255, 173], [10, 0, 255], [173, 255, 0], [0, 255, 153],
    [255, 92, 0], [255, 0, 255], [255, 0, 245], [255, 0, 102], [255, 173, 0], [255, 0, 20],
    [255, 184, 184], [0, 31, 255], [0, 255, 61], [0, 71, 255], [255, 0, 204], [0, 255, 194],
    [0, 255, 82], [0, 10, 255], [0, 112, 255], [51, 0, 255], [0, 194, 255], [0, 122, 255],
    [0, 255, 163], [255, 153, 0], [0, 255, 10], [255, 112, 0], [143, 255, 0], [82, 0, 255],
    [163, 255, 0], [255, 235, 0], [8, 184, 170], [133, 0, 255], [0, 255, 92], [184, 0, 255],
    [255, 0, 31], [0, 184, 255], [0, 214, 255], [255, 0, 112], [92, 255, 0], [0, 224, 255],
    [112, 224, 255], [70, 184, 160], [163, 0, 255], [153, 0, 255], [71, 255, 0], [255, 0, 163],
    [255, 204, 0], [255, 0, 143], [0, 255, 235], [133, 255, 0], [255, 0, 235], [245, 0, 255],
    [255, 0, 122], [255, 245, 0], [10, 190, 212], [214, 255, 0], [0, 204, 255], [20, 0, 255],
    [255, 255, 0], [0, 153, 255], [0, 41, 255], [0, 255, 204], [41, 0, 255], [41, 255, 0],
    [173, 0, 255], [0, 245, 255], [71, 0, 255], [122, 0, 255], [0, 255, 184], [0, 92, 255],
    [184, 255, 0], [0, 133, 255], [255, 214, 0], [25, 194, 194], [102, 255, 0], [92, 0, 255],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_colours() {
        let first = |name: &str| palette(name).unwrap().color(1);
        assert_eq!(
            PALETTES.map(first),
            [[128, 0, 0], [1, 127, 31], [244, 35, 232], [180, 120, 120]]
        );
        let error = palette("vocc").unwrap_err().to_string();
        assert!(error.contains("torchvision"), "{error}");
    }

    #[test]
    fn a_file_says_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.txt");
        std::fs::write(&path, "sky 1 2 3\ntree 4 5 6\n").unwrap();
        let read = palette(path.to_str().unwrap()).unwrap();
        assert_eq!((read.color(1), read.classes()), ([4, 5, 6], 2));
        std::fs::write(&path, "sky\ntree\n").unwrap();
        let error = palette(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("without colours"), "{error}");
    }
}
