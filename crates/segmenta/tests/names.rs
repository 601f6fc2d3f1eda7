//! Whoever depends on `segmenta` alone can name what its signatures mention, and gets errors that can be matched.

use segmenta::{
    Cancel, ClassShare, Description, Ended, Error, Event, Failure, Inputs, Job, Model,
    ModelOptions, Outcome, Picture, PreparedPicture, Report, Scores, SegmentOptions, Segmentation,
    Stages, Tiles,
};

/// Signatures as a program around the library writes them; that they compile is the test.
#[expect(dead_code, reason = "only their types matter")]
mod signatures {
    use super::*;

    struct Server {
        model: Model,
        options: SegmentOptions,
        tiles: Option<Tiles>,
        stop: Cancel,
    }

    impl Server {
        fn open(
            options: &ModelOptions,
            step: &mut dyn FnMut(segmenta::weights::Progress),
        ) -> Result<Model, Error> {
            Model::open(options, step)
        }

        fn graph(&self) -> &segmenta::Graph {
            self.model.engine().graph()
        }

        fn shapes(&self) -> Result<Vec<segmenta::graph::Shape>, segmenta::RuntimeError> {
            let input = segmenta::graph::Shape::new(1, 3, 32, 32);
            self.model.engine().result_shapes(input)
        }

        fn prepare(&self, picture: &Picture) -> PreparedPicture {
            self.model.prepare(picture, &self.options)
        }

        fn scores<'a>(&'a self, picture: &Picture) -> Result<Scores<'a>, Error> {
            self.model.scores(picture)
        }

        fn job(
            &self,
            inputs: Inputs,
            tell: &mut (dyn FnMut(Event<'_>) + Send),
        ) -> Result<Outcome, Error> {
            Job::new(&self.model).run(inputs, |event| {
                tell(event);
                std::ops::ControlFlow::Continue(())
            })
        }
    }

    fn parts(found: &Segmentation) -> (Vec<ClassShare>, Stages, &segmenta::Palette) {
        (found.shares(), found.stages(), found.palette())
    }

    fn options(description: &Description) -> &segmenta::zoo::Options {
        &description.options
    }

    fn ended(report: &Report, ended: Ended) -> (&[Failure], bool) {
        (&report.failed, ended == Ended::Done)
    }

    fn blame(error: &Error) -> &'static str {
        match error {
            Error::Picture(error) if error.kind() == segmenta::image::ErrorKind::TooLarge => {
                "sender"
            }
            Error::Hub(segmenta::weights::HubError { .. }) => "network",
            Error::Zoo(segmenta::zoo::ZooError::Unknown { .. }) => "caller",
            _ => "us",
        }
    }
}

#[test]
fn a_model_and_its_errors_can_be_handed_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Model>();
    shared::<Segmentation>();
    shared::<Picture>();
    shared::<Error>();
    shared::<Failure>();
    shared::<Cancel>();
    shared::<Inputs>();
    shared::<Report>();
}

#[test]
fn errors_speak_of_things() {
    let unnamed = Model::open(&ModelOptions::new(), &mut |_| {}).unwrap_err();
    let setting = Model::new("unet").set("decoder_channels", "many").build();
    let architecture = Model::load("fcn_resnet5", "none.pth");
    for error in [unnamed, setting.unwrap_err(), architecture.unwrap_err()] {
        let text = error.to_string();
        assert!(!text.contains(" --") && !text.contains('\n'), "{text}");
    }
}
