//! Which failures of requests are permanent: the server is not an S3 server, or it refuses what the settings say. All
//! others may be over at the next attempt.

use std::error::Error as StdError;

use crate::error::Remedy;

/// Longest text of a server that is shown, in characters.
const MAX_SHOWN: usize = 300;

/// A failure that no retry changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Rejection {
    pub(super) cause: Cause,
    /// What the server did.
    pub(super) detail: String,
}

/// What a rejection is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// The key is unknown, its secret is wrong, or it does not permit the action.
    Denied,
    /// The bucket does not exist.
    NoBucket,
    /// The server cannot be used with these settings.
    Unusable(Remedy),
}

/// The part of a response that decides, besides its body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head<'a> {
    pub(super) status: u16,
    /// `Location`.
    pub(super) location: Option<&'a str>,
    /// `x-amz-bucket-region`.
    pub(super) region: Option<&'a str>,
    /// Whether a listing was requested.
    pub(super) is_listing: bool,
}

/// Judges a response. `None` if it is a normal one, for example an object that does not exist, or one after which the
/// request may be retried.
pub(super) fn judge(head: &Head<'_>, body: &[u8]) -> Option<Rejection> {
    let text = String::from_utf8_lossy(body);
    let status = head.status;
    let code = element(&text, "Code").unwrap_or_default();
    let unusable = |remedy, detail: String| Some(Rejection { cause: Cause::Unusable(remedy), detail });
    let refused = |remedy| unusable(remedy, answer(status, &text));
    let region = || Remedy::Region(element(&text, "Region").or(head.region).map(str::to_owned));
    match status {
        _ if is_web_page(&text) && !(500..=599).contains(&status) => unusable(
            Remedy::Endpoint,
            format!("it answered {status} with a web page: it is a proxy or web server, not an S3 server"),
        ),
        // An error in place of the listing may be over at the next attempt.
        200..=299 if head.is_listing && code.is_empty() && !text.contains("ListBucketResult") => {
            unusable(Remedy::Endpoint, "it answered a listing with something else than a listing".to_owned())
        }
        200..=299 | 304 => None,
        300..=399 if head.region.is_some() || element(&text, "Region").is_some() => refused(region()),
        300..=399 => {
            let to = head.location.or_else(|| element(&text, "Endpoint")).unwrap_or("another address");
            unusable(Remedy::Endpoint, format!("it answered {status}: redirected to {}", shortened(to)))
        }
        400 if code == "AuthorizationHeaderMalformed" || code.starts_with("InvalidRegion") => {
            refused(region())
        }
        400 | 401 | 403 if code == "RequestTimeTooSkewed" => refused(Remedy::Clock),
        400 if code == "InvalidBucketName" => refused(Remedy::BucketName),
        400 if code == "InvalidArgument" && text.contains("access key") => refused(Remedy::Keys),
        400 if code == "InvalidAccessKeyId" => refused(Remedy::Keys),
        400 if is_about_one_object(code) => None,
        401 | 403 => Some(Rejection { cause: Cause::Denied, detail: answer(status, &text) }),
        404 if code == "NoSuchBucket" => Some(Rejection { cause: Cause::NoBucket, detail: String::new() }),
        501 | 505 => refused(Remedy::Server),
        404 | 408 | 409 | 412 | 416 | 425 | 429 | 499..=599 => None,
        _ => refused(Remedy::Endpoint),
    }
}

/// The error that a server sent in place of a listing, with the status of a success.
pub(super) fn error_in_success(head: &Head<'_>, body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let is_error = head.is_listing
        && head.status < 300
        && element(&text, "Code").is_some()
        && !text.contains("ListBucketResult");
    is_error.then(|| answer(head.status, &text))
}

/// Whether a request failed because of what it sent, or on the way. Codes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
fn is_about_one_object(code: &str) -> bool {
    matches!(
        code,
        "BadDigest"
            | "EntityTooLarge"
            | "EntityTooSmall"
            | "ExpiredToken"
            | "IncompleteBody"
            | "InvalidDigest"
            | "InvalidPart"
            | "InvalidPartOrder"
            | "InvalidRange"
            | "KeyTooLongError"
            | "MalformedXML"
            | "RequestTimeout"
            | "XAmzContentSHA256Mismatch"
    )
}

