//! Weight files of any bytes: opened, listed, compared, and read where they claim little.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segmenta_weights::{Expected, ModelCard, Search, StateDict, Statistics};

/// Numbers that one tensor may have for it to be read.
const LITTLE: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dict) = StateDict::from_bytes(bytes) else {
        return;
    };
    let _ = ModelCard::from_metadata(dict.metadata());
    for info in dict.iter() {
        let numbers = info
            .shape
            .iter()
            .try_fold(1u64, |n, &side| n.checked_mul(side as u64));
        if numbers.is_some_and(|numbers| numbers <= LITTLE) {
            if let Ok(values) = dict.read_f32(&info.name) {
                assert_eq!(values.len(), info.elements());
                Statistics::of(&values);
            }
        }
    }
    let name = dict.names().last().unwrap_or_default().to_string();
    let expected = [Expected {
        former: name.rsplit('.').next().map(Into::into),
        name,
        shape: vec![1],
        required: true,
    }];
    for search in [
        Search::new(),
        Search::new().by_order(true),
        Search::new().key(Some("model".into())),
    ] {
        match dict.find(&expected, &search) {
            Ok(found) => {
                assert!(found.weights.len() <= dict.len());
                let _ = found.taken.summary();
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
