//! Tests hold every line against the published schema.

use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../schema/v1.json")).expect("the schema is JSON"));
static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).expect("the schema is one"));

/// Panics if a line breaks the schema, or has a type or key that the schema does not describe.
pub fn check(line: &Value) {
    if let Err(trouble) = VALIDATOR.validate(line) {
        panic!("{trouble}\nin {line}");
    }
    let name = line["type"].as_str().expect("validated above");
    let described = &SCHEMA["$defs"][format!("line_{name}")]["properties"];
    assert!(described.is_object(), "the schema does not know the type {name}");
    for key in line.as_object().expect("validated above").keys() {
        let known = described.get(key).is_some() || SCHEMA["properties"].get(key).is_some();
        assert!(known, "the schema does not describe {key} of {name}");
    }
}
