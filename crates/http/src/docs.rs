//! The interface's own documentation: what the routes say of themselves, and the pages that show it.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Content, OpenApi as Document, PathItem, Ref, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::SwaggerUi;

use super::guard::is_open;
use super::problem::{ErrorBody, ValidationBody};

const TOKEN: &str = "token";

/// What stands above the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Courtside",
        description = "Tracks every player through an hour-long game with SAM3 and brings the tracks home.\n\n\
                       Errors are `{\"detail\": …}`."
    ),
    tags(
        (name = "videos", description = "Videos of the library"),
        (name = "detections", description = "What was found in them"),
        (name = "jobs", description = "Finding it"),
        (name = "server", description = "The server itself")
    ),
    components(schemas(ErrorBody, ValidationBody)),
    modifiers(&Token)
)]
pub(super) struct Head;

/// The token that most routes may demand.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        if let Some(components) = document.components.as_mut() {
            components.add_security_scheme(TOKEN, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        }
    }
}

/// Adds to every route what every route may answer.
pub(super) fn complete(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            let mut common = vec![
                ("400", "Without a token: the server was not called by a name of this machine"),
                ("403", "Without a token: a page of another origin must not change anything"),
                ("503", "Something that is needed does not answer; try again"),
            ];
            if !is_open(path) {
                common.push(("401", "The token is missing or wrong"));
                let nothing = SecurityRequirement::default();
                operation.security =
                    Some(vec![nothing, SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
            }
            for (status, description) in common {
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert_with(|| error(description).into());
            }
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
}

fn error(description: &str) -> Response {
    let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
    ResponseBuilder::new().description(description).content("application/json", content).build()
}

/// `/docs` and `/openapi.json`.
pub(super) fn pages(document: Document) -> SwaggerUi {
    SwaggerUi::new("/docs").url("/openapi.json", document)
}
