//! Reading columns whose text has a meaning of its own: times, enums, JSON. A value that makes no
//! sense is an error that names its table, row and column.

use rusqlite::types::Type;
use rusqlite::{Error, Row};
use time::OffsetDateTime;

use crate::timestamp;

/// A time, or null.
pub(crate) fn time(row: &Row<'_>, table: &str, column: &str) -> rusqlite::Result<Option<OffsetDateTime>> {
    name(row, table, column, timestamp::from_text)
}

/// JSON, or null; JSON's own null counts as null.
pub(crate) fn json(row: &Row<'_>, table: &str, column: &str) -> rusqlite::Result<Option<serde_json::Value>> {
    let value = name(row, table, column, |text| serde_json::from_str(text).ok())?;
    Ok(value.filter(|value: &serde_json::Value| !value.is_null()))
}

/// A text that `read` understands, or null.
pub(crate) fn name<T>(
    row: &Row<'_>,
    table: &str,
    column: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    match read(&text) {
        Some(value) => Ok(Some(value)),
        None => Err(bad(row, table, column, &text)),
    }
}

/// The error for a value that makes no sense.
pub(crate) fn bad(row: &Row<'_>, table: &str, column: &str, text: &str) -> Error {
    let id = match row.get_ref("id") {
        Ok(value) => value.as_str().map(str::to_owned).or_else(|_| value.as_i64().map(|id| id.to_string())),
        Err(_) => Ok("?".to_owned()),
    };
    let shown: String = text.chars().take(60).collect();
    let message = format!("{table} {}: {column} is {shown:?}", id.unwrap_or_default());
    Error::FromSqlConversionFailure(0, Type::Text, message.into())
}
