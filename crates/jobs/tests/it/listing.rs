//! What a look at the bucket may meet where others are at work too.

use jobs::catalog::Catalog;
use s3_fixture::{Fault, Gate, Op};

use crate::support::{Party, fake, remote, settings};

/// Consoles make an empty object to show a folder.
#[tokio::test]
async fn the_mark_of_a_folder_is_no_register_and_harms_nobody() {
    let server = fake();
    server.put("jobs/", "");
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.host.clone());
    catalog.refresh().await.unwrap();
    assert_eq!((catalog.jobs().count(), catalog.unreadable().len()), (1, 0));
}

/// No listing comes past it, so its name must be told: somebody has to remove it.
#[tokio::test]
async fn a_key_that_is_none_to_the_client_is_named() {
    for key in ["jobs//a.json", "jobs/./a.json", "jobs/../a.json"] {
        let server = fake();
        server.put(key, "{}");
        let bucket = remote(&settings(server.connection()));
        let error = bucket.list("jobs/").await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

/// It was removed after the listing: there is nothing to claim, nor to fail at.
#[tokio::test]
async fn a_job_that_is_removed_while_it_is_read_is_none() {
    let server = fake();
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.host.clone());
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
