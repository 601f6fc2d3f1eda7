//! Pictures from and to what other programs hold: slices of pixels, `image`'s pictures.

use image::{DynamicImage, GrayImage, RgbImage};
use segmenta_files::count;

use crate::{ErrorKind, LabelMap, Picture, PictureError, Size};

/// How a slice's bytes are pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PixelLayout {
    /// One byte a pixel, repeated.
    Grey,
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: OpenCV's order.
    Bgr,
    /// Red, green, blue and an alpha that is dropped, not blended.
    Rgba,
    /// Blue, green, red and an alpha that is dropped, not blended.
    Bgra,
}

impl PixelLayout {
    /// Bytes of a pixel.
    pub fn bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::Bgr => 3,
            Self::Rgba | Self::Bgra => 4,
        }
    }

    /// Where red, green and blue are in a pixel.
    fn places(self) -> [usize; 3] {
        match self {
            Self::Grey => [0, 0, 0],
            Self::Rgb | Self::Rgba => [0, 1, 2],
            Self::Bgr | Self::Bgra => [2, 1, 0],
        }
    }
}

impl Picture {
    /// A copy of pixels that lie in rows of `stride` bytes, from the top: frames of a camera or a decoder, parts of a
    /// larger picture. The last row may end with its last pixel.
    ///
    /// # Errors
    /// A size that no picture has ([`Size::new`]), rows that are longer than the stride, or a slice that ends before
    /// the last pixel.
    pub fn from_slice(
        width: usize,
        height: usize,
        pixels: &[u8],
        layout: PixelLayout,
        stride: usize,
    ) -> Result<Self, PictureError> {
        let size = Size::new(width, height).map_err(|error| error.of("the slice of pixels"))?;
        let row_bytes = size.width() * layout.bytes();
        let needed = stride
            .checked_mul(height - 1)
            .map(|n| n.saturating_add(row_bytes));
        if stride < row_bytes || needed.is_none_or(|n| n > pixels.len()) {
            return Err(PictureError::new(
                ErrorKind::Mismatch,
                format!(
                    "{} with a stride of {stride} for a picture of {size} with {} a pixel",
                    count(pixels.len(), "byte"),
                    count(layout.bytes(), "byte")
                ),
                "the slice of pixels",
                format!("give a stride of {row_bytes} or more, and a row for each of the {height}"),
            ));
        }
        let places = layout.places();
        let mut rgb = Vec::with_capacity(size.pixels() * 3);
        for row in pixels.chunks(stride).take(height) {
            if layout == PixelLayout::Rgb {
                rgb.extend_from_slice(&row[..row_bytes]);
                continue;
            }
            let row = row[..row_bytes].chunks_exact(layout.bytes());
            rgb.extend(row.flat_map(|pixel| places.map(|place| pixel[place])));
        }
        Ok(Self::new(width, height, rgb))
    }
}

/// The same pixels.
///
/// # Errors
/// A picture without pixels.
impl TryFrom<RgbImage> for Picture {
    type Error = PictureError;

    fn try_from(image: RgbImage) -> Result<Self, PictureError> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        Self::from_rgb(width, height, image.into_raw())
    }
}

/// As pictures are read from files: alpha is dropped, grey is repeated, 16-bit values keep their high byte.
///
/// # Errors
/// A picture without pixels, or one of floating-point values, whose range is not known.
impl TryFrom<DynamicImage> for Picture {
    type Error = PictureError;

    fn try_from(image: DynamicImage) -> Result<Self, PictureError> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if let DynamicImage::ImageRgb8(image) = image {
            return Self::try_from(image);
        }
        let rgb = crate::decode::to_rgb(image.as_bytes().to_vec(), image.color());
        Self::from_rgb(
            width,
            height,
            rgb.map_err(|error| error.of("the picture given"))?,
        )
    }
}

/// The same pixels, without a copy.
impl From<Picture> for RgbImage {
    fn from(picture: Picture) -> Self {
        let (width, height) = picture.size();
        RgbImage::from_raw(width as u32, height as u32, picture.into_pixels())
            .expect("a picture has three bytes for each of its pixels")
    }
}

/// The same pixels, without a copy.
impl From<Picture> for DynamicImage {
    fn from(picture: Picture) -> Self {
        Self::ImageRgb8(picture.into())
    }
}

/// The ids as grey values, without a copy.
impl From<LabelMap> for GrayImage {
    fn from(map: LabelMap) -> Self {
        let (width, height) = map.size();
        GrayImage::from_raw(width as u32, height as u32, map.into_ids())
            .expect("a label map has a byte for each of its pixels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_stride_and_order_are_read() {
        let rows = [1, 2, 3, 4, 5, 6, 99, 7, 8, 9, 10, 11, 12];
        let picture = Picture::from_slice(2, 2, &rows, PixelLayout::Rgb, 7).unwrap();
        assert_eq!(picture.pixels(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let picture = Picture::from_slice(1, 2, &rows, PixelLayout::Bgr, 7).unwrap();
        assert_eq!(picture.pixels(), [3, 2, 1, 9, 8, 7]);
        let picture = Picture::from_slice(1, 2, &rows, PixelLayout::Bgra, 7).unwrap();
        assert_eq!(picture.pixels(), [3, 2, 1, 9, 8, 7]);
        let picture = Picture::from_slice(1, 1, &rows, PixelLayout::Rgba, 4).unwrap();
        assert_eq!(picture.pixels(), [1, 2, 3]);
        let picture = Picture::from_slice(2, 2, &rows, PixelLayout::Grey, 3).unwrap();
        assert_eq!(picture.pixels(), [1, 1, 1, 2, 2, 2, 4, 4, 4, 5, 5, 5]);
    }

    #[test]
    fn slices_that_do_not_fit_are_errors() {
        let rows = [0; 13];
        for (width, height, stride) in [
            (2, 2, 5),
            (2, 2, 8),
            (2, 3, 7),
            (0, 1, 7),
            (1, 0, 7),
            (1, 2, usize::MAX),
            (usize::MAX, usize::MAX, usize::MAX),
        ] {
            let read = Picture::from_slice(width, height, &rows, PixelLayout::Rgb, stride);
            assert!(read.is_err(), "{width}×{height}, {stride}");
        }
    }

    #[test]
    fn pictures_come_from_and_go_to_the_image_crate() {
        let picture = Picture::new(2, 1, vec![1, 2, 3, 250, 251, 252]);
        let image = DynamicImage::from(picture.clone());
        assert_eq!(Picture::try_from(image.clone()).unwrap(), picture);
        assert_eq!(
            Picture::try_from(image.to_rgb16().into_dynamic()).unwrap(),
            picture
        );
        assert_eq!(
            Picture::try_from(image.to_rgba8().into_dynamic()).unwrap(),
            picture
        );
        let grey = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![7, 8]).unwrap());
        assert_eq!(
            Picture::try_from(grey).unwrap().pixels(),
            [7, 7, 7, 8, 8, 8]
        );
        let float = Picture::try_from(image.to_rgb32f().into_dynamic()).unwrap_err();
        assert_eq!(float.kind(), ErrorKind::Unsupported);
        assert!(Picture::try_from(DynamicImage::new_rgb8(0, 3)).is_err());
        let map = LabelMap::new(2, 1, vec![0, 255]).unwrap();
        assert_eq!(GrayImage::from(map).into_raw(), [0, 255]);
    }

    trait IntoDynamic {
        fn into_dynamic(self) -> DynamicImage;
    }

    impl<T: Into<DynamicImage>> IntoDynamic for T {
        fn into_dynamic(self) -> DynamicImage {
            self.into()
        }
    }
}
