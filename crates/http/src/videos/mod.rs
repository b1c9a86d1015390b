//! Routes about videos: list, show, add, change, remove, stream, show frames.

pub(crate) mod add;
pub(crate) mod edit;
pub(crate) mod frame;
pub(crate) mod frame_url;
pub(crate) mod get;
pub(crate) mod list;
mod local_file;
pub(crate) mod stream;
pub(crate) mod stream_url;
pub(crate) mod thumbnail;
pub(crate) mod timestamps;
mod upload;
pub(crate) mod upload_file;
