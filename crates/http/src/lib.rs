//! The HTTP interface: the same client as the command line's, for browsers and other programs.
//!
//! [`routes`] lists every route; a handler asks the library or a bucket and answers with one of the shapes of
//! [`shapes`]. Errors are `{"detail": …}` ([`problem`]). While it serves, background tasks upload what was
//! submitted ([`uploads`]), watch the registers ([`job_cache`]) and bring results home ([`importer`]).
//!
//! What it promises: no request is trusted ([`guard`]); the library is never used on a thread of the runtime;
//! whatever a request began survives the request, and an upload survives the server.

mod access;
mod conditions;
mod detections;
mod docs;
mod events;
mod extract;
mod guard;
mod importer;
mod incoming;
mod job_cache;
mod job_view_cache;
mod jobs;
mod metrics;
mod options;
mod problem;
mod range;
mod routes;
mod serve;
mod shapes;
mod state;
mod stream;
mod uploads;
mod videos;

pub use access::Access;
pub use options::{Options, Pace, origin};
pub use serve::{Server, listen};
