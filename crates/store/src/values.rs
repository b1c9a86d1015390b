//! Reading columns whose text has a format: times, enums, JSON. An invalid value is an error that names
//! its table, row and column.

use rusqlite::types::Type;
use rusqlite::{Error, Row};
use time::OffsetDateTime;

use crate::timestamp;

/// Reads a time; `None` for null.
pub(crate) fn time(row: &Row<'_>, table: &str, column: &str) -> rusqlite::Result<Option<OffsetDateTime>> {
    parsed(row, table, column, timestamp::from_text)
}

/// Reads JSON; `None` for null and for the JSON value `null`.
pub(crate) fn json(row: &Row<'_>, table: &str, column: &str) -> rusqlite::Result<Option<serde_json::Value>> {
    let value = parsed(row, table, column, |text| serde_json::from_str(text).ok())?;
    Ok(value.filter(|value: &serde_json::Value| !value.is_null()))
}

/// Reads text that `parse` accepts; `None` for null.
pub(crate) fn parsed<T>(
    row: &Row<'_>,
    table: &str,
    column: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    match parse(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(invalid(row, table, column, &text)),
    }
}

/// The error for an invalid value.
pub(crate) fn invalid(row: &Row<'_>, table: &str, column: &str, text: &str) -> Error {
    let id = match row.get_ref("id") {
        Ok(value) => value.as_str().map(str::to_owned).or_else(|_| value.as_i64().map(|id| id.to_string())),
        Err(_) => Ok("?".to_owned()),
    };
    let excerpt: String = text.chars().take(60).collect();
    let message = format!("{table} {}: {column} is {excerpt:?}", id.unwrap_or_default());
    Error::FromSqlConversionFailure(0, Type::Text, message.into())
}
