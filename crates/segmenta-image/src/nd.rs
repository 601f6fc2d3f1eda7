//! Pictures and label maps as `ndarray` arrays: height × width × 3 and height × width, as NumPy has them.

use ndarray::{Array3, ArrayView2, ArrayView3};

use crate::{ErrorKind, LabelMap, Picture, PictureError, Size};

impl Picture {
    /// The pixels as an array of height × width × 3, without a copy.
    pub fn view(&self) -> ArrayView3<'_, u8> {
        let (width, height) = self.size();
        ArrayView3::from_shape((height, width, 3), self.pixels())
            .expect("a picture has three bytes for each of its pixels")
    }

    /// A copy of an array of height × width × 3 (RGB), whatever its strides.
    ///
    /// # Errors
    /// A third axis that is not 3 long, or a size that no picture has ([`Size::new`]).
    pub fn from_view(array: &ArrayView3<'_, u8>) -> Result<Self, PictureError> {
        let (height, width, channels) = array.dim();
        if channels != 3 {
            return Err(PictureError::new(
                ErrorKind::Mismatch,
                format!("an array of {height}×{width}×{channels} is no RGB picture"),
                "the array given",
                "give height × width × 3",
            ));
        }
        Size::new(width, height).map_err(|error| error.of("the array given"))?;
        Self::from_rgb(width, height, array.iter().copied().collect())
    }
}

impl LabelMap {
    /// The ids as an array of height × width, without a copy.
    pub fn view(&self) -> ArrayView2<'_, u8> {
        let (width, height) = self.size();
        ArrayView2::from_shape((height, width), self.ids())
            .expect("a label map has a byte for each of its pixels")
    }

    /// A copy of an array of height × width of ids, whatever its strides.
    ///
    /// # Errors
    /// A size that no label map has ([`Size::new`]).
    pub fn from_view(array: &ArrayView2<'_, u8>) -> Result<Self, PictureError> {
        let (height, width) = array.dim();
        Size::new(width, height).map_err(|error| error.of("the array given"))?;
        Self::new(width, height, array.iter().copied().collect())
    }
}

/// As [`Picture::from_view`].
impl TryFrom<Array3<u8>> for Picture {
    type Error = PictureError;

    fn try_from(array: Array3<u8>) -> Result<Self, PictureError> {
        Self::from_view(&array.view())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_have_rows_first() {
        let picture = Picture::new(3, 2, (0..18).collect());
        assert_eq!(picture.view()[[1, 2, 0]], 15);
        assert_eq!(Picture::from_view(&picture.view()).unwrap(), picture);
        // Any strides: height and width exchanged.
        let turned = Picture::from_view(&picture.view().permuted_axes([1, 0, 2])).unwrap();
        assert_eq!(turned.size(), (2, 3));
        assert_eq!(turned.pixels()[..6], [0, 1, 2, 9, 10, 11]);
        assert!(Picture::try_from(Array3::zeros((2, 3, 4))).is_err());
        assert!(Picture::try_from(Array3::zeros((0, 3, 3))).is_err());
        let map = LabelMap::new(3, 1, vec![7, 8, 255]).unwrap();
        assert_eq!(map.view()[[0, 2]], 255);
        assert_eq!(LabelMap::from_view(&map.view()).unwrap(), map);
    }
}
