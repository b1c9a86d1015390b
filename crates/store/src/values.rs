//! Reading the columns of rows that other programs write too. A value that cannot be read is left out and noted, with its
//! column, so that one row never hides the others.

use std::cell::RefCell;

use rusqlite::Row;
use rusqlite::types::{FromSql, Value, ValueRef};
use time::OffsetDateTime;

use crate::timestamp;

/// Reads a row and notes the values that cannot be read.
pub(crate) struct Reader<'a, 'b> {
    row: &'a Row<'b>,
    unreadable: RefCell<Vec<String>>,
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(crate) fn new(row: &'a Row<'b>) -> Self {
        Self { row, unreadable: RefCell::default() }
    }

    /// The values that could not be read, each with its column.
    pub(crate) fn unreadable(self) -> Vec<String> {
        self.unreadable.into_inner()
    }

    /// Reads a value; `None` for null.
    pub(crate) fn get<T: FromSql>(&self, column: &str) -> Option<T> {
        self.row.get(column).unwrap_or_else(|_| self.note(column))
    }

    /// Reads a time; `None` for null.
    pub(crate) fn time(&self, column: &str) -> Option<OffsetDateTime> {
        self.parsed(column, timestamp::from_text)
    }

    /// Reads JSON; `None` for null and for the JSON value `null`.
    pub(crate) fn json(&self, column: &str) -> Option<serde_json::Value> {
        let value: Option<serde_json::Value> = self.parsed(column, |text| serde_json::from_str(text).ok());
        value.filter(|value| !value.is_null())
    }

    /// Reads text that `parse` accepts; `None` for null.
    pub(crate) fn parsed<T>(&self, column: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text: String = self.get(column)?;
        parse(&text).or_else(|| self.note(column))
    }

    fn note<T>(&self, column: &str) -> Option<T> {
        let value = self.row.get_ref(column).map_or_else(|_| "missing".to_owned(), describe);
        self.unreadable.borrow_mut().push(format!("{column} is {value}"));
        None
    }
}

/// A value, shortened, for a message.
fn describe(value: ValueRef<'_>) -> String {
    match Value::try_from(value) {
        Ok(Value::Null) => "null".to_owned(),
        Ok(Value::Integer(value)) => value.to_string(),
        Ok(Value::Real(value)) => value.to_string(),
        Ok(Value::Text(text)) => format!("{:?}", text.chars().take(60).collect::<String>()),
        Ok(Value::Blob(bytes)) => format!("{} bytes of binary data", bytes.len()),
        Err(_) => "not UTF-8".to_owned(),
    }
}
