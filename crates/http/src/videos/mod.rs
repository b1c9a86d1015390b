//! Routes about videos: list, show, add, stream.

pub(crate) mod add;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod stream;
mod upload;
pub(crate) mod upload_file;
