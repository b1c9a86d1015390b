//! The OpenAPI document: its head, and the responses that every route shares. The rest comes from the handlers'
//! `#[utoipa::path]` attributes.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Content, OpenApi as Document, PathItem, Ref, RefOr, Response, ResponseBuilder, Schema,
    SecurityRequirement,
};
use utoipa::{Modify, OpenApi};

use crate::api_error::{ErrorBody, ValidationBody};
use crate::middleware::authorize::is_public;

/// Name of the security scheme in the document.
const TOKEN: &str = "token";
const JSON: &str = "application/json";

/// Title, tags, shared schemas and the security scheme; the routes are added by `routes.rs`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Courtside",
        description = "Tracks every player through an hour-long game with SAM3 and imports the tracks into the \
                       library.\n\nErrors are `{\"detail\": …}`.\n\nThe server closes a connection whose client \
                       does not send the complete head of the next request within 30 seconds, sends nothing for 60 \
                       seconds while a body is expected (408), or accepts nothing for 60 seconds while a response is \
                       sent. Transfers that are slow but move are not limited. Of more than 512 connections, the one \
                       idle longest is closed; of more than 256 event streams, the oldest ends."
    ),
    tags(
        (name = "videos", description = "Videos in the library"),
        (name = "games", description = "Games, to which videos belong"),
        (name = "detections", description = "Detections and tracks of a video"),
        (name = "edits", description = "Corrections of tracks, with undo and redo"),
        (name = "jobs", description = "Jobs that track the players of a video"),
        (name = "server", description = "Health and metrics of the server")
    ),
    components(schemas(ErrorBody, ValidationBody)),
    modifiers(&TokenScheme)
)]
pub(crate) struct ApiDocument;

/// Declares the bearer token that the server may require.
struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut Document) {
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme(TOKEN, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        }
    }
}

/// Adds the responses that every route can return, and the optional token where a route may require one.
pub(crate) fn with_common_responses(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            let mut common = vec![
                ("400", "Without a token: the Host header does not name this machine"),
                ("403", "Without a token: pages of other origins must not change anything"),
                ("503", "The database or the bucket is unavailable; try again"),
            ];
            if !is_public(path) {
                common.push(("401", "The token is missing or wrong"));
                let no_token = SecurityRequirement::default();
                operation.security =
                    Some(vec![no_token, SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
            }
            for (status, description) in common {
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert_with(|| error_response(description).into());
            }
        }
    }
    document
}

/// Says in the schemas of JSON bodies that fields of other names are refused, as [`crate::extract::fields`] does.
pub(crate) fn with_closed_bodies(mut document: Document) -> Document {
    let mut names = Vec::new();
    for item in document.paths.paths.values_mut() {
        let bodies = operations(item).filter_map(|operation| inline(operation.request_body.as_ref()?));
        let schemas = bodies.filter_map(|body| inline(body.content.get(JSON)?)?.schema.as_ref());
        names.extend(schemas.flat_map(schema_names));
    }
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    for (_, schema) in schemas.into_iter().flatten().filter(|(name, _)| names.contains(name)) {
        if let RefOr::T(Schema::Object(object)) = schema {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
    document
}

/// What is not a reference; the document refers to schemas only.
fn inline<T>(part: &RefOr<T>) -> Option<&T> {
    match part {
        RefOr::T(inline) => Some(inline),
        RefOr::Ref(_) => None,
    }
}

/// The names of the schemas that a body's schema refers to: itself, or its alternatives where the body is optional.
fn schema_names(schema: &RefOr<Schema>) -> Vec<String> {
    match schema {
        RefOr::Ref(reference) => {
            reference.ref_location.rsplit('/').next().map(str::to_owned).into_iter().collect()
        }
        RefOr::T(Schema::OneOf(one_of)) => one_of.items.iter().flat_map(schema_names).collect(),
        RefOr::T(_) => Vec::new(),
    }
}

/// The operations of a path. The API has no other methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn error_response(description: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new().description(description).content(JSON, content).build()
}
