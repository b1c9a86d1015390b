//! Error responses with R2's statuses and codes: <https://developers.cloudflare.com/r2/api/error-codes/>.

use hyper::StatusCode;

/// An S3 error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Error {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl S3Error {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> S3Error {
        S3Error { status, code, message: message.into() }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> S3Error {
        S3Error::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn invalid_argument(message: impl Into<String>) -> S3Error {
        S3Error::bad_request("InvalidArgument", message)
    }

    pub(crate) fn no_such_bucket() -> S3Error {
        S3Error::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist.")
    }

    pub(crate) fn no_such_key() -> S3Error {
        S3Error::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
    }

    pub(crate) fn no_such_upload() -> S3Error {
        S3Error::new(StatusCode::NOT_FOUND, "NoSuchUpload", "The specified multipart upload does not exist.")
    }

    pub(crate) fn invalid_part(message: impl Into<String>) -> S3Error {
        S3Error::bad_request("InvalidPart", message)
    }

    pub(crate) fn precondition_failed() -> S3Error {
        let message = "At least one of the pre-conditions you specified did not hold.";
        S3Error::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
    }

    pub(crate) fn invalid_range() -> S3Error {
        let message = "The requested range is not satisfiable.";
        S3Error::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message)
    }

    pub(crate) fn too_many_requests() -> S3Error {
        let message = "Reduce your concurrent request rate for the same object.";
        S3Error::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
    }

    pub(crate) fn internal() -> S3Error {
        let message = "We encountered an internal error. Please try again.";
        S3Error::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(crate) fn slow_down() -> S3Error {
        S3Error::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate.")
    }

    pub(crate) fn unauthorized() -> S3Error {
        S3Error::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn access_denied() -> S3Error {
        S3Error::new(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied")
    }

    pub(crate) fn signature_does_not_match() -> S3Error {
        let message = "The request signature we calculated does not match the signature you provided.";
        S3Error::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message)
    }

    /// For what the fake does not implement: an explicit error is safer than approximate behaviour.
    pub(crate) fn not_implemented(what: impl std::fmt::Display) -> S3Error {
        S3Error::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", format!("{what} not implemented"))
    }
}
