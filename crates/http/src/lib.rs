//! The HTTP server: the client's operations as a JSON API for browsers and other programs.
//!
//! Where things are:
//!
//! * [`routes`] lists every route of the API. A new route is a handler file in `videos/`, `detections/`,
//!   `exports/`, `games/`, `jobs/` or `monitoring/` and a line there; response bodies are in [`shapes`].
//! * [`images`] makes pictures of videos, `exports/` files of detections.
//! * [`pages`] serves everything that is not the API: the page, whose source is in `ui/`, and the API documentation.
//! * [`session`] lets a browser log in.
//! * [`middleware`] runs before every handler: authorization, timeouts, CORS, request counts.
//! * [`background`] runs next to the requests: uploads to the bucket, polling of the job manifests, imports.
//! * [`connection`] and [`slots`] keep clients that send or read nothing from holding the server.
//! * [`app`] is the state that handlers and background tasks share.
//!
//! Guarantees: every request is authorized first; the library is never used on a thread of the async runtime;
//! work that a request started finishes even if the client disconnects; unfinished uploads resume after a
//! restart.

mod access;
mod api_error;
mod app;
mod async_client;
mod background;
mod connection;
mod detached;
mod detections;
mod edits;
mod etag;
mod exports;
mod extract;
mod games;
mod images;
mod jobs;
mod keyed_locks;
mod library_pool;
mod middleware;
mod monitoring;
mod openapi;
mod pages;
mod routes;
mod server;
mod server_options;
mod session;
mod shapes;
mod signed_url;
mod slots;
mod videos;

pub use access::Access;
pub use server::{Server, listen};
pub use server_options::{ConnectionLimits, PollIntervals, ServerOptions, parse_origin};
