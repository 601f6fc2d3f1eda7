//! The classes of a run: their names and colours.

use segmenta_image::Palette;

/// Names and colours of the classes, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    palette: Palette,
}

impl Classes {
    /// A class for each name; colours that the palette does not have are Pascal VOC's.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>, palette: Palette) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let palette = palette.with_classes(names.len());
        Self { names, palette }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names, by id.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The colours; ids that are no class are not drawn.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The colour of each class.
    pub(crate) fn colours(&self) -> Vec<[u8; 3]> {
        (0..self.len())
            .map(|class| self.palette.colors()[class.min(255)])
            .collect()
    }

    /// As many as a confusion matrix has: classes without a name are called by their id.
    pub(crate) fn padded(&self, classes: usize) -> Self {
        let names = (0..classes).map(|class| match self.names.get(class) {
            Some(name) => name.clone(),
            None => format!("class {class}"),
        });
        Self::new(names, self.palette.clone())
    }
}
