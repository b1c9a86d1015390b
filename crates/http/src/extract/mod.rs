//! Extractors: the path, query and body of a request, validated. All faults are reported together, as
//! FastAPI's 422.

pub(crate) mod body;
pub(crate) mod fields;
pub(crate) mod path;
pub(crate) mod query;
