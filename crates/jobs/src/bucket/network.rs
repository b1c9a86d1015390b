//! Why a request got no response, in the words of the network instead of those of the client libraries.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use super::http::UnknownHost;
use super::response::causes;

/// What the description of a request begins with for which there was no connection.
pub(crate) const NO_CONNECTION: &str = "no connection: ";
/// Longest description.
const MAX_SHOWN: usize = 400;

/// Describes why a request failed, in one line: refused, unknown host, no secure connection, too slow, or what the
/// server answered.
pub fn describe_failure(error: &(dyn StdError + 'static)) -> String {
    if let Some(unknown) = causes(error).find_map(|e| e.downcast_ref::<UnknownHost>()) {
        return format!("{NO_CONNECTION}{unknown}");
    }
    let of_client = || causes(error).filter_map(|e| e.downcast_ref::<reqwest::Error>());
    let (is_connect, is_timeout) =
        (of_client().any(reqwest::Error::is_connect), of_client().any(reqwest::Error::is_timeout));
    let tls = causes(error).find_map(|e| e.downcast_ref::<rustls::Error>());
    let io = causes(error).filter_map(|e| e.downcast_ref::<io::Error>()).last();
    match (tls, io) {
        (Some(tls), _) => format!("{NO_CONNECTION}it is not secure: {tls}"),
        (_, Some(io)) if io.kind() == ErrorKind::ConnectionRefused => {
            format!("{NO_CONNECTION}it was refused; no server listens at this address and port")
        }
        _ if is_connect && is_timeout => format!("{NO_CONNECTION}no answer in time"),
        (_, Some(io)) if is_connect => format!("{NO_CONNECTION}{io}"),
        _ if is_timeout => "no answer in time".to_owned(),
        (_, Some(io)) if io.get_ref().is_none() => format!("the connection was lost: {io}"),
        _ => innermost(error),
    }
}

/// The message of the innermost cause, which is the most specific; the outer ones mostly repeat each other.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error);
    let (inner, outer) = (innermost.to_string(), error.to_string());
    // The client library puts the request, and how often it tried, in front of the reason.
    let reason = outer.split_once("retry_timeout:").and_then(|(_, rest)| rest.split_once(" - "));
    let reason = reason.map_or(&*outer, |(_, reason)| reason.trim());
    // Short ones ("operation timed out") need the context of the outer message.
    let text = match (inner.len() < 60 && reason.len() < MAX_SHOWN, reason.contains(&inner)) {
        (true, true) => reason.to_owned(),
        (true, false) => format!("{reason}: {inner}"),
        (false, _) => inner,
    };
    text.chars().take(MAX_SHOWN).collect()
}
