//! The buckets: reachable, listable, writable, with conditional writes and readable manifests.

use jobs::bucket::BucketLocation;
use jobs::catalog::Catalog;
use jobs::manifest::{Status, Target};

use super::{Check, OnCheck, clock};
use client::Client;
use client::atomic_file::cannot;
use client::failure::{Failure, Outcome};
use client::terminal::counted;

/// Unreadable manifests that are shown one by one.
const MAX_SHOWN: usize = 10;

/// Creates the bucket of jobs where it is missing.
pub(super) async fn create(client: &Client, on_check: OnCheck<'_>) {
    let location = &client.settings.cloud;
    let is_missing = match location {
        BucketLocation::Folder(folder) => !folder.is_dir(),
        BucketLocation::S3(_) => match client.bucket(Target::Cloud) {
            Ok(bucket) => {
                let listed = bucket.list(jobs::keys::JOBS).await;
                matches!(listed, Err(jobs::Error::NoBucket { .. }))
            }
            Err(_) => false,
        },
    };
    if is_missing {
        on_check(match location.create().await {
            Ok(()) => Check::ok("bucket", "created"),
            Err(error) => Check::fail("bucket", &Failure::from(error)),
        });
    }
}

pub(super) async fn check(client: &Client, on_check: OnCheck<'_>) {
    if let BucketLocation::S3(s3) = &client.settings.cloud {
        let opened = check_bucket(client, Target::Cloud, "bucket", on_check).await;
        if opened {
            clock::check(&s3.endpoint, on_check).await;
        }
    }
    let BucketLocation::Folder(folder) = &client.settings.local else { return };
    let name = if client.settings.cloud.is_remote() { "local bucket" } else { "bucket" };
    if folder.is_dir() {
        check_bucket(client, Target::Local, name, on_check).await;
        return;
    }
    let parent = super::disk::nearest_existing(folder);
    on_check(match tempfile::tempfile_in(&parent) {
        Ok(_) => {
            let message = format!("folder {} does not exist yet; the first job creates it", folder.display());
            Check::ok(name, message)
        }
        Err(error) => Check::fail(name, &cannot("write in", &parent, error).hint("make the folder writable")),
    });
}

/// Checks one bucket. Returns whether it could be opened, which does not mean that its server is reachable.
async fn check_bucket(client: &Client, target: Target, name: &'static str, on_check: OnCheck<'_>) -> bool {
    let bucket = match client.bucket(target) {
        Ok(bucket) => bucket,
        Err(failure) => {
            on_check(Check::fail(name, &failure));
            return false;
        }
    };
    let mut catalog = Catalog::new(bucket.clone(), client.env.clone());
    match catalog.refresh().await {
        Ok(()) => on_check(Check::ok(name, format!("{}: {}", bucket.location(), count_jobs(&catalog)))),
        // The remaining checks would fail for the same reason.
        Err(error) => {
            on_check(Check::fail(name, &Failure::from(error)));
            return true;
        }
    }
    let probed: Outcome<()> =
        jobs::probe::conditional_writes(&*bucket, &*client.env).await.map_err(Failure::from);
    on_check(match probed {
        Ok(()) => Check::ok(name, "writable; conditional writes work"),
        Err(failure) => Check::fail(name, &failure),
    });
    report_unreadable(&catalog, name, on_check);
    true
}

fn count_jobs(catalog: &Catalog) -> String {
    let count = |status| catalog.jobs().filter(|seen| seen.manifest.status == status).count();
    format!(
        "readable; {}, {} pending, {} processing, {} ready to import",
        counted(catalog.jobs().count(), "job"),
        count(Status::Pending),
        count(Status::Processing),
        count(Status::Completed)
    )
}

fn report_unreadable(catalog: &Catalog, name: &'static str, on_check: OnCheck<'_>) {
    let unreadable = catalog.unreadable();
    for manifest in unreadable.iter().take(MAX_SHOWN) {
        let message =
            format!("{} is skipped, because it is not a valid manifest: {}", manifest.key, manifest.detail);
        on_check(Check::warn(name, message, "delete it, or correct it with the program that wrote it"));
    }
    if let Some(more) = unreadable.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        let message = format!("{more} more manifests are not valid");
        on_check(Check::warn(name, message, "run `courtside status` to list all of them"));
    }
}
