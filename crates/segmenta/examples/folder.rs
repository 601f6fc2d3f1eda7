//! A folder of pictures to a folder of masks and cut-outs, with a word of each; Enter stops it between two pictures.
//!
//! `cargo run --release -p segmenta --example folder [FOLDER [MODEL]]`

#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::env::args_os;
use std::error::Error;
use std::io::stdin;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;

use segmenta::{Cancel, Ended, Event, Inputs, Job, Model, ModelOptions, What};

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let given = |at, file: &str| args_os().nth(at).map_or(here.join(file), PathBuf::from);
    let folder = given(1, "../../assets");
    let weights = given(2, "../segmenta-cli/assets/demo.safetensors");

    let inputs = Inputs::collect([&folder]);
    println!("pictures: {}", inputs.len());
    if !inputs.left_out().is_empty() {
        println!(
            "left out, results of earlier runs: {}",
            inputs.left_out().len()
        );
    }

    let cancel = Cancel::new();
    let elsewhere = cancel.clone();
    thread::spawn(move || {
        if stdin()
            .read_line(&mut String::new())
            .is_ok_and(|bytes| bytes > 0)
        {
            elsewhere.cancel();
        }
    });

    let model = Model::open(&ModelOptions::new().weights(weights), &mut |_| {})?;
    let outcome = Job::new(&model)
        .out(std::env::temp_dir().join("segmenta-folder"))
        .write([What::Mask, What::Cutout])
        .cancel(&cancel)
        .run(inputs, |event| {
            match event {
                Event::Done(picture) => {
                    let largest = picture
                        .classes
                        .first()
                        .map_or("nothing", |class| &class.name);
                    println!("{}: mostly {largest}", picture.file.display());
                }
                Event::Failed(failure) => println!("{failure}"),
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
    if outcome.ended == Ended::Stopped {
        println!("stopped");
    }
    Ok(())
}
