//! The description for programs (OpenAPI 3.1), made of the tables by which requests are answered.

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::ask::{OUTPUTS, parameters};
use super::json as answer;
use crate::routes::{Takes, routes};

/// `GET /openapi.json`.
pub(crate) async fn document() -> Response {
    answer(&described())
}

/// The whole description.
pub(crate) fn described() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let in_path = route
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let mut all: Vec<Value> = in_path
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let mut operation = json!({
            "summary": route.about,
            "responses": {
                "200": {"description": "Done"},
                "default": {
                    "description": "What went wrong, where, and how to mend it",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        });
        if matches!(route.takes, Takes::Picture | Takes::Pictures) {
            let said = parameters();
            all.extend(said.iter().map(|(name, schema, about)| {
                json!({"name": name, "in": "query", "schema": schema, "description": about})
            }));
        }
        let picture = json!({"type": "string", "contentMediaType": "image/*"});
        let body = match route.takes {
            Takes::Nothing => None,
            Takes::Picture => Some(json!({
                "image/*": {"schema": picture},
                "multipart/form-data": {"schema": {
                    "type": "object",
                    "properties": {"file": picture},
                    "additionalProperties": {"description": "a parameter"},
                }},
            })),
            Takes::Pictures => Some(json!({
                "multipart/form-data": {"schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": picture}},
                    "additionalProperties": {"description": "a parameter"},
                }},
            })),
            Takes::Json => Some(json!({"application/json": {"schema": {"type": "object"}}})),
        };
        if let Some(content) = body {
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        if route.takes == Takes::Picture {
            let mut kinds: Map<String, Value> = Map::new();
            for (word, output, _, about) in OUTPUTS {
                let said = kinds
                    .entry(output.kind())
                    .or_insert_with(|| json!({"schema": {"description": ""}}));
                let before = said["schema"]["description"].as_str().unwrap_or_default();
                said["schema"]["description"] = json!(format!("{before}{word}: {about}. "));
            }
            operation["responses"]["200"]["content"] = Value::Object(kinds);
        }
        if !all.is_empty() {
            operation["parameters"] = Value::Array(all);
        }
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Segmenta",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Networks that give every pixel of a picture a class.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": {
                "type": "object",
                "required": ["title", "status", "detail", "what", "where", "remedy"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string", "description": "All of it in a line"},
                    "what": {"type": "string"},
                    "where": {"type": "string"},
                    "remedy": {"type": "string"},
                },
            }},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    })
}
