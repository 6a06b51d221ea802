//! Version 1 of the API only grows. What is in use by others is a list of lines, in `schema/openapi.v1.promised.txt`: a new one is
//! written there with `SPARK_CONTROL_BLESS=1`, and nothing takes one out.

use std::{collections::BTreeSet, fs};

use serde_json::{Map, Value, json};
use spark_control::web::api;

use crate::golden::{assert_golden, here};

const PROMISED: &str = "schema/openapi.v1.promised.txt";
/// Between a route and what must be sent to it.
const ASKS: &str = " asks for ";

/// If this failed, a program that was written against an earlier version would find something missing.
#[test]
fn version_1_of_the_api_only_grows() {
    let promised = fs::read_to_string(here(PROMISED)).unwrap_or_default();
    let now = lines(&api::openapi::document(&api::operations()));
    assert_eq!(broken(&promised, &now), Vec::<String>::new(), "promised in {PROMISED}, and broken");
    assert_golden(PROMISED, &now.iter().map(|line| format!("{line}\n")).collect::<String>());
}

/// The comparison sees each kind of removal, and lets what is new pass.
#[test]
fn each_kind_of_removal_is_seen() {
    let before = json!({
        "paths": { "/x": { "get": {
            "parameters": [{ "name": "since", "in": "query", "required": false, "schema": { "type": ["string", "null"] } }],
            "requestBody": { "required": true, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Ask" } } } },
            "responses": {
                "200": { "description": "", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Tell" } } } },
                "404": { "description": "`no_such_object`" },
            },
        } } },
        "components": { "schemas": {
            "Ask": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" }, "why": { "type": "string" } } },
            "Tell": { "type": "object", "required": ["state"], "properties": {
                "state": { "enum": ["on", "off"] },
                "of": { "type": "array", "items": { "$ref": "#/components/schemas/Ask" } },
            } },
        } },
    });
    let promised: String = lines(&before).iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(broken(&promised, &lines(&before)), Vec::<String>::new());

    let with = |pointer: &str, value: Option<Value>| {
        let mut after = before.clone();
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        let last = last.replace("~1", "/");
        match (after.pointer_mut(parent).unwrap(), value) {
            (Value::Object(map), Some(value)) => drop(map.insert(last, value)),
            (Value::Object(map), None) => drop(map.remove(&last).unwrap()),
            (Value::Array(list), Some(value)) if last == "-" => list.push(value),
            (Value::Array(list), _) => drop(list.remove(last.parse().unwrap())),
            (other, _) => panic!("{pointer}: {other}"),
        }
        broken(&promised, &lines(&after)).len()
    };
    let get = "/paths/~1x/get";
    let tell = "/components/schemas/Tell";
    for removed in [
        "/paths/~1x".to_owned(),
        format!("{get}/parameters/0"),
        format!("{get}/responses/404"),
        format!("{get}/responses/200/content/application~1json"),
        format!("{tell}/properties/state"),
        format!("{tell}/properties/state/enum/0"),
        format!("{tell}/required/0"),
        tell.to_owned(),
    ] {
        assert!(with(&removed, None) > 0, "{removed} was removed, and that is not seen");
    }
    // Other values for what is there, and more to be sent.
    let changed = [
        (format!("{get}/parameters/0/required"), json!(true)),
        (format!("{tell}/properties/of/type"), json!("string")),
        (format!("{tell}/properties/of/items"), json!({ "type": "string" })),
        (format!("{get}/responses/404/description"), json!("`held`")),
        ("/components/schemas/Ask/required/-".to_owned(), json!("why")),
        ("/components/schemas/Ask/required/-".to_owned(), json!("new")),
        (format!("{get}/parameters/-"), json!({ "name": "to", "in": "query", "required": true })),
    ];
    for (pointer, value) in changed {
        assert!(with(&pointer, Some(value)) > 0, "{pointer} was changed, and that is not seen");
    }
    // What is new breaks nobody.
    let added = [
        ("/paths/~1y".to_owned(), json!({ "get": { "responses": {} } })),
        (format!("{get}/responses/404/description"), json!("`no_such_object`, `held`")),
        (format!("{tell}/properties/more"), json!({ "type": "string" })),
        (format!("{tell}/properties/state/enum/-"), json!("odd")),
        (format!("{get}/parameters/-"), json!({ "name": "to", "in": "query", "required": false })),
    ];
    for (pointer, value) in added {
        assert_eq!(with(&pointer, Some(value)), 0, "{pointer} was added, and breaks nobody");
    }
}

/// What of the promise is not so any more: a line that is gone, or one more thing that must be sent to what was there before.
fn broken(promised: &str, now: &BTreeSet<String>) -> Vec<String> {
    let promised: BTreeSet<&str> = promised.lines().collect();
    let gone = promised.iter().filter(|line| !now.contains(**line)).map(|line| (*line).to_owned());
    let asked = now.iter().filter(|line| {
        let route = line.split_once(ASKS).map(|(route, _)| route);
        route.is_some_and(|route| promised.contains(route)) && !promised.contains(line.as_str())
    });
    gone.chain(asked.cloned()).collect()
}

/// One line for each thing that somebody may rely on.
fn lines(document: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods) {
            let route = format!("{} {path}", method.to_uppercase());
            of_operation(&route, operation, &mut lines);
            let must =
                array(&operation["parameters"]).filter(|parameter| parameter["required"] == json!(true));
            lines.extend(must.map(|parameter| format!("{route}{ASKS}{}", text(&parameter["name"]))));
            for body in object(&operation["requestBody"]["content"]).values() {
                must_be_sent(&format!("{route}{ASKS}body"), &body["schema"], document, &mut lines);
            }
        }
    }
    for (name, schema) in object(&document["components"]["schemas"]) {
        lines.insert(name.clone());
        of_schema(name, schema, &mut lines);
    }
    lines
}

