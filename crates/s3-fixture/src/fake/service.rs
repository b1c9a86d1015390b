//! Executes requests on the store. No network, no faults.

use std::ops::Range;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED, RANGE,
};
use hyper::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::conditions::Conditions;
use super::error::S3Error;
use super::listing::{self, ListQuery};
use super::log::Op;
use super::request::Request;
use super::response::S3Response;
use super::store::{Hashed, Object, Rules, Store, hex};
use super::xml;

/// Maximum number of keys or parts per page.
const MAX_PAGE: usize = 1000;
/// Highest part number in an upload.
const MAX_PART_NUMBER: u32 = 10_000;
/// The characters that `encoding-type=url` does not escape.
const URL_ENCODING: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
/// Headers that are stored with an object, in addition to `x-amz-meta-*`.
const KEPT_HEADERS: [HeaderName; 5] =
    [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE];

/// A request whose body has been read and hashed.
pub(super) struct Ready {
    request: Request,
    content: Hashed,
}

impl Ready {
    /// Performs the checks that do not need the store.
    pub(super) fn new(request: Request, body: Bytes) -> Result<Ready, S3Error> {
        request.check_supported()?;
        let needs_length = request.op.is_write() && (!body.is_empty() || request.op == Op::CreateBucket);
        if needs_length && !request.headers.contains_key(CONTENT_LENGTH) {
            let message = "You must provide the Content-Length HTTP header.";
            return Err(S3Error::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message));
        }
        let declared = request.header("x-amz-content-sha256").filter(|hash| *hash != "UNSIGNED-PAYLOAD");
        if declared.is_some_and(|declared| declared != hex(&Sha256::digest(&body))) {
            let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
            return Err(S3Error::bad_request("XAmzContentSHA256Mismatch", message));
        }
        Ok(Ready { content: Hashed::of(body), request })
    }

    /// Executes the request. `max_keys` limits a page in addition to the request's own limit.
    pub(super) fn run(
        &self,
        store: &mut Store,
        rules: Rules,
        max_keys: usize,
    ) -> Result<S3Response, S3Error> {
        let request = &self.request;
        match request.op {
            Op::HeadBucket | Op::CreateBucket => Ok(S3Response::new(StatusCode::OK)),
            Op::GetBucketLocation => {
                Ok(S3Response::xml(xml::write(&xml::LocationConstraint { region: "auto" })))
            }
            Op::ListObjects => list(request, store, max_keys),
            Op::GetObject | Op::HeadObject => read(request, store),
            Op::PutObject => self.put(store, rules),
            Op::DeleteObject => {
                store.objects.remove(&request.key);
                Ok(S3Response::new(StatusCode::NO_CONTENT))
            }
            Op::DeleteObjects => self.delete_many(store),
            Op::CreateMultipartUpload => create_upload(request, store),
            Op::UploadPart => self.put_part(store),
            Op::CompleteMultipartUpload => self.complete(store, rules),
            Op::AbortMultipartUpload => {
                store.abort(&request.key, upload_id(request))?;
                Ok(S3Response::new(StatusCode::NO_CONTENT))
            }
            Op::ListParts => list_parts(request, store),
            Op::Unknown => Err(S3Error::not_implemented("this operation is")),
        }
    }

    fn put(&self, store: &mut Store, rules: Rules) -> Result<S3Response, S3Error> {
        let conditions = Conditions::of(&self.request.headers);
        let kept = kept_headers(&self.request.headers);
        let etag = store.put(&self.request.key, self.content.clone(), kept, &conditions, rules)?;
        Ok(S3Response::new(StatusCode::OK).with(ETAG, quoted(&etag)))
    }

    fn put_part(&self, store: &mut Store) -> Result<S3Response, S3Error> {
        let number = self.request.number("partNumber")?.unwrap_or(0);
        if !(1..=MAX_PART_NUMBER).contains(&number) {
            let message =
                format!("Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive.");
            return Err(S3Error::invalid_argument(message));
        }
        let id = upload_id(&self.request);
        let etag = store.put_part(&self.request.key, id, number, self.content.clone())?;
        Ok(S3Response::new(StatusCode::OK).with(ETAG, quoted(&etag)))
    }

    fn complete(&self, store: &mut Store, rules: Rules) -> Result<S3Response, S3Error> {
        let Request { bucket, key, headers, .. } = &self.request;
        let body: xml::CompleteMultipartUpload = xml::read(&self.content.body)?;
        let named: Vec<_> = body.parts.into_iter().map(|part| (part.part_number, part.etag)).collect();
        let etag = store.complete(key, upload_id(&self.request), &named, &Conditions::of(headers), rules)?;
        let location = format!("/{bucket}/{key}");
        let etag = quoted(&etag);
        Ok(S3Response::xml(xml::write(&xml::CompleteMultipartUploadResult { location, bucket, key, etag })))
    }

    fn delete_many(&self, store: &mut Store) -> Result<S3Response, S3Error> {
        let body: xml::Delete = xml::read(&self.content.body)?;
        if body.objects.len() > MAX_PAGE {
            return Err(S3Error::bad_request("MalformedXML", "At most 1000 keys can be deleted at once."));
        }
        for object in &body.objects {
            store.objects.remove(&object.key);
        }
        let deleted = if body.quiet { Vec::new() } else { body.objects };
        Ok(S3Response::xml(xml::write(&xml::DeleteResult { deleted })))
    }
}

