//! TensorBoard's own reader finds what was written, after a resume too. Needs a Python that has it: `python3`, or the
//! one that `SEGMENTA_TENSORBOARD_PYTHON` names; without one the test says so.

use std::process::Command;

use segmenta_image::Picture;
use segmenta_report::events::EventWriter;

#[test]
fn tensorboard_reads_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = EventWriter::create(folder.path()).unwrap();
    (1..=9_u32).for_each(|step| {
        writer
            .scalar(u64::from(step), "loss/train", 1.0 / f64::from(step))
            .unwrap();
    });
    writer
        .picture(9, "previews", &Picture::filled(5, 3, [1, 2, 3]))
        .unwrap();
    // As after a kill at step 9 with weights of step 4.
    let mut writer = EventWriter::resume(folder.path(), 4).unwrap();
    (5..=6_u32).for_each(|step| writer.scalar(u64::from(step), "loss/train", 0.5).unwrap());
    writer
        .picture(6, "previews", &Picture::filled(7, 4, [1, 2, 3]))
        .unwrap();
    writer.sync().unwrap();

    let python = std::env::var("SEGMENTA_TENSORBOARD_PYTHON");
    let named = python.is_ok();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_events.py");
    let run = Command::new(python.unwrap_or("python3".into()))
        .arg(script)
        .arg(folder.path())
        .output();
    let output = match run {
        Ok(output) if named || output.status.success() => output,
        Ok(output) if output.status.code() != Some(3) => output,
        _ => {
            println!(
                "not tested: no Python with TensorBoard (name one by SEGMENTA_TENSORBOARD_PYTHON)"
            );
            return;
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found = String::from_utf8(output.stdout).unwrap();
    let wanted = "1 loss/train 1.0\n2 loss/train 0.5\n3 loss/train 0.3333333432674408\n4 loss/train 0.25\n\
                  5 loss/train 0.5\n6 loss/train 0.5\n6 previews 7 4 89504e470d0a1a0a\n";
    assert_eq!(found, wanted, "{errors}");
}
