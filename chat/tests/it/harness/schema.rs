//! Every line that any process prints is held against the published schema.

use std::sync::LazyLock;

use serde_json::Value;

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../../schema/v1.json")).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is one")
});

/// What breaks the schema, if anything does.
pub fn complaint(line: &Value) -> Option<String> {
    VALIDATOR
        .validate(line)
        .err()
        .map(|trouble| format!("{trouble} in {line}"))
}
