//! Cards of model files: any text as the card of a file with one tensor, to a description and a network.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use segmenta::{Model, ModelOptions};
use segmenta_weights::{CARD_KEY, ModelCard};

fuzz_target!(|text: &str| {
    let metadata = BTreeMap::from([(CARD_KEY.to_string(), text.to_string())]);
    let card = ModelCard::from_metadata(&metadata);
    if let Ok(Some(card)) = &card {
        // What was read can be written, and is the same when it is read again.
        let again = card.to_metadata().expect("a card that was read is valid");
        assert_eq!(ModelCard::from_metadata(&again).expect("and is read").as_ref(), Some(card));
    }
    let header = serde_json::json!({
        "__metadata__": metadata,
        "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    });
    let header = header.to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend([0; 4]);
    // One tensor is no network: what is looked for is a panic on the way to saying so.
    let opened = Model::from_bytes(&file, "<fuzz>", &ModelOptions::default());
    let said = opened.expect_err("one tensor is no network").to_string();
    assert!(!said.is_empty());
});
