//! Compression of responses, for clients that accept it.

use tower_http::CompressionLevel;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, DefaultPredicate};

/// Smaller bodies are sent as they are, in bytes.
const MIN_BYTES: u16 = 1024;

/// Compresses everything but videos, images and event streams. Lists of detections shrink to a tenth at any level, and the
/// fastest one costs less than their JSON.
pub(super) fn compression() -> CompressionLayer<impl Predicate> {
    let may_shrink = DefaultPredicate::new()
        .and(SizeAbove::new(MIN_BYTES))
        .and(NotForContentType::const_new("video/"))
        .and(NotForContentType::const_new("application/octet-stream"))
        .and(NotForContentType::const_new("multipart/byteranges"));
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(may_shrink)
}