/// What a body must have, as deep as it goes.
fn must_be_sent(at: &str, schema: &Value, document: &Value, lines: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return must_be_sent(at, &document["components"]["schemas"][name], document, lines);
    }
    for name in array(&schema["required"]).filter_map(Value::as_str) {
        let field = format!("{at}.{name}");
        if lines.insert(field.clone()) {
            must_be_sent(&field, &schema["properties"][name], document, lines);
        }
    }
}

fn of_operation(route: &str, operation: &Value, lines: &mut BTreeSet<String>) {
    lines.insert(route.to_owned());
    for parameter in array(&operation["parameters"]) {
        let need = if parameter["required"] == json!(true) { "required" } else { "optional" };
        let name = format!("{route} {} {}", text(&parameter["in"]), text(&parameter["name"]));
        lines.insert(format!("{name} {need}"));
        of_schema(&name, &parameter["schema"], lines);
    }
    for (kind, body) in object(&operation["requestBody"]["content"]) {
        of_schema(&format!("{route} body {kind}"), &body["schema"], lines);
    }
    for (status, response) in object(&operation["responses"]) {
        lines.insert(format!("{route} {status}"));
        for code in text(&response["description"]).split('`').skip(1).step_by(2) {
            lines.insert(format!("{route} {status} {code}"));
        }
        for header in object(&response["headers"]).keys() {
            lines.insert(format!("{route} {status} header {header}"));
        }
        for (kind, body) in object(&response["content"]) {
            lines.insert(format!("{route} {status} {kind}"));
            of_schema(&format!("{route} {status} {kind}"), &body["schema"], lines);
        }
    }
}

/// A field's type, the values it may have, what it refers to, and the same for what is in it.
fn of_schema(at: &str, schema: &Value, lines: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        lines.insert(format!("{at}: {}", reference.rsplit('/').next().unwrap_or(reference)));
    }
    for kind in schema["type"].as_str().into_iter().chain(array(&schema["type"]).filter_map(Value::as_str)) {
        lines.insert(format!("{at}: {kind}"));
    }
    for value in array(&schema["enum"]).chain(schema.get("const")) {
        lines.insert(format!("{at} = {value}"));
    }
    let required: Vec<&str> = array(&schema["required"]).filter_map(Value::as_str).collect();
    for (name, field) in object(&schema["properties"]) {
        let need = if required.contains(&name.as_str()) { "required" } else { "optional" };
        lines.insert(format!("{at}.{name} {need}"));
        of_schema(&format!("{at}.{name}"), field, lines);
    }
    of_parts(at, schema, lines);
}

fn of_parts(at: &str, schema: &Value, lines: &mut BTreeSet<String>) {
    for (word, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[word].is_object() {
            of_schema(&format!("{at}{mark}"), &schema[word], lines);
        }
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        for one in array(&schema[word]) {
            of_schema(&variant(at, one), one, lines);
        }
    }
}

/// One of several is named by the constant that tells which it is, not by its place in the list.
fn variant(at: &str, schema: &Value) -> String {
    let constant = |field: &Value| field.get("const").and_then(Value::as_str).map(str::to_owned);
    object(&schema["properties"])
        .values()
        .find_map(constant)
        .map_or(at.to_owned(), |tag| format!("{at}<{tag}>"))
}

fn object(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
