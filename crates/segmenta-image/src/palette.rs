//! Colours of classes.

/// A colour (red, green, blue) for each id, and how many ids are classes.
///
/// Ids from [`Palette::classes`] on are not drawn over a photograph; 255, the field's mark for "void", never is.
#[derive(Clone, PartialEq, Eq)]
pub struct Palette {
    colours: [[u8; 3]; 256],
    classes: usize,
}

impl Palette {
    /// Pascal VOC's colours, which continue past its 21 classes to any number: the devkit's bit-reversal map, and
    /// the one torchvision uses. Classes 0 to 254 are drawn.
    pub const fn voc() -> Self {
        let mut colours = [[0; 3]; 256];
        let mut id = 0;
        while id < 256 {
            colours[id] = voc_colour(id);
            id += 1;
        }
        Self {
            colours,
            classes: 255,
        }
    }

    /// The colours of torchvision's `draw_segmentation_masks` where none are given: id × (2²⁵ − 1, 2¹⁵ − 1, 2²¹ − 1)
    /// modulo 255, the background black. Classes 0 to 254 are drawn.
    pub const fn torchvision() -> Self {
        let mut palette = Self::voc();
        let mut id = 0;
        while id < 256 {
            let each = [(1 << 25) - 1, (1 << 15) - 1, (1 << 21) - 1];
            let mut channel = 0;
            while channel < 3 {
                palette.colours[id][channel] = (id * each[channel] % 255) as u8;
                channel += 1;
            }
            id += 1;
        }
        palette
    }

    /// One colour for each class. Ids past them have VOC's colours in files, and are not drawn over photographs.
    /// An id is a byte: what comes after 256 colours is left out.
    pub fn from_colors(colours: &[[u8; 3]]) -> Self {
        let mut palette = Self::voc();
        palette.classes = colours.len().min(256);
        palette.colours[..palette.classes].copy_from_slice(&colours[..palette.classes]);
        palette
    }

    /// The same colours for this many classes: ids from `classes` on are not drawn over photographs.
    #[must_use]
    pub fn with_classes(mut self, classes: usize) -> Self {
        self.classes = classes.min(256);
        self
    }

    /// How many ids are classes, 0 to 256.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The colour of an id.
    pub fn color(&self, id: u8) -> [u8; 3] {
        self.colours[usize::from(id)]
    }

    /// All 256 colours.
    pub fn colors(&self) -> &[[u8; 3]; 256] {
        &self.colours
    }

    /// Whether an id is a class that is drawn over photographs.
    pub fn draws(&self, id: u8) -> bool {
        id != crate::VOID && usize::from(id) < self.classes
    }
}

impl Default for Palette {
    fn default() -> Self {
        Self::voc()
    }
}

impl std::fmt::Debug for Palette {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.classes.min(21);
        write!(
            f,
            "Palette({} classes, {:?}…)",
            self.classes,
            &self.colours[..shown]
        )
    }
}

/// Deals the id's bits out to red, green and blue in turn, each channel filled from its highest bit.
const fn voc_colour(id: usize) -> [u8; 3] {
    let mut colour = [0; 3];
    let mut bit = 0;
    while bit < 8 {
        colour[bit % 3] |= ((id >> bit & 1) << (7 - bit / 3)) as u8;
        bit += 1;
    }
    colour
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voc_colours_are_the_known_ones() {
        let palette = Palette::voc();
        assert_eq!(palette.color(1), [128, 0, 0]);
        assert_eq!(palette.color(15), [192, 128, 128]);
        assert_eq!(palette.color(255), [224, 224, 192]);
    }

    #[test]
    fn torchvisions_colours_are_those_that_it_draws() {
        let palette = Palette::torchvision();
        let colours = [0, 8, 12, 15].map(|id| palette.color(id));
        assert_eq!(
            colours,
            [[0, 0, 0], [8, 251, 248], [12, 249, 117], [15, 120, 210]]
        );
    }

    #[test]
    fn only_classes_are_drawn() {
        let palette = Palette::from_colors(&[[1, 2, 3], [4, 5, 6]]);
        assert!(palette.draws(1) && !palette.draws(2));
        assert_eq!(palette.color(1), [4, 5, 6]);
        assert!(!Palette::voc().draws(255));
        assert!(!Palette::voc().with_classes(256).draws(255));
    }
}
