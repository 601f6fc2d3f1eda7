//! What a safe caller can get wrong: maps of two instruction sets in one operation, a plan of another convolution,
//! shapes whose numbers of values wrap around, extents of 0. Each is refused before anything is read or written.

mod entries;
mod extents;
mod low;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use segmenta_kernels::*;

use self::entries::*;

/// What a call panics with, if it does.
fn refusal(call: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(call)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .or_else(|| Some("a panic without a text".to_owned()))
}

fn assert_refused(what: &str, because: &str, call: impl FnOnce()) {
    match refusal(call) {
        Some(text) => assert!(text.contains(because), "{what} was refused for: {text}"),
        None => panic!("{what} was not refused"),
    }
}

/// Entry points in which no second layout can be.
const ONE_MAP: &[&str] = &[
    "bias_gradient",
    "embeddings_gradient",
    "fit_to_planar",
    "sine_positions",
    "table",
    "table_gradient",
    "to_blocked",
    "to_planar",
];

/// Every call is right when all maps have one layout, and refused when any one of them has another.
#[test]
fn maps_of_two_instruction_sets_are_refused() {
    let all = Isa::available();
    for &(name, count, call) in ENTRIES {
        for &isa in &all {
            call(&vec![isa; count]);
            for &other in all.iter().filter(|&&other| other != isa) {
                for odd in 0..count {
                    let mut isas = vec![isa; count];
                    isas[odd] = other;
                    let what = format!("{name} of {isa} with layout {odd} of {other}");
                    assert_refused(&what, "two instruction sets", || call(&isas));
                }
            }
        }
    }
}

/// Names of public functions that take a map, in the sources of a folder.
fn functions_in(folder: &Path, wanted: &dyn Fn(&PathBuf) -> bool, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if !wanted(&path) {
            continue;
        }
        if path.is_dir() {
            functions_in(&path, wanted, names);
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        for function in text.split("pub fn ").skip(1) {
            let end = function.find('{').unwrap_or(function.len());
            let (name, signature) = function[..end].split_at(function.find(['(', '<']).unwrap());
            if signature.contains("Map<'") || signature.contains("MapMut<'") {
                names.insert(name.to_owned());
            }
        }
    }
}

/// A new entry point has a row in the table: public functions that take a map are looked for in the sources.
#[test]
fn the_table_has_every_entry_point() {
    let mut names = BTreeSet::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // Low precision has a table of its own.
    functions_in(&sources, &|path| !path.ends_with("low"), &mut names);
    let known = ENTRIES
        .iter()
        .map(|(name, ..)| *name)
        .chain(ONE_MAP.iter().copied());
    let known: BTreeSet<String> = known.map(str::to_owned).collect();
    assert_eq!(names, known);
}

#[test]
fn plans_of_other_convolutions_are_refused() {
    let because = "planned for another convolution";
    for isa in Isa::available() {
        let (input, other_weights) = (
            SHAPE,
            ConvSpec {
                dilation: [2, 2],
                padding: [2, 2],
                ..SPEC
            },
        );
        for own in [SPEC, POINTWISE, DEPTHWISE] {
            for other in [own, SPEC, POINTWISE, DEPTHWISE, other_weights] {
                let (conv, other) = (convolution(isa, own), convolution(isa, other));
                let (plan, mut scratch) = plan_of(&other, input);
                assert_refused("a plan", because, || {
                    conv.run(
                        &plan,
                        map(isa, input),
                        map_mut(isa, SHAPE),
                        None,
                        &mut scratch,
                    );
                });
            }
        }
        let (conv, other) = (convolution(isa, POINTWISE), convolution(isa, POINTWISE));
        let (plan, _) = plan_of(&other, input);
        assert_refused("a plan", because, || {
            let scale = map(isa, ONE_PIXEL);
            conv.run_scaled(&plan, map(isa, input), scale, map_mut(isa, SHAPE), None);
        });
        let (plan, mut scratch) = plan_of(&on_picture(isa), PICTURE);
        assert_refused("a plan", because, || {
            let picture = vec![0.0; PICTURE.batch_len()];
            on_picture(isa).run_on_picture(&plan, &picture, map_mut(isa, SHAPE), &mut scratch);
        });
        // Its own plan goes on after other weights were packed.
        let mut conv = convolution(isa, SPEC);
        let (plan, mut scratch) = plan_of(&conv, input);
        conv.repack(kernel_of(SPEC.weights_len()));
        conv.run(
            &plan,
            map(isa, input),
            map_mut(isa, SHAPE),
            None,
            &mut scratch,
        );
    }
}
