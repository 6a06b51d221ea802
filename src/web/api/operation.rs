//! One operation of the API: where it is, who may ask, what goes in and what comes out. The router and the description of the
//! API are both made of these, so nothing is answered that is not described.

use axum::{
    handler::Handler,
    http::{Method, StatusCode},
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::{problem::ProblemCode, request::Shared};
use crate::core::model::access::Role;

/// Makes the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub const JSON: &str = "application/json";
pub const MERGE_PATCH: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const YAML: &str = "application/yaml";
pub const TEXT: &str = "text/plain";
pub const EVENTS: &str = "text/event-stream";

pub struct Operation {
    pub method: Method,
    pub path: &'static str,
    pub handler: MethodRouter<Shared>,
    /// Who may ask.
    pub role: Role,
    /// What it does, in a sentence.
    pub says: &'static str,
    /// What follows the question mark.
    pub query: Option<SchemaOf>,
    pub headers: Vec<Header>,
    pub bodies: Vec<(&'static str, SchemaOf)>,
    pub answers: Vec<ResponseSpec>,
    /// Beside those that every operation has.
    pub problems: Vec<ProblemCode>,
}

/// A header of a request that changes the answer.
pub struct Header {
    pub name: &'static str,
    pub says: &'static str,
    pub is_required: bool,
    /// What it looks like.
    pub pattern: &'static str,
}

pub struct ResponseSpec {
    pub status: StatusCode,
    pub says: &'static str,
    pub bodies: Vec<(&'static str, SchemaOf)>,
    /// It has the revision as its ETag.
    pub is_tagged: bool,
}

fn shape_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// YAML is described as what it says, like JSON.
fn shape_of_text(kind: &str) -> SchemaOf {
    if kind == YAML { any } else { text }
}

fn text(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string" })
}

/// Anything that RFC 7396 allows.
fn any(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!(true)
}

/// RFC 6902.
fn json_patch(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["op", "path"],
            "properties": {
                "op": { "enum": ["add", "remove", "replace", "move", "copy", "test"] },
                "path": { "type": "string" },
                "from": { "type": "string" },
                "value": true
            }
        }
    })
}

impl Operation {
    fn new<H, T>(method: Method, role: Role, path: &'static str, handler: H, says: &'static str) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("one of HTTP's own methods");
        Self {
            method,
            path,
            handler: on(filter, handler),
            role,
            says,
            query: None,
            headers: Vec::new(),
            bodies: Vec::new(),
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub fn get<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        handler: H,
        says: &'static str,
    ) -> Self {
        Self::new(Method::GET, Role::Read, path, handler, says)
    }

    pub fn post<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        handler: H,
        says: &'static str,
    ) -> Self {
        let key = Header {
            name: "Idempotency-Key",
            says: "The same key with the same request is answered with what the first one was answered, for a day.",
            is_required: false,
            pattern: "^[!-~]{1,255}$",
        };
        let mut operation = Self::new(Method::POST, Role::Edit, path, handler, says);
        operation.headers.push(key);
        operation.problems(&[ProblemCode::KeyReused, ProblemCode::KeyInUse])
    }

    pub fn put<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        handler: H,
        says: &'static str,
    ) -> Self {
        Self::new(Method::PUT, Role::Edit, path, handler, says)
    }

    pub fn patch<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        handler: H,
        says: &'static str,
    ) -> Self {
        Self::new(Method::PATCH, Role::Edit, path, handler, says)
    }

    pub fn delete<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        handler: H,
        says: &'static str,
    ) -> Self {
        Self::new(Method::DELETE, Role::Edit, path, handler, says)
    }

    #[must_use]
    pub fn may(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    #[must_use]
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(shape_of::<T>);
        self
    }

    #[must_use]
    pub fn header(mut self, header: Header) -> Self {
        self.headers.push(header);
        self
    }

    /// It takes JSON of this type.
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self) -> Self {
        self.bodies.push((JSON, shape_of::<T>));
        self.problems(&[ProblemCode::UnsupportedType])
    }

    #[must_use]
    pub fn takes_patches(mut self) -> Self {
        self.bodies.extend([(MERGE_PATCH, any as SchemaOf), (JSON_PATCH, json_patch as SchemaOf)]);
        self.problems(&[ProblemCode::UnsupportedType])
    }

    #[must_use]
    pub fn takes_text(mut self, kind: &'static str) -> Self {
        self.bodies.push((kind, shape_of_text(kind)));
        self.problems(&[ProblemCode::UnsupportedType])
    }

    /// It answers with JSON of this type.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: StatusCode, says: &'static str) -> Self {
        self.answer(ResponseSpec { status, says, bodies: vec![(JSON, shape_of::<T>)], is_tagged: false })
    }

    #[must_use]
    pub fn answers_nothing(self, says: &'static str) -> Self {
        self.answer(ResponseSpec {
            status: StatusCode::NO_CONTENT,
            says,
            bodies: Vec::new(),
            is_tagged: false,
        })
    }

    #[must_use]
    pub fn answers_text(self, kind: &'static str, says: &'static str) -> Self {
        self.answer(ResponseSpec {
            status: StatusCode::OK,
            says,
            bodies: vec![(kind, shape_of_text(kind))],
            is_tagged: false,
        })
    }

    /// The last answer may be text too, by `Accept`.
    #[must_use]
    pub fn or_text(mut self, kinds: &[&'static str]) -> Self {
        let answer = self.answers.last_mut().expect("an answer comes first");
        answer.bodies.extend(kinds.iter().map(|kind| (*kind, shape_of_text(kind))));
        self
    }

    /// The last answer has the revision as its ETag.
    #[must_use]
    pub fn tagged(mut self) -> Self {
        self.answers.last_mut().expect("an answer comes first").is_tagged = true;
        self
    }

    #[must_use]
    pub fn problems(mut self, codes: &[ProblemCode]) -> Self {
        self.problems.extend(codes);
        self
    }

    fn answer(mut self, answer: ResponseSpec) -> Self {
        self.answers.push(answer);
        self
    }

    /// It changes something.
    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }
}
