//! The description of the API (OpenAPI 3.1), made of the operations and of the types that they name.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    operation::{Operation, ResponseSpec, SchemaOf},
    problem::ProblemCode,
};
use crate::wire::v1::problem::ProblemDetails;

/// The whole, as `schema/openapi.v1.json` has it.
pub fn document(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let method = operation.method.as_str().to_lowercase();
        paths.entry(operation.path).or_default().insert(method, described(operation, &mut generator));
    }
    let mut schemas = generator.take_definitions(true);
    for schema in schemas.values_mut() {
        without_own_formats(schema);
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Spark Control",
            "version": "1",
            "description": "Desired state is edited here, plans are shown and agreed to; nothing is started or stopped.",
            "license": { "name": "MIT", "identifier": "MIT" }
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }, { "browser": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "As `spark-control token` made it." },
                "browser": {
                    "type": "apiKey", "in": "cookie", "name": super::access::COOKIE,
                    "description": "Of a browser that signed in."
                }
            }
        }
    });
    document["components"]["schemas"] = Value::Object(schemas);
    document
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(operation.path);
    if let Some(query) = operation.query {
        parameters.extend(query_parameters(query));
    }
    for header in &operation.headers {
        parameters.push(json!({
            "name": header.name, "in": "header", "required": header.is_required, "description": header.says,
            "schema": { "type": "string", "pattern": header.pattern }
        }));
    }
    let name = operation.path.trim_start_matches("/api/").replace(['/', '{', '}'], "_").replace("__", "_");
    let id = format!("{}_{}", operation.method.as_str().to_lowercase(), name.trim_end_matches('_'));
    let mut described = json!({
        "operationId": id,
        "summary": operation.says,
        "description": format!("Role: {}.", operation.role.name()),
        "parameters": parameters,
        "responses": responses(operation, generator),
    });
    if !operation.bodies.is_empty() {
        described["requestBody"] =
            json!({ "required": true, "content": content(&operation.bodies, generator) });
    }
    described
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    names
        .map(|name| {
            let schema = match name {
                "revision" => json!({ "type": "integer", "format": "int64", "minimum": 0 }),
                _ => json!({ "type": "string", "minLength": 1 }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect()
}

/// Each field of the type is a parameter.
fn query_parameters(shape: SchemaOf) -> Vec<Value> {
    // The type itself is of no interest as a component.
    let mut own =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let schema = shape(&mut own).to_value();
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| {
            let mut field = field.clone();
            without_own_formats(&mut field);
            let says = field.as_object_mut().and_then(|field| field.remove("description"));
            json!({
                "name": name, "in": "query", "required": required.contains(name.as_str()),
                "description": says.unwrap_or_default(), "schema": field
            })
        })
        .collect()
}

fn content(bodies: &[(&'static str, SchemaOf)], generator: &mut SchemaGenerator) -> Value {
    let shapes =
        bodies.iter().map(|(kind, shape)| ((*kind).to_owned(), json!({ "schema": shape(generator) })));
    Value::Object(shapes.collect())
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for ResponseSpec { status, says, bodies, is_tagged } in &operation.answers {
        let mut answer = json!({ "description": says });
        if !bodies.is_empty() {
            answer["content"] = content(bodies, generator);
        }
        if *is_tagged {
            answer["headers"] = json!({
                "ETag": { "description": "The revision, for `If-Match`.", "schema": { "type": "string" } }
            });
        }
        responses.insert(status.as_str().to_owned(), answer);
    }
    let mut by_status: BTreeMap<StatusCode, Vec<&str>> = BTreeMap::new();
    for code in codes(operation) {
        let row = code.row();
        let names = by_status.entry(row.status).or_default();
        if !names.contains(&row.name) {
            names.push(row.name);
        }
    }
    let problem = generator.subschema_for::<ProblemDetails>();
    for (status, names) in by_status {
        let codes: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        responses.insert(
            status.as_str().to_owned(),
            json!({
                "description": codes.join(", "),
                "content": { "application/problem+json": { "schema": problem } }
            }),
        );
    }
    json!(responses)
}

/// Its own, and those that everything behind the same doors may have.
fn codes(operation: &Operation) -> Vec<ProblemCode> {
    let mut codes = vec![
        ProblemCode::UntrustedHost,
        ProblemCode::Unauthorized,
        ProblemCode::Forbidden,
        ProblemCode::InvalidRequest,
        ProblemCode::Store,
    ];
    if operation.writes() {
        codes.extend([ProblemCode::CrossOrigin, ProblemCode::TooLarge, ProblemCode::TooSlow]);
    }
    codes.extend(&operation.problems);
    codes
}

/// Widths of Rust's integers are no formats of JSON schema.
fn without_own_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(without_own_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_own_formats),
        _ => {}
    }
}
