//! The XML bodies of S3 requests and responses.

use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::S3Error;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

#[derive(Serialize)]
#[serde(rename = "Error", rename_all = "PascalCase")]
pub(super) struct ErrorBody<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

#[derive(Serialize)]
#[serde(rename = "ListBucketResult", rename_all = "PascalCase")]
pub(super) struct ListBucketResult<'a> {
    pub(super) name: &'a str,
    pub(super) prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delimiter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encoding_type: Option<&'a str>,
    pub(super) key_count: usize,
    pub(super) max_keys: usize,
    pub(super) is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_continuation_token: Option<String>,
    pub(super) contents: Vec<Contents>,
    pub(super) common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Contents {
    pub(super) key: String,
    pub(super) last_modified: String,
    #[serde(rename = "ETag")]
    pub(super) etag: String,
    pub(super) size: usize,
    pub(super) storage_class: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommonPrefix {
    pub(super) prefix: String,
}

#[derive(Serialize)]
#[serde(rename = "InitiateMultipartUploadResult", rename_all = "PascalCase")]
pub(super) struct InitiateMultipartUploadResult<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) upload_id: String,
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUploadResult", rename_all = "PascalCase")]
pub(super) struct CompleteMultipartUploadResult<'a> {
    pub(super) location: String,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    #[serde(rename = "ETag")]
    pub(super) etag: String,
}

#[derive(Serialize)]
#[serde(rename = "ListPartsResult", rename_all = "PascalCase")]
pub(super) struct ListPartsResult<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) upload_id: &'a str,
    pub(super) max_parts: usize,
    pub(super) is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_part_number_marker: Option<u32>,
    pub(super) part: Vec<PartItem>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PartItem {
    pub(super) part_number: u32,
    pub(super) last_modified: String,
    #[serde(rename = "ETag")]
    pub(super) etag: String,
    pub(super) size: usize,
}

#[derive(Serialize)]
#[serde(rename = "DeleteResult", rename_all = "PascalCase")]
pub(super) struct DeleteResult {
    pub(super) deleted: Vec<ObjectName>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ObjectName {
    pub(super) key: String,
}

#[derive(Serialize)]
#[serde(rename = "LocationConstraint")]
pub(super) struct LocationConstraint {
    #[serde(rename = "$text")]
    pub(super) region: &'static str,
}

#[derive(Deserialize)]
pub(super) struct CompleteMultipartUpload {
    #[serde(rename = "Part", default)]
    pub(super) parts: Vec<NamedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamedPart {
    pub(super) part_number: u32,
    #[serde(rename = "ETag")]
    pub(super) etag: String,
}

#[derive(Deserialize)]
pub(super) struct Delete {
    #[serde(rename = "Object", default)]
    pub(super) objects: Vec<ObjectName>,
    #[serde(rename = "Quiet", default)]
    pub(super) quiet: bool,
}

/// Writes a document with S3's namespace on its root element.
pub(super) fn write(document: &impl Serialize) -> Bytes {
    let body = quick_xml::se::to_string(document).expect("these types have an XML form");
    let end_of_name = body.find(['>', '/', ' ']).unwrap_or(body.len());
    let (name, rest) = body.split_at(end_of_name);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{name} xmlns=\"{NAMESPACE}\"{rest}").into()
}

/// Writes an error document, which has no namespace.
pub(super) fn write_error(error: &S3Error) -> Bytes {
    let document = ErrorBody { code: error.code, message: &error.message };
    let body = quick_xml::se::to_string(&document).expect("this type has an XML form");
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}").into()
}

/// Parses the body of a request.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, S3Error> {
    let malformed = |why: String| S3Error::bad_request("MalformedXML", why);
    let text = std::str::from_utf8(body).map_err(|e| malformed(e.to_string()))?;
    quick_xml::de::from_str(text).map_err(|e| malformed(e.to_string()))
}

/// Formats a time as in S3's XML.
pub(super) fn timestamp(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time).replace_millisecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).expect("a time of this age has an RFC 3339 form")
}
