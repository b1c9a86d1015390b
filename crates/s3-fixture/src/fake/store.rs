//! The content of the fake's bucket: objects and open uploads. Every method is one atomic step under the
//! caller's lock. The only part of HTTP that this module knows are the headers stored with an object.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use md5::{Digest, Md5};

use super::conditions::{ConditionalWrites, Conditions};
use super::error::S3Error;

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 1024;

/// An object in the fake's bucket.
#[derive(Clone, Debug)]
pub struct Object {
    /// Content of the object.
    pub body: Bytes,
    /// The entity tag without quotes: the MD5 in hexadecimal or, for a multipart upload, the MD5 of the
    /// parts' MD5s, `-`, and the number of parts.
    pub etag: String,
    /// The stored headers: `content-type` and similar ones, and `x-amz-meta-*`.
    pub headers: HeaderMap,
    /// When the object was written.
    pub modified: SystemTime,
}

/// An upload that is neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) parts: BTreeMap<u32, Part>,
    headers: HeaderMap,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) body: Bytes,
    pub(super) etag: String,
    pub(super) modified: SystemTime,
    md5: [u8; 16],
}

/// A body and its MD5, which is computed outside the lock.
#[derive(Clone, Debug)]
pub(super) struct Hashed {
    pub(super) body: Bytes,
    pub(super) md5: [u8; 16],
}

impl Hashed {
    pub(super) fn of(body: Bytes) -> Hashed {
        let md5 = Md5::digest(&body).into();
        Hashed { body, md5 }
    }
}

/// The rules that are currently in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) conditional_writes: ConditionalWrites,
    /// Minimum size of a part that is not the last.
    pub(super) min_part_bytes: u64,
    /// Minimum time between two writes of one key; zero for no limit.
    pub(super) min_write_interval: Duration,
}

/// The objects and open uploads of the bucket.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    n_uploads_ever: u64,
    written: HashMap<String, Instant>,
}

impl Store {
    /// Writes an object and returns its entity tag.
    pub(super) fn put(
        &mut self,
        key: &str,
        content: Hashed,
        headers: HeaderMap,
        conditions: &Conditions,
        rules: Rules,
    ) -> Result<String, S3Error> {
        self.check_write(key, conditions, rules)?;
        let etag = hex(&content.md5);
        self.insert(key, content.body, etag.clone(), headers);
        Ok(etag)
    }

    /// Starts a multipart upload and returns its id.
    pub(super) fn create_upload(&mut self, key: &str, headers: HeaderMap) -> Result<String, S3Error> {
        check_key(key)?;
        self.n_uploads_ever += 1;
        let id = format!("upload-{:08x}", self.n_uploads_ever);
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), parts: BTreeMap::new(), headers });
        Ok(id)
    }

    /// Stores a part, replacing an earlier one with the same number, and returns its entity tag.
    pub(super) fn put_part(
        &mut self,
        key: &str,
        id: &str,
        number: u32,
        content: Hashed,
    ) -> Result<String, S3Error> {
        let upload = self.uploads.get_mut(id).filter(|u| u.key == key).ok_or_else(S3Error::no_such_upload)?;
        let etag = hex(&content.md5);
        let part =
            Part { body: content.body, etag: etag.clone(), modified: SystemTime::now(), md5: content.md5 };
        upload.parts.insert(number, part);
        Ok(etag)
    }

    /// Finds an open upload by its id.
    pub(super) fn upload(&self, key: &str, id: &str) -> Result<&Upload, S3Error> {
        self.uploads.get(id).filter(|u| u.key == key).ok_or_else(S3Error::no_such_upload)
    }

    /// Ids and keys of all open uploads.
    pub(super) fn uploads(&self) -> Vec<(String, String)> {
        self.uploads.iter().map(|(id, upload)| (id.clone(), upload.key.clone())).collect()
    }

    /// Combines the parts with these numbers and entity tags into an object and returns its entity tag.
    pub(super) fn complete(
        &mut self,
        key: &str,
        id: &str,
        named: &[(u32, String)],
        conditions: &Conditions,
        rules: Rules,
    ) -> Result<String, S3Error> {
        let parts = chosen_parts(self.upload(key, id)?, named)?;
        check_part_sizes(&parts, rules.min_part_bytes)?;
        self.check_write(key, conditions, rules)?;
        let mut md5 = Md5::new();
        let mut body = BytesMut::with_capacity(parts.iter().map(|p| p.body.len()).sum());
        for part in &parts {
            md5.update(part.md5);
            body.extend_from_slice(&part.body);
        }
        let etag = format!("{}-{}", hex(&md5.finalize()), parts.len());
        if let Some(upload) = self.uploads.remove(id) {
            self.insert(key, body.freeze(), etag.clone(), upload.headers);
        }
        Ok(etag)
    }

    /// Discards an upload and its parts.
    pub(super) fn abort(&mut self, key: &str, id: &str) -> Result<(), S3Error> {
        self.upload(key, id)?;
        self.uploads.remove(id);
        Ok(())
    }

    fn check_write(&self, key: &str, conditions: &Conditions, rules: Rules) -> Result<(), S3Error> {
        check_key(key)?;
        if self.written.get(key).is_some_and(|at| at.elapsed() < rules.min_write_interval) {
            return Err(S3Error::too_many_requests());
        }
        let etag = self.objects.get(key).map(|o| o.etag.as_str());
        if conditions.allow_write(etag, rules.conditional_writes) {
            Ok(())
        } else {
            Err(S3Error::precondition_failed())
        }
    }

    fn insert(&mut self, key: &str, body: Bytes, etag: String, headers: HeaderMap) {
        self.written.insert(key.to_owned(), Instant::now());
        self.objects.insert(key.to_owned(), Object { body, etag, headers, modified: SystemTime::now() });
    }
}

fn check_key(key: &str) -> Result<(), S3Error> {
    if key.len() > MAX_KEY_BYTES {
        return Err(S3Error::bad_request("KeyTooLongError", "Your key is too long."));
    }
    Ok(())
}

fn chosen_parts(upload: &Upload, named: &[(u32, String)]) -> Result<Vec<Part>, S3Error> {
    if named.is_empty() {
        return Err(S3Error::bad_request("MalformedXML", "You must specify at least one part."));
    }
    if !named.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(S3Error::bad_request(
            "InvalidPartOrder",
            "The list of parts was not in ascending order.",
        ));
    }
    let part = |(number, etag): &(u32, String)| {
        let found = upload.parts.get(number).filter(|part| part.etag == etag.trim_matches('"'));
        found.cloned().ok_or_else(|| S3Error::invalid_part(format!("Part {number} could not be found.")))
    };
    named.iter().map(part).collect()
}

/// Checks R2's two rules for part sizes: <https://developers.cloudflare.com/r2/objects/multipart-objects/>.
fn check_part_sizes(parts: &[Part], min_part_bytes: u64) -> Result<(), S3Error> {
    let Some((_, others)) = parts.split_last() else { return Ok(()) };
    if others.iter().any(|part| (part.body.len() as u64) < min_part_bytes) {
        let message = "Your proposed upload is smaller than the minimum allowed object size.";
        return Err(S3Error::bad_request("EntityTooSmall", message));
    }
    if others.windows(2).any(|pair| pair[0].body.len() != pair[1].body.len()) {
        return Err(S3Error::invalid_part("All non-trailing parts must have the same length."));
    }
    Ok(())
}

/// Formats bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
