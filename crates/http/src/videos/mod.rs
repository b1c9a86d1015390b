//! Routes about videos: list, show, add, change, remove, stream.

pub(crate) mod add;
pub(crate) mod edit;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod stream;
pub(crate) mod stream_url;
mod upload;
pub(crate) mod upload_file;