fn list(request: &Request, store: &Store, max_keys: usize) -> Result<S3Response, S3Error> {
    let text = |name| request.parameter(name).unwrap_or_default().to_owned();
    let query = ListQuery {
        prefix: text("prefix"),
        delimiter: text("delimiter"),
        start_after: text("start-after"),
        token: request.parameter("continuation-token").map(str::to_owned),
        max_keys: request.number("max-keys")?.unwrap_or(MAX_PAGE).min(MAX_PAGE).min(max_keys),
    };
    let page = listing::list(&store.objects, &query)?;
    let url = request.parameter("encoding-type") == Some("url");
    let encode = |text: &str| match url {
        true => utf8_percent_encode(text, URL_ENCODING).to_string(),
        false => text.to_owned(),
    };
    let contents = |key: &String| {
        let object = store.objects.get(key)?;
        Some(xml::Contents {
            key: encode(key),
            last_modified: xml::timestamp(object.modified),
            etag: quoted(&object.etag),
            size: object.body.len(),
            storage_class: "STANDARD",
        })
    };
    let folded = |prefix: &String| xml::CommonPrefix { prefix: encode(prefix) };
    Ok(S3Response::xml(xml::write(&xml::ListBucketResult {
        name: &request.bucket,
        prefix: encode(&query.prefix),
        delimiter: Some(encode(&query.delimiter)).filter(|d| !d.is_empty()),
        encoding_type: url.then_some("url"),
        key_count: page.keys.len() + page.common_prefixes.len(),
        max_keys: query.max_keys,
        is_truncated: page.next_token.is_some(),
        next_continuation_token: page.next_token,
        contents: page.keys.iter().filter_map(contents).collect(),
        common_prefixes: page.common_prefixes.iter().map(folded).collect(),
    })))
}

fn read(request: &Request, store: &Store) -> Result<S3Response, S3Error> {
    let object = store.objects.get(&request.key).ok_or_else(S3Error::no_such_key)?;
    let conditions = Conditions::of(&request.headers);
    if !conditions.match_holds_for_read(&object.etag) {
        return Err(S3Error::precondition_failed());
    }
    if !conditions.none_match_holds(Some(&object.etag)) {
        return Ok(S3Response::new(StatusCode::NOT_MODIFIED).with(ETAG, quoted(&object.etag)));
    }
    let len = object.body.len();
    let mut response = match request.headers.get(RANGE).and_then(|range| range.to_str().ok()) {
        None => describe(object, StatusCode::OK).with_body(object.body.clone()),
        Some(range) => {
            let range = byte_range(range, len).ok_or_else(S3Error::invalid_range)?;
            describe(object, StatusCode::PARTIAL_CONTENT)
                .with(CONTENT_RANGE, format!("bytes {}-{}/{len}", range.start, range.end - 1))
                .with_body(object.body.slice(range))
        }
    };
    if request.op == Op::HeadObject {
        response.body = Bytes::new();
    }
    Ok(response)
}

