//! Checks that a bucket honours conditional writes. Some servers accept the headers but ignore them; on such
//! a server two workers could own the same job. The check takes about ten small requests.

use bytes::Bytes;

use crate::bucket::{Bucket, Condition, ETag, PutOutcome};
use crate::env::Env;
use crate::error::{Error, Result};

/// Tries every condition that the protocol relies on, on a temporary object below `probe/`.
///
/// # Errors
/// [`Error::ConditionsIgnored`], naming the first condition that is not honoured.
pub async fn conditional_writes(bucket: &dyn Bucket, env: &dyn Env) -> Result<()> {
    let key = format!("probe/{}", env.unique_id());
    let outcome = run(bucket, &key).await;
    let removed = bucket.delete(&key).await;
    outcome?;
    removed
}

async fn run(bucket: &dyn Bucket, key: &str) -> Result<()> {
    let body = |text: &str| Bytes::from(text.to_owned());
    let ignored =
        |detail: &str| Error::ConditionsIgnored { location: bucket.location(), detail: detail.to_owned() };
    let unknown = ETag("\"0123456789abcdef0123456789abcdef\"".to_owned());

    // The object does not exist yet, so there is no version to replace.
    if let PutOutcome::Written(_) = bucket.put(key, body("0"), Condition::Is(&unknown)).await? {
        return Err(ignored("it replaced a version of an object that does not exist"));
    }
    let first = match bucket.put(key, body("1"), Condition::Absent).await? {
        PutOutcome::Written(etag) => etag,
        // The client may have retried the request after it took effect.
        PutOutcome::ConditionFailed => match bucket.head(key).await? {
            Some((_, etag)) => etag,
            None => return Err(ignored("it refuses to create an object that does not exist")),
        },
    };
    if let PutOutcome::Written(_) = bucket.put(key, body("2"), Condition::Absent).await? {
        return Err(ignored("it created an object that already exists"));
    }
    bucket.put(key, body("3"), Condition::Is(&first)).await?;
    let second = match bucket.head(key).await? {
        Some((_, etag)) if etag != first => etag,
        _ => return Err(ignored("it does not replace the current version")),
    };
    if let PutOutcome::Written(_) = bucket.put(key, body("4"), Condition::Is(&first)).await? {
        return Err(ignored("it replaced a version that no longer exists"));
    }
    match bucket.head(key).await? {
        Some((_, etag)) if etag == second => {}
        _ => return Err(ignored("a refused write changed the object")),
    }
    let listed = bucket.list("probe/").await?;
    if !listed.iter().any(|entry| entry.key == key && !entry.revision.is_empty()) {
        return Err(ignored("its listings do not show an object that was just written"));
    }
    Ok(())
}
