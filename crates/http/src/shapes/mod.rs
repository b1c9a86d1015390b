//! The response bodies. Clients rely on the field names: fields may be added, but never renamed or removed.

pub(crate) mod detection;
pub(crate) mod edit;
pub(crate) mod game;
pub(crate) mod job;
pub(crate) mod server;
pub(crate) mod time;
pub(crate) mod video;
