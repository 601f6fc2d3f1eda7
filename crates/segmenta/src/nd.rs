//! What a network says of a picture as `ndarray` arrays, as NumPy has them. Tensors
//! ([`segmenta_runtime::Tensor`]), label maps and pictures have views of their own.

use ndarray::{ArrayView2, ArrayView3};

use crate::scores::Scores;
use crate::segmentation::Segmentation;

impl Scores<'_> {
    /// The network's own map ([`Scores::tensor`]) as an array of classes × rows × columns, without a copy. What its
    /// values are says [`Scores::answer`]. At another size, [`Scores::values`], [`Scores::logits`] and
    /// [`Scores::probabilities`] give tensors, whose view is batch (1) × classes × height × width:
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use segmenta::{Model, Picture, Resolution};
    /// let model = Model::pretrained("fcn_resnet50")?;
    /// let scores = model.scores(&Picture::open("photo.jpg")?)?;
    /// let coarse = scores.map_view();
    /// println!("{} classes at {}×{}", coarse.dim().0, coarse.dim().2, coarse.dim().1);
    /// let probabilities = scores.probabilities(Resolution::Photograph)?;
    /// let cat = probabilities.view()?[[0, 8, 100, 120]];
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_view(&self) -> ArrayView3<'_, f32> {
        let shape = self.map.shape;
        ArrayView3::from_shape((shape.channels, shape.height, shape.width), &self.map.data)
            .expect("a map has a value for each class at each of its pixels")
    }
}

impl Segmentation {
    /// [`Segmentation::probability`] as an array of height × width, without a copy.
    pub fn probability_view(&self) -> Option<ArrayView2<'_, f32>> {
        let (width, height) = self.labels.size();
        let array = |values| {
            ArrayView2::from_shape((height, width), values)
                .expect("each pixel of the photograph has a probability")
        };
        self.probability.as_deref().map(array)
    }
}
