//! The formats that can be downloaded: all that this build writes, but the annotated video, which takes as long to make
//! as the video to watch.

use client::export::Format;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

/// The formats by name.
pub(super) fn choices() -> Vec<(&'static str, Format)> {
    let is_file = |format: &&Format| **format != Format::Video;
    Format::ALL.iter().filter(is_file).map(|format| (format.name(), *format)).collect()
}

/// Describes the names in the OpenAPI document.
pub(super) struct ExportFormat;

impl PartialSchema for ExportFormat {
    fn schema() -> RefOr<Schema> {
        let describe = |(name, format): (&str, Format)| format!("`{name}`: {}", format.description());
        let descriptions: Vec<String> = choices().into_iter().map(describe).collect();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(choices().into_iter().map(|(name, _)| name)))
            .description(Some(descriptions.join(". ")))
            .into()
    }
}

impl ToSchema for ExportFormat {}
