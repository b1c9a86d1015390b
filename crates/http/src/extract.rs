//! What requests bring, checked: path, query and JSON. Everything that is wrong is said at once, in the shape
//! of FastAPI's 422.

use std::ops::RangeInclusive;

use ::jobs::JobId;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use super::problem::{Answer, Issue, Problem};

/// Largest body that is no upload.
pub(super) const MAX_BODY_BYTES: usize = 64 << 10;

/// A type that is read from named values.
pub(super) trait FromFields: Sized {
    /// Reads it; what is wrong is noted in the fields.
    fn read(fields: &mut Fields) -> Self;
}

/// Named values of a query or a JSON object, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Fields {
    place: &'static str,
    values: Map<String, Value>,
    issues: Vec<Issue>,
}

impl Fields {
    /// Of a query string. A name given twice means the latter.
    fn of_query(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let values =
            pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect();
        Self { place: "query", values, issues: Vec::new() }
    }

    /// Of a JSON object.
    pub(super) fn of_body(values: Map<String, Value>) -> Self {
        Self { place: "body", values, issues: Vec::new() }
    }

    /// Reads a type; all that is wrong is one error.
    pub(super) fn read<T: FromFields>(mut self) -> Answer<T> {
        let value = T::read(&mut self);
        if self.issues.is_empty() { Ok(value) } else { Err(Problem::invalid(self.issues)) }
    }

    /// A whole number of a range.
    pub(super) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.get(name)?;
        let number = match &value {
            Value::String(text) if self.place == "query" => text.parse().ok(),
            // Python clients write whole numbers as 1.0, too.
            other => other.as_i64().or_else(|| whole(other.as_f64()?)),
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) if number < *range.start() => self.wrong(
                name,
                "greater_than_equal",
                format!("Input should be greater than or equal to {}", range.start()),
            ),
            Some(_) => self.wrong(
                name,
                "less_than_equal",
                format!("Input should be less than or equal to {}", range.end()),
            ),
            None => self.wrong(name, "int_parsing", "Input should be a valid integer"),
        }
    }

    /// A number from `range.start` on, and, where it is finite, to `range.end`.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(name)?;
        let number = match &value {
            Value::String(text) if self.place == "query" => text.parse().ok(),
            other => other.as_f64(),
        };
        match number.filter(|n: &f64| n.is_finite()) {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) if number < *range.start() => self.wrong(
                name,
                "greater_than_equal",
                format!("Input should be greater than or equal to {}", range.start()),
            ),
            Some(_) => self.wrong(
                name,
                "less_than_equal",
                format!("Input should be less than or equal to {}", range.end()),
            ),
            None => self.wrong(name, "float_parsing", "Input should be a valid number"),
        }
    }

    /// A text of 1 to `max_chars` characters that is not blank.
    pub(super) fn text(&mut self, name: &str, max_chars: usize) -> Option<String> {
        match self.get(name)? {
            Value::String(text) if text.chars().all(is_blank) => {
                self.wrong(name, "string_too_short", "String should not be blank")
            }
            Value::String(text) if text.chars().count() > max_chars => self.wrong(
                name,
                "string_too_long",
                format!("String should have at most {max_chars} characters"),
            ),
            Value::String(text) => Some(text),
            _ => self.wrong(name, "string_type", "Input should be a valid string"),
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, among: &[(&str, T)]) -> Option<T> {
        let value = self.get(name)?;
        if let Some((_, found)) = among.iter().find(|(word, _)| value.as_str() == Some(word)) {
            return Some(*found);
        }
        let words: Vec<String> = among.iter().map(|(word, _)| format!("'{word}'")).collect();
        self.wrong(name, "enum", format!("Input should be {}", words.join(" or ")))
    }

    /// Whether there is a value.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Says that a value is missing.
    pub(super) fn missing(&mut self, name: &str) {
        self.wrong::<()>(name, "missing", "Field required");
    }

    /// A value that is there and not null.
    fn get(&self, name: &str) -> Option<Value> {
        self.values.get(name).filter(|value| !value.is_null()).cloned()
    }

    /// Notes what is wrong with a value.
    pub(super) fn wrong<T>(&mut self, name: &str, kind: &'static str, msg: impl Into<String>) -> Option<T> {
        self.issues.push(Issue::new(self.place, name, kind, msg));
        None
    }
}

/// As in the patterns of JSON Schema, which count some separators that Unicode does not.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

/// The query.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: FromFields> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        Ok(Self(Fields::of_query(parts.uri.query().unwrap_or_default()).read()?))
    }
}

/// A video's number in the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct VideoId(pub(super) i64);

impl<S: Send + Sync> FromRequestParts<S> for VideoId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let issue = || Issue::new("path", "video_id", "int_parsing", "Input should be a valid integer");
        path(parts, state)
            .await
            .and_then(|text| text.parse().ok())
            .map(Self)
            .ok_or_else(|| Problem::invalid(vec![issue()]))
    }
}

/// A job's id in the path.
#[derive(Debug)]
pub(super) struct JobPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let text = path(parts, state).await.unwrap_or_default();
        JobId::new(text).map(Self).map_err(|error| {
            Problem::invalid(vec![Issue::new("path", "job_id", "string_pattern_mismatch", error.to_string())])
        })
    }
}

/// The one parameter of the path; `None` if it is no UTF-8.
async fn path<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    Path::<String>::from_request_parts(parts, state).await.ok().map(|Path(text)| text)
}

/// A JSON object that may be left out.
#[derive(Debug)]
pub(super) struct OptionalBody<T>(pub(super) T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let is_json = media_type(&request).as_deref() == Some("application/json");
        let bytes = body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(Fields::of_body(Map::new()).read()?));
        }
        if !is_json {
            return Err(unsupported("application/json"));
        }
        Ok(Self(Fields::of_body(object(&bytes)?).read()?))
    }
}

/// A JSON object of a request whose type was looked at already.
pub(super) async fn required_body<S: Send + Sync, T: FromFields>(request: Request, state: &S) -> Answer<T> {
    Fields::of_body(object(&body(request, state).await?)?).read()
}

/// 415, naming what is taken.
pub(super) fn unsupported(taken: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("The body must be {taken}, and say so in Content-Type"),
    )
}

/// The media type of a body, without parameters, in lower case.
pub(super) fn media_type(request: &Request) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

async fn body<S: Send + Sync>(mut request: Request, state: &S) -> Answer<Bytes> {
    DefaultBodyLimit::apply(DefaultBodyLimit::max(MAX_BODY_BYTES), &mut request);
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {MAX_BODY_BYTES} bytes"),
        ),
        _ => Problem::new(StatusCode::BAD_REQUEST, "The body could not be read"),
    })
}

fn object(bytes: &[u8]) -> Answer<Map<String, Value>> {
    let wrong = |kind, msg: String| Problem::invalid(vec![Issue::new("body", "", kind, msg)]);
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        // FastAPI takes null for no body.
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(wrong("dict_type", "Input should be a valid JSON object".to_owned())),
        Err(error) => Err(wrong("json_invalid", format!("JSON decode error: {error}"))),
    }
}
