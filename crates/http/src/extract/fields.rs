//! Named values of a query string or a JSON object, validated with the messages that Pydantic uses.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::api_error::{ApiError, ApiResult, FieldError};
use crate::signed_url::SIGNATURE_PARAMETERS;

/// A type that can be read from a query string or a JSON object.
pub(crate) trait FromFields: Sized {
    /// Reads the value. Faults are recorded in `fields`, whose caller then discards the value.
    fn read(fields: &mut Fields) -> Self;
}

/// Named values of a query string or a JSON object, and the faults found in them so far.
#[derive(Debug)]
pub(crate) struct Fields {
    /// `query` or `body`, the first part of each fault's `loc`.
    location: &'static str,
    values: Map<String, Value>,
    /// Names that were asked for.
    known: RefCell<HashSet<String>>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// The parameters of a query string. The last one of a name is used.
    pub(crate) fn from_query(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let values =
            pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        Self::new("query", values)
    }

    /// The fields of a JSON object.
    pub(crate) fn from_object(values: Map<String, Value>) -> Self {
        Self::new("body", values)
    }

    fn new(location: &'static str, values: Map<String, Value>) -> Self {
        Self { location, values, known: RefCell::default(), errors: Vec::new() }
    }

    /// Reads a value, or returns one 422 with all faults. A name that the value does not have is one.
    pub(crate) fn read<T: FromFields>(mut self) -> ApiResult<T> {
        let value = T::read(&mut self);
        let known = self.known.take();
        for name in self.values.keys().filter(|name| !known.contains(*name)).cloned().collect::<Vec<_>>() {
            self.fault::<()>(&name, "extra_forbidden", "Extra inputs are not permitted");
        }
        if self.errors.is_empty() { Ok(value) } else { Err(ApiError::invalid(self.errors)) }
    }

    /// An integer within `range`.
    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.get(name)?;
        let number = match &value {
            Value::String(text) if self.location == "query" => text.parse().ok(),
            // Python clients may write an integer as 1.0.
            other => other.as_i64().or_else(|| exact_integer(other.as_f64()?)),
        };
        self.within(name, number, &range, ("int_parsing", "Input should be a valid integer"))
    }

    /// A number of pixels within `range`.
    pub(crate) fn pixels(&mut self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        self.integer(name, range).and_then(|pixels| u32::try_from(pixels).ok())
    }

    /// What `parse` makes of a text; `None` from it is the fault `(kind, message)`.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        (kind, message): (&'static str, &str),
    ) -> Option<T> {
        let value = self.get(name)?;
        value.as_str().and_then(parse).or_else(|| self.fault(name, kind, message))
    }

    /// Accepts the parameters of a signed address, which were checked before.
    pub(crate) fn allow_signature(&mut self) {
        self.known.get_mut().extend(SIGNATURE_PARAMETERS.map(str::to_owned));
    }

    /// A finite number within `range`.
    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(name)?;
        let number = match &value {
            Value::String(text) if self.location == "query" => text.parse().ok(),
            other => other.as_f64(),
        };
        let number = number.filter(|n: &f64| n.is_finite());
        self.within(name, number, &range, ("float_parsing", "Input should be a valid number"))
    }

    /// A number that must be in `range`; `None` for a value that is not a number, which is the fault
    /// `(kind, message)`.
    fn within<T: PartialOrd + Display>(
        &mut self,
        name: &str,
        number: Option<T>,
        range: &RangeInclusive<T>,
        (kind, message): (&'static str, &str),
    ) -> Option<T> {
        let (start, end) = (range.start(), range.end());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) if number < *start => self.fault(
                name,
                "greater_than_equal",
                format!("Input should be greater than or equal to {start}"),
            ),
            Some(_) => {
                self.fault(name, "less_than_equal", format!("Input should be less than or equal to {end}"))
            }
            None => self.fault(name, kind, message),
        }
    }

    /// `true` or `false`, in any of the forms that Pydantic takes from a query string.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        let flag = match &value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if self.location == "query" => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
                "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
                _ => None,
            },
            _ => None,
        };
        flag.or_else(|| self.fault(name, "bool_parsing", "Input should be a valid boolean"))
    }

    /// A string of 1 to `max_chars` characters that is not blank.
    pub(crate) fn text(&mut self, name: &str, max_chars: usize) -> Option<String> {
        match self.get(name)? {
            Value::String(text) if text.chars().all(is_blank) => {
                self.fault(name, "string_too_short", "String should not be blank")
            }
            Value::String(text) if text.chars().count() > max_chars => self.fault(
                name,
                "string_too_long",
                format!("String should have at most {max_chars} characters"),
            ),
            Value::String(text) => Some(text),
            _ => self.fault(name, "string_type", "Input should be a valid string"),
        }
    }

    /// A time in RFC 3339.
    pub(crate) fn time(&mut self, name: &str) -> Option<OffsetDateTime> {
        let value = self.get(name)?;
        let time = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        // Other programs read no other years.
        let is_readable = |at: &OffsetDateTime| {
            at.checked_to_offset(UtcOffset::UTC).is_some_and(|at| (1..=9999).contains(&at.year()))
        };
        let time = time.filter(is_readable);
        time.or_else(|| self.fault(name, "datetime_parsing", "Input should be a valid datetime in RFC 3339"))
    }

    /// The value of one of the given words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.get(name)?;
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| value.as_str() == Some(word)) {
            return Some(*chosen);
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
        self.fault(name, "enum", format!("Input should be {}", words.join(" or ")))
    }

    /// Whether the field is present and not null.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Records that a required field is missing.
    pub(crate) fn missing(&mut self, name: &str) {
        self.fault::<()>(name, "missing", "Field required");
    }

    /// The value of a field that is present and not null.
    fn get(&self, name: &str) -> Option<Value> {
        self.known.borrow_mut().insert(name.to_owned());
        self.values.get(name).filter(|value| !value.is_null()).cloned()
    }

    /// Records a fault of a field.
    fn fault<T>(&mut self, name: &str, kind: &'static str, msg: impl Into<String>) -> Option<T> {
        self.errors.push(FieldError::new(self.location, name, kind, msg));
        None
    }
}

/// Whitespace as `\s` in the patterns of JSON Schema: it includes separators that Unicode does not.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The integer that a number equals; `None` if it has a fraction or is too large to be exact.
fn exact_integer(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}
