//! Every architecture of SMP on every encoder that it takes, beside SMP's own count of parameters and its
//! state dict: names, shapes and order (`tools/parameter_counts.py` made the table).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use segmenta_graph::{Graph, Shape};
use segmenta_zoo::{Architecture, Encoder, Options, architectures, encoders, find, find_encoder};

/// Trainable values and the digest of the state dict, by architecture and encoder.
fn table() -> BTreeMap<(String, String), (usize, u64)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/parameters.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|line| {
        let [architecture, encoder, count, digest] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let digest = u64::from_str_radix(digest, 16).unwrap();
        (
            (architecture.into(), encoder.into()),
            (count.parse().unwrap(), digest),
        )
    });
    rows.collect()
}

/// 64-bit FNV-1a over a line an entry, its name and its shape.
fn digest(graph: &Graph) -> u64 {
    let entries = graph.parameters().iter();
    #[expect(clippy::format_collect, reason = "a few hundred lines, once")]
    let text: String = entries
        .map(|p| format!("{} {:?}\n", p.name, p.shape))
        .collect();
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

fn build(architecture: &Architecture, encoder: &'static Encoder) -> Result<Graph, String> {
    let options = Options {
        encoder: Some(encoder),
        ..Options::new(2)
    };
    architecture
        .build(&options)
        .map_err(|error| error.to_string())
}

#[test]
fn every_pair_has_the_parameters_of_smp() {
    let table = table();
    assert!(table.len() > 700, "{} rows", table.len());
    let mut wrong = Vec::new();
    for ((architecture, encoder), &(count, expected)) in &table {
        let graph = build(find(architecture).unwrap(), find_encoder(encoder).unwrap());
        let graph = match graph {
            Ok(graph) => graph,
            Err(error) => {
                wrong.push(format!("{architecture} on {encoder}: {error}"));
                continue;
            }
        };
        let trainable = graph.trainable_count();
        if trainable != count {
            wrong.push(format!(
                "{architecture} on {encoder}: {trainable}, not {count}"
            ));
        } else if digest(&graph) != expected {
            wrong.push(format!(
                "{architecture} on {encoder}: names, shapes or order"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One size that the encoders' strides divide, and one that they do not.
#[test]
fn every_pair_gives_a_map_of_the_inputs_size() {
    for (architecture, encoder) in table().keys() {
        let graph = build(find(architecture).unwrap(), find_encoder(encoder).unwrap()).unwrap();
        let out = graph.output("out").unwrap();
        for [height, width] in [[256, 320], [251, 317]] {
            let shapes = graph.shapes(Shape::new(2, 3, height, width));
            let shape =
                shapes.unwrap_or_else(|e| panic!("{architecture} on {encoder}: {e}"))[out.index()];
            let expected = Shape::new(2, 2, height, width);
            assert_eq!(shape, expected, "{architecture} on {encoder}");
        }
    }
}

/// What SMP refuses is refused here, in words.
#[test]
fn pairs_without_a_row_are_refused() {
    let table = table();
    let has = |architecture: &str, encoder: &str| {
        table.contains_key(&(architecture.to_string(), encoder.to_string()))
    };
    // Most of timm's encoders have a row alone, on U-Net, for what they are themselves.
    let rows = |encoder: &str| table.keys().filter(|(_, of)| of == encoder).count();
    let known: BTreeSet<&str> = table.keys().map(|(_, encoder)| encoder.as_str()).collect();
    let known: BTreeSet<&str> = { known.into_iter() }
        .filter(|encoder| rows(encoder) > 1)
        .collect();
    for architecture in architectures().iter().filter(|a| a.has_encoder) {
        for encoder in encoders().filter(|e| known.contains(e.name)) {
            if !has(architecture.name, encoder.name) {
                let refused = build(architecture, encoder).err();
                let error = refused
                    .unwrap_or_else(|| panic!("{} takes {}", architecture.name, encoder.name));
                assert!(error.contains(architecture.name), "{error}");
            }
        }
    }
}
