//! The buckets: whether they answer, let us list and write, keep conditions, and hold only what can be read.

use jobs::bucket::BucketLocation;
use jobs::catalog::Catalog;
use jobs::manifest::{Status, Target};

use super::{Check, OnCheck, clock};
use client::Client;
use client::atomic_file::cannot;
use client::failure::{Failure, Outcome};

/// Registers named at most.
const MAX_NAMED: usize = 10;

pub(super) async fn check(client: &Client, each: OnCheck<'_>) {
    if let BucketLocation::S3(s3) = &client.settings.cloud {
        let opened = bucket(client, Target::Cloud, "bucket", each).await;
        if opened {
            clock::check(&s3.endpoint, each).await;
        }
    }
    let BucketLocation::Folder(folder) = &client.settings.local else { return };
    let name = if client.settings.cloud.is_remote() { "local jobs" } else { "bucket" };
    if folder.is_dir() {
        bucket(client, Target::Local, name, each).await;
        return;
    }
    let parent = super::disk::nearest(folder);
    each(match tempfile::tempfile_in(&parent) {
        Ok(_) => Check::ok(name, format!("{} is not there yet and will be made", folder.display())),
        Err(error) => Check::fail(name, &cannot("write in", &parent, error).hint("make the folder writable")),
    });
}

/// Whether the bucket could be opened, which is not to say that it answers.
async fn bucket(client: &Client, target: Target, name: &'static str, each: OnCheck<'_>) -> bool {
    let bucket = match client.bucket(target) {
        Ok(bucket) => bucket,
        Err(failure) => {
            each(Check::fail(name, &failure));
            return false;
        }
    };
    let mut catalog = Catalog::new(bucket.clone(), client.env.clone());
    match catalog.refresh().await {
        Ok(()) => each(Check::ok(name, format!("{}: {}", bucket.location(), jobs_in(&catalog)))),
        // What cannot be listed is not asked for more.
        Err(error) => {
            each(Check::fail(name, &Failure::from(error)));
            return true;
        }
    }
    let kept: Outcome<()> =
        jobs::probe::conditional_writes(&*bucket, &*client.env).await.map_err(Failure::from);
    each(match kept {
        Ok(()) => Check::ok(name, "writing is allowed, and conditions of writes are kept"),
        Err(failure) => Check::fail(name, &failure),
    });
    unreadable(&catalog, name, each);
    true
}

fn jobs_in(catalog: &Catalog) -> String {
    let count = |status| catalog.jobs().filter(|seen| seen.manifest.status == status).count();
    format!(
        "it answers and can be listed; {} jobs, {} waiting, {} under way, {} ready to import",
        catalog.jobs().count(),
        count(Status::Pending),
        count(Status::Processing),
        count(Status::Completed)
    )
}

fn unreadable(catalog: &Catalog, name: &'static str, each: OnCheck<'_>) {
    let unreadable = catalog.unreadable();
    for register in unreadable.iter().take(MAX_NAMED) {
        let message =
            format!("{} cannot be understood and is passed over: {}", register.key, register.detail);
        each(Check::warn(name, message, "remove it, or ask whoever wrote it"));
    }
    if let Some(more) = unreadable.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        each(Check::warn(name, format!("{more} more such registers"), "`courtside status` names them all"));
    }
}
