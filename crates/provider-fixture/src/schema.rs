//! Checks a JSON value against a JSON Schema, as far as the schemas in `fixtures/providers/` use the language: `type`,
//! `required`, `properties`, `additionalProperties`, `items`, `enum`, `minLength`, `maxLength`, `minimum`, `pattern` of
//! version numbers, and references within the file. A keyword that is not one of these is an error, so that no part of a
//! schema is overlooked.

use serde_json::Value;

const KEYWORDS: [&str; 14] = [
    "$ref",
    "type",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "enum",
    "minLength",
    "maxLength",
    "minimum",
    "minProperties",
    "pattern",
    "oneOfRequired",
    "description",
];

/// RunPod's schemas.
pub(crate) fn runpod() -> Value {
    serde_json::from_str(include_str!("../../../fixtures/providers/runpod-v2.schema.json")).unwrap()
}

/// What is wrong with a value; `None` if nothing is. `name` is that of a schema in the file.
pub(crate) fn violation(schemas: &Value, name: &str, value: &Value) -> Option<String> {
    check(schemas, &schemas["schemas"][name], value, name)
}

fn check(schemas: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let rules = schema.as_object().unwrap_or_else(|| panic!("no schema for {at}"));
    for (keyword, rule) in rules {
        assert!(KEYWORDS.contains(&keyword.as_str()), "the schema of {at} uses {keyword}");
        let found = match keyword.as_str() {
            "$ref" => check(schemas, &schemas["schemas"][rule.as_str().unwrap()], value, at),
            "type" => (!has_type(value, rule)).then(|| format!("{at} is not of type {rule}")),
            "required" => missing(rule, value).map(|name| format!("{at} has no {name}")),
            "oneOfRequired" => {
                let n = rule.as_array().unwrap().iter().filter(|n| value.get(n.as_str().unwrap()).is_some());
                (n.count() != 1).then(|| format!("{at} must have exactly one of {rule}"))
            }
            "properties" | "additionalProperties" => fields(schemas, schema, value, at),
            "items" => value.as_array().into_iter().flatten().find_map(|item| check(schemas, rule, item, at)),
            "enum" => {
                (!rule.as_array().unwrap().contains(value)).then(|| format!("{at} is not one of {rule}"))
            }
            "minLength" | "maxLength" => {
                wrong_length(keyword, rule, value).then(|| format!("{at}: {keyword}"))
            }
            "minimum" => (value.as_f64() < rule.as_f64()).then(|| format!("{at} is below {rule}")),
            "minProperties" => {
                let n = value.as_object().map_or(0, serde_json::Map::len) as u64;
                (n < rule.as_u64().unwrap()).then(|| format!("{at} is empty"))
            }
            "pattern" => (!matches(rule, value)).then(|| format!("{at} does not match {rule}")),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn has_type(value: &Value, rule: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other}"),
    };
    match rule {
        Value::String(name) => is(name),
        names => names.as_array().unwrap().iter().any(|name| is(name.as_str().unwrap())),
    }
}

fn missing<'a>(rule: &'a Value, value: &Value) -> Option<&'a str> {
    let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    names.into_iter().find(|name| value.get(name).is_none())
}

/// Each field by its own schema, or by that of additional fields.
fn fields(schemas: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    value.as_object().into_iter().flatten().find_map(|(name, field)| {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(known), _) => check(schemas, known, field, &at),
            (None, Value::Bool(false)) => Some(format!("{at} is not a field")),
            (None, Value::Null) => None,
            (None, other) => check(schemas, other, field, &at),
        }
    })
}

fn wrong_length(keyword: &str, rule: &Value, value: &Value) -> bool {
    let (length, limit) = (value.as_str().map_or(0, |s| s.chars().count() as u64), rule.as_u64().unwrap());
    if keyword == "minLength" { length < limit } else { length > limit }
}

/// The two patterns that the schemas use.
fn matches(pattern: &Value, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match pattern.as_str().unwrap() {
        r"^\d+\.\d+$" => {
            let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
        }
        r"^[a-zA-Z_][a-zA-Z0-9_.\-/]*$" => {
            let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
            text.starts_with(is_first)
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-/".contains(c))
        }
        other => panic!("the pattern {other}"),
    }
}
