//! Listings of a bucket with unusual objects or concurrent changes.

use jobs::catalog::Catalog;
use s3_fixture::{Fault, Gate, Op};

use crate::support::{Party, fake, remote, settings};

/// Web consoles represent a folder by an empty object.
#[tokio::test]
async fn folder_marker_objects_are_ignored() {
    let server = fake();
    server.put("jobs/", "");
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
    catalog.refresh().await.unwrap();
    assert_eq!((catalog.jobs().count(), catalog.unreadable().len()), (1, 0));
}

/// Such a key makes every listing fail, so the error must name it for a user to remove it.
#[tokio::test]
async fn a_key_that_the_client_cannot_represent_is_named() {
    for key in ["jobs//a.json", "jobs/./a.json", "jobs/../a.json"] {
        let server = fake();
        server.put(key, "{}");
        let bucket = remote(&settings(server.connection()));
        let error = bucket.list("jobs/").await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

/// The job is removed between the listing and the read.
#[tokio::test]
async fn a_job_removed_during_a_refresh_is_dropped() {
    let server = fake();
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
    catalog.refresh().await.unwrap();
    party.claim("worker").await;
    let gate = Gate::new();
    server.fail_next(Op::GetObject, "jobs/", Fault::Hold(gate.clone()));
    let remove = async {
        gate.arrived(1).await;
        server.remove("jobs/a.json");
        gate.open();
    };
    let (refreshed, ()) = futures::future::join(catalog.refresh(), remove).await;
    refreshed.unwrap();
    assert_eq!(catalog.jobs().count(), 0);
}