/// Judges the failure of a connection. `None` if it may work later.
pub(super) fn of_connection(error: &(dyn StdError + 'static)) -> Option<Rejection> {
    let rejected = |remedy, detail| Some(Rejection { cause: Cause::Unusable(remedy), detail });
    let is_connect = causes(error).any(|e| e.downcast_ref().is_some_and(reqwest::Error::is_connect));
    if let Some(tls) = causes(error).find_map(|e| e.downcast_ref::<rustls::Error>()).filter(|_| is_connect) {
        return rejected(Remedy::Tls, format!("no secure connection: {tls}"));
    }
    // Such as TLS, or another protocol, on the port.
    if causes(error).any(|e| e.to_string().starts_with("invalid HTTP")) {
        return rejected(Remedy::Endpoint, "it does not speak HTTP at this address".to_owned());
    }
    None
}

/// The error and its causes, including those inside of I/O errors, which `source` skips.
pub(super) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error: &'a (dyn StdError + 'static) = *error;
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source())
    })
}

/// The text of an XML element without attributes and children.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0.trim()).filter(|content| !content.is_empty())
}

fn is_web_page(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(16).collect::<String>().to_ascii_lowercase();
    start.starts_with("<!doctype html") || start.starts_with("<html")
}

/// Status, code and message of an error response.
fn answer(status: u16, text: &str) -> String {
    match (element(text, "Code"), element(text, "Message")) {
        (Some(code), Some(message)) => format!("it answered {status} {code}: {}", shortened(message)),
        (Some(code), None) => format!("it answered {status} {code}"),
        (None, _) if text.trim().is_empty() => format!("it answered {status}"),
        (None, _) => format!("it answered {status}: {}", shortened(text.trim())),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(code: &str, rest: &str) -> String {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message>{rest}</Error>")
    }

    #[test]
    fn responses_that_a_retry_may_change_are_no_rejections() {
        for (status, body) in [
            (200, String::new()),
            (304, String::new()),
            (400, xml("RequestTimeout", "")),
            (400, xml("InvalidPart", "")),
            (404, String::new()),
            (404, xml("NoSuchKey", "")),
            (404, xml("NoSuchUpload", "")),
            (408, String::new()),
            (409, xml("OperationAborted", "")),
            (412, xml("PreconditionFailed", "")),
            (416, xml("InvalidRange", "")),
            (429, xml("TooManyRequests", "")),
            (500, xml("InternalError", "")),
            (503, "<html>".to_owned()),
            (520, "<html>".to_owned()),
        ] {
            assert_eq!(judge(&Head { status, ..Head::default() }, body.as_bytes()), None, "{status} {body}");
        }
    }

    #[test]
    fn rejections_have_a_remedy() {
        let region = |name: &str| Cause::Unusable(Remedy::Region(Some(name.to_owned())));
        for (status, body, cause) in [
            (400, xml("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), region("eu-west-1")),
            (400, xml("InvalidRegionName", ""), Cause::Unusable(Remedy::Region(None))),
            (301, xml("PermanentRedirect", "<Region>eu-west-1</Region>"), region("eu-west-1")),
            (301, xml("PermanentRedirect", "<Endpoint>h</Endpoint>"), Cause::Unusable(Remedy::Endpoint)),
            (400, xml("InvalidBucketName", ""), Cause::Unusable(Remedy::BucketName)),
            (403, xml("RequestTimeTooSkewed", ""), Cause::Unusable(Remedy::Clock)),
            (403, xml("InvalidAccessKeyId", ""), Cause::Denied),
            (403, xml("SignatureDoesNotMatch", ""), Cause::Denied),
            (401, String::new(), Cause::Denied),
            (403, "<!DOCTYPE HTML><html>".to_owned(), Cause::Unusable(Remedy::Endpoint)),
            (404, "\n<html>".to_owned(), Cause::Unusable(Remedy::Endpoint)),
            (404, xml("NoSuchBucket", ""), Cause::NoBucket),
            (405, String::new(), Cause::Unusable(Remedy::Endpoint)),
            (501, xml("NotImplemented", ""), Cause::Unusable(Remedy::Server)),
        ] {
            let rejection = judge(&Head { status, ..Head::default() }, body.as_bytes());
            assert_eq!(rejection.map(|r| r.cause), Some(cause), "{status} {body}");
        }
    }

    #[test]
    fn only_a_listing_answers_a_listing() {
        let head = Head { status: 200, is_listing: true, ..Head::default() };
        let listing = b"<ListBucketResult xmlns=\"x\"></ListBucketResult>";
        assert_eq!((judge(&head, listing), error_in_success(&head, listing)), (None, None));
        for body in ["", "<html></html>", "{}"] {
            assert!(judge(&head, body.as_bytes()).is_some(), "{body}");
        }
        let body = xml("InternalError", "");
        assert_eq!(judge(&head, body.as_bytes()), None);
        let expected = "it answered 200 InternalError: m".to_owned();
        assert_eq!(error_in_success(&head, body.as_bytes()), Some(expected));
    }
}
