//! Data to learn from and to measure on.
//!
//! Road scenes painted by a program, with the class of every pixel: [`Scene::generate`]. They need no download and
//! no licence, never run out, and are the same on every machine; the demonstration network was trained on them.
//!
//! In: a seed and a size. Out: a [`Picture`](segmenta_image::Picture) and a [`LabelMap`](segmenta_image::LabelMap)
//! of [`SCENE_CLASSES`].

mod scenes;

pub use scenes::{SCENE_CLASSES, SCENE_COLOURS, Scene};
