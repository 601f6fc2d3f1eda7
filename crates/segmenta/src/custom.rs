//! Networks of one's own, from the graph's builder.

use segmenta_files::count;
use std::path::Path;

use segmenta_graph::{Graph, Parameter, Role};
use segmenta_image::{Palette, Pixels, Preprocess, Resize};
use segmenta_runtime::{Engine, EngineOptions};
use segmenta_weights::{Expected, Found, StateDict, Taken};
use segmenta_zoo::{Answer, Options, PerPixel, Values};

use crate::describe::Description;
use crate::error::{Error, ModelError};
use crate::model::{Model, ModelOptions, engine_options};
use crate::resolve::search;

/// What a network that is in no list is called.
const CUSTOM: &str = "custom";
/// The result that says what is in a picture.
const MAIN: &str = "out";
/// Mean and deviation of ImageNet's photographs, red, green and blue, of values in 0 to 1: what most encoders were
/// trained with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Description {
    /// Of a network of one's own with these classes, by id: with one name it is binary. Pictures are read at their own
    /// size and normalised as ImageNet's; the colours are VOC's. Change the fields for anything else.
    pub fn of_classes<S: Into<String>>(classes: impl IntoIterator<Item = S>) -> Self {
        let classes: Vec<String> = classes.into_iter().map(Into::into).collect();
        Self {
            architecture: CUSTOM,
            options: Options::new(classes.len()),
            answer: Answer::PerPixel(PerPixel::new(Values::Logits, classes.len())),
            palette: Palette::voc().with_classes(classes.len().max(2)),
            classes,
            preprocess: Preprocess {
                resize: Resize::None,
                center_crop: None,
                mean: MEAN,
                std: STD,
                pad: None,
                pixels: Pixels::default(),
            },
            windows: false,
            source: "a network of one's own".into(),
            licence: None,
        }
    }
}

impl Model {
    /// A network of one's own: a graph with three input channels and a result `out` of a channel a class, what it is,
    /// and a function that gives each parameter's values. What the result's numbers are is read off the graph.
    ///
    /// ```
    /// use segmenta::graph::{Builder, Conv2d, Scope};
    /// use segmenta::{Description, Model, ModelOptions};
    ///
    /// let (mut g, picture) = Builder::new(3);
    /// let logits = g.conv(picture, &(&Scope::root() / "head"), Conv2d::square(3, 2).with_bias());
    /// g.output("out", logits);
    /// let model = Model::from_graph(
    ///     g.finish()?,
    ///     Description::of_classes(["ground", "sky"]),
    ///     &ModelOptions::new(),
    ///     |parameter| parameter.initial(7),
    /// )?;
    /// # Ok::<(), segmenta::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the graph reads no RGB, has no such result, parameters are not given as many values as they have, or the
    /// description's recipe for pictures is none ([`Preprocess::check`]).
    pub fn from_graph(
        graph: Graph,
        mut description: Description,
        options: &ModelOptions,
        fill: impl Fn(&Parameter) -> Vec<f32> + Sync,
    ) -> Result<Self, Error> {
        let result = fits(&graph, &mut description, options)?;
        let engine = Engine::new(graph, &run_as(options), |parameter| {
            let values = fill(parameter);
            if values.len() == parameter.len() {
                return Ok(values);
            }
            Err(Error::from(ModelError::Custom {
                problem: format!("{} for {}", count(values.len(), "value"), parameter.len()),
                place: format!("the parameter {}", parameter.name),
                remedy: "give a value for each",
            }))
        })?;
        Ok(Self {
            engine,
            description,
            result,
            taken: Taken::default(),
            notes: Vec::new(),
        })
    }

    /// As [`Model::from_graph`], with weights from a file (`.pth`, `.pt`, `.safetensors`) under the names of the
    /// graph's parameters.
    ///
    /// # Errors
    /// As [`Model::from_graph`], or if the file cannot be read or holds another network.
    pub fn load_graph(
        graph: Graph,
        mut description: Description,
        options: &ModelOptions,
        weights: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let result = fits(&graph, &mut description, options)?;
        let path = weights.as_ref();
        let Found { weights, taken } =
            StateDict::open(path)?.find(&expected(&graph), &search(options))?;
        description.source = path.display().to_string();
        let engine = Engine::new(graph, &run_as(options), |parameter| {
            weights.read_f32(&parameter.name).map_err(Error::from)
        })?;
        Ok(Self {
            engine,
            description,
            result,
            taken,
            notes: Vec::new(),
        })
    }
}

/// Without other wishes it is `out` that is computed, wherever it stands among the results.
fn run_as(options: &ModelOptions) -> EngineOptions {
    let mut options = engine_options(options);
    if options.outputs.is_empty() {
        options.outputs.push(MAIN.into());
    }
    options
}

