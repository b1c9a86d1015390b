//! Routes about jobs: submit, show, list, follow, cancel, retry, remove.

mod body;
pub(crate) mod cancel;
pub(crate) mod detect;
pub(crate) mod events_url;
pub(crate) mod follow;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod remove;
pub(crate) mod retry;
mod submit;
