//! Routes that export detections: the files that `courtside export` writes, as downloads.

mod file;
mod format;
pub(crate) mod of_job;
pub(crate) mod of_video;

pub(crate) use self::file::WARNING;
use client::export::{Format, Selected};
use utoipa::IntoParams;

use self::format::ExportFormat;
use crate::api_error::{ApiError, ApiResult, FieldError};
use crate::extract::fields::{Fields, FromFields};

/// How to export, and which detections.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// The format of the file.
    #[param(inline, value_type = ExportFormat)]
    format: Option<Format>,
    /// Leave out detections below this confidence.
    #[param(minimum = 0.0, maximum = 1.0, default = 0.0)]
    min_confidence: Option<f64>,
}

impl FromFields for ExportQuery {
    fn read(fields: &mut Fields) -> Self {
        if !fields.is_given("format") {
            fields.missing("format");
        }
        Self {
            format: fields.choice("format", &format::choices()),
            min_confidence: fields.number("min_confidence", 0.0..=1.0),
        }
    }
}

impl ExportQuery {
    /// The export of these detections.
    fn export(&self, selected: Selected, is_raw: bool) -> ApiResult<file::Export> {
        // Required, and checked while the query was read.
        let missing =
            || ApiError::invalid(vec![FieldError::new("query", "format", "missing", "Field required")]);
        let format = self.format.ok_or_else(missing)?;
        let min_confidence = self.min_confidence.unwrap_or(0.0);
        Ok(file::Export { selected, format, min_confidence, is_raw })
    }
}