/// The graph's entries in a file.
fn expected(graph: &Graph) -> Vec<Expected> {
    let parameters = graph.parameters().iter();
    let entry = |parameter: &Parameter| Expected {
        name: parameter.name.clone(),
        shape: parameter.shape.clone(),
        required: !matches!(parameter.role, Role::Counter | Role::Buffer),
        former: None,
    };
    parameters.map(entry).collect()
}

/// Whether a graph can segment pictures into these classes; gives the name of the result that says it, and describes
/// what that says.
fn fits(
    graph: &Graph,
    description: &mut Description,
    options: &ModelOptions,
) -> Result<String, Error> {
    let refuse = |problem: String, place: &str, remedy| {
        let place = place.into();
        Err(Error::from(ModelError::Custom {
            problem,
            place,
            remedy,
        }))
    };
    let channels = graph.in_channels();
    if channels != 3 {
        let problem = format!("{} to read", count(channels, "channel"));
        return refuse(
            problem,
            "the graph's input",
            "pictures have three: red, green, blue",
        );
    }
    let result = options.outputs.first().map_or(MAIN, String::as_str);
    let found = graph.node(graph.output(result)?).channels;
    let classes = description.classes.len();
    if found != classes || classes == 0 || classes > 256 {
        let problem = format!(
            "{} for {}",
            count(found, "channel"),
            count(classes, "class")
        );
        return refuse(
            problem,
            &format!("the graph's result `{result}`"),
            "make a channel a class, 1 to 256 of them",
        );
    }
    description.preprocess.check()?;
    description.set_answer(graph, result, None, options.threshold)?;
    Ok(result.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use segmenta_graph::{Builder, Conv2d, Scope};
    use segmenta_image::Picture;

    fn graph(channels: usize, classes: usize) -> Graph {
        let (mut g, picture) = Builder::new(channels);
        let conv = Conv2d::square(3, classes).with_bias();
        let logits = g.conv(picture, &(&Scope::root() / "head"), conv);
        g.output("out", logits);
        g.finish().unwrap()
    }

    /// A network whose bias alone decides: class 1 everywhere.
    fn fill(parameter: &Parameter) -> Vec<f32> {
        (0..parameter.len())
            .map(|i| f32::from(u8::from(parameter.name == "head.bias" && i == 1)))
            .collect()
    }

    #[test]
    fn a_network_of_ones_own_segments() {
        let description = Description::of_classes(["ground", "sky"]);
        let options = ModelOptions::new().threads(1);
        let model = Model::from_graph(graph(3, 2), description, &options, fill).unwrap();
        let found = model.segment(&Picture::filled(9, 5, [80; 3])).unwrap();
        assert_eq!(found.labels().ids(), [1; 45]);
        assert_eq!(found.shares()[0].name, "sky");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let refused = |graph, classes: &[&str], fill: fn(&Parameter) -> Vec<f32>| {
            let description = Description::of_classes(classes.iter().copied());
            let model = Model::from_graph(graph, description, &ModelOptions::new(), fill);
            model.unwrap_err().to_string()
        };
        let mut description = Description::of_classes(["a", "b"]);
        description.preprocess.std = [0.0; 3];
        let model = Model::from_graph(graph(3, 2), description, &ModelOptions::new(), fill);
        let text = model.unwrap_err().to_string();
        assert!(text.contains(" · std · "), "{text}");
        let text = refused(graph(4, 2), &["a", "b"], fill);
        assert!(text.starts_with("4 channels to read"), "{text}");
        let text = refused(graph(3, 2), &["a", "b", "c"], fill);
        assert!(text.starts_with("2 channels for 3 classes"), "{text}");
        let text = refused(graph(3, 2), &["a", "b"], |_| vec![0.0; 3]);
        assert!(text.contains("head."), "{text}");
        let (g, _) = Builder::new(3);
        let text = refused(g.finish().unwrap(), &["a", "b"], fill);
        assert!(text.contains("out"), "{text}");
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none.safetensors");
        let description = Description::of_classes(["a", "b"]);
        let options = ModelOptions::new();
        let missing = Model::load_graph(graph(3, 2), description.clone(), &options, &file);
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("none.safetensors")
        );
        let values = vec![0.5; 3 * 9 * 2];
        let views = [("head.weight", &[2, 3, 3, 3][..], &values[..])];
        segmenta_weights::save(&file, &views, &[].into()).unwrap();
        let model = Model::load_graph(graph(3, 2), description.clone(), &options, &file);
        assert!(model.unwrap_err().to_string().contains("head.bias"));
        let bias = [0.0, 1.0];
        let views = [views[0], ("head.bias", &[2][..], &bias[..])];
        segmenta_weights::save(&file, &views, &[].into()).unwrap();
        let model = Model::load_graph(graph(3, 2), description, &options, &file).unwrap();
        assert!(model.description().source.ends_with("none.safetensors"));
    }
}
