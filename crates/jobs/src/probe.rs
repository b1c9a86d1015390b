//! Does the bucket honour conditional writes? Some servers accept the headers and ignore them: there, two
//! workers would own one job every time. Eight small requests tell.

use bytes::Bytes;

use crate::bucket::{Bucket, Condition, ETag, Written};
use crate::error::{Error, Result};
use crate::host::Host;

/// Tries every condition that the protocol rests on, on an object of its own.
///
/// # Errors
/// [`Error::NoConditions`] naming the first condition that is not honoured.
pub async fn conditional_writes(bucket: &dyn Bucket, host: &dyn Host) -> Result<()> {
    let key = format!("probe/{}", host.unique());
    let outcome = run(bucket, &key).await;
    let removed = bucket.delete(&key).await;
    outcome?;
    removed
}

async fn run(bucket: &dyn Bucket, key: &str) -> Result<()> {
    let body = |text: &str| Bytes::from(text.to_owned());
    let ignored = |detail: &str| Error::NoConditions { place: bucket.place(), detail: detail.to_owned() };
    let nowhere = ETag("\"0123456789abcdef0123456789abcdef\"".to_owned());

    // An object that is not there has no version to replace.
    if let Written::Done(_) = bucket.put(key, body("0"), Condition::Is(&nowhere)).await? {
        return Err(ignored("it replaced a version of an object that does not exist"));
    }
    let first = match bucket.put(key, body("1"), Condition::Absent).await? {
        Written::Done(etag) => etag,
        // A retried request may refuse its own echo.
        Written::Refused => match bucket.head(key).await? {
            Some((_, etag)) => etag,
            None => return Err(ignored("it refuses to create an object that does not exist")),
        },
    };
    if let Written::Done(_) = bucket.put(key, body("2"), Condition::Absent).await? {
        return Err(ignored("it created an object that exists"));
    }
    bucket.put(key, body("3"), Condition::Is(&first)).await?;
    let second = match bucket.head(key).await? {
        Some((_, etag)) if etag != first => etag,
        _ => return Err(ignored("it does not replace the version that is there")),
    };
    if let Written::Done(_) = bucket.put(key, body("4"), Condition::Is(&first)).await? {
        return Err(ignored("it replaced a version that is not there any more"));
    }
    match bucket.head(key).await? {
        Some((_, etag)) if etag == second => {}
        _ => return Err(ignored("a refused write changed the object")),
    }
    let listed = bucket.list("probe/").await?;
    if !listed.iter().any(|entry| entry.key == key && !entry.revision.is_empty()) {
        return Err(ignored("its listings do not show what was just written"));
    }
    Ok(())
}