fn describe(object: &Object, status: StatusCode) -> S3Response {
    let mut response = S3Response::new(status)
        .with(ETAG, quoted(&object.etag))
        .with(LAST_MODIFIED, httpdate::fmt_http_date(object.modified))
        .with(ACCEPT_RANGES, "bytes");
    response.headers.extend(object.headers.clone());
    response
}

fn create_upload(request: &Request, store: &mut Store) -> Result<S3Response, S3Error> {
    let Request { bucket, key, headers, .. } = request;
    if !Conditions::of(headers).is_empty() {
        return Err(S3Error::not_implemented("conditions of CreateMultipartUpload are"));
    }
    let upload_id = store.create_upload(key, kept_headers(headers))?;
    Ok(S3Response::xml(xml::write(&xml::InitiateMultipartUploadResult { bucket, key, upload_id })))
}

fn list_parts(request: &Request, store: &Store) -> Result<S3Response, S3Error> {
    let Request { bucket, key, .. } = request;
    let upload_id = upload_id(request);
    let max_parts = request.number("max-parts")?.unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let after: u32 = request.number("part-number-marker")?.unwrap_or(0);
    let item = |(number, part): (&u32, &super::store::Part)| xml::PartItem {
        part_number: *number,
        last_modified: xml::timestamp(part.modified),
        etag: quoted(&part.etag),
        size: part.body.len(),
    };
    let upload = store.upload(key, upload_id)?;
    let mut part: Vec<_> = upload.parts.range(after.saturating_add(1)..).map(item).collect();
    let is_truncated = part.len() > max_parts;
    part.truncate(max_parts);
    let next_part_number_marker = part.last().map(|p| p.part_number).filter(|_| is_truncated);
    Ok(S3Response::xml(xml::write(&xml::ListPartsResult {
        bucket,
        key,
        upload_id,
        max_parts,
        is_truncated,
        next_part_number_marker,
        part,
    })))
}

fn upload_id(request: &Request) -> &str {
    request.parameter("uploadId").unwrap_or_default()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn kept_headers(headers: &HeaderMap) -> HeaderMap {
    let kept = |name: &HeaderName| KEPT_HEADERS.contains(name) || name.as_str().starts_with("x-amz-meta-");
    let mut kept: HeaderMap =
        headers.iter().filter(|(n, _)| kept(n)).map(|(n, v)| (n.clone(), v.clone())).collect();
    kept.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    kept
}

/// The bytes that a `Range` header requests; `None` if the range cannot be satisfied.
fn byte_range(header: &str, len: usize) -> Option<Range<usize>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => len.saturating_sub(suffix.parse().ok()?)..len,
        (first, "") => first.parse().ok()?..len,
        (first, last) => first.parse().ok()?..last.parse::<usize>().ok()?.saturating_add(1).min(len),
    };
    Some(range).filter(|range| range.start < range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_byte_ranges() {
        assert_eq!(byte_range("bytes=0-3", 10), Some(0..4));
        assert_eq!(byte_range("bytes=4-", 10), Some(4..10));
        assert_eq!(byte_range("bytes=-3", 10), Some(7..10));
        assert_eq!(byte_range("bytes=-30", 10), Some(0..10));
        assert_eq!(byte_range("bytes=8-30", 10), Some(8..10));
        for unsatisfiable in
            ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=5-4", "lines=1-2", "bytes=0-1,3-4"]
        {
            assert_eq!(byte_range(unsatisfiable, 10), None, "{unsatisfiable}");
        }
    }
}
