//! The download of the checkpoint from the hub, here one of our own.

use std::collections::VecDeque;
use std::net::TcpListener;

use crate::fixture::{Fixture, narrow, wide};
use crate::hub::Hub;
use crate::places::{SNAPSHOTS, assert_no_default};
use crate::program::{Place, Ran};

const TOKEN: &str = "hf_NotForAnyEyes";
const WEIGHTS: &str = "model.safetensors";

/// `model path` with this hub and the token, which must not show.
fn download(place: &Place, address: &str) -> Ran {
    assert_no_default();
    let mut command = place.command(&["model", "path"]);
    command.env("HF_ENDPOINT", address).env("HF_TOKEN", TOKEN).env("COURTSIDE_LOG", "trace");
    let ran = Ran::of(command.output().unwrap());
    assert!(!ran.stdout.contains(TOKEN) && !ran.stderr.contains(TOKEN), "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Checks that a revision in the cache is the checkpoint, byte for byte.
fn check_snapshot(place: &Place, commit: &str, fixture: &Fixture) {
    let folder = place.home().join(SNAPSHOTS).join(commit);
    for (name, bytes) in fixture.files() {
        assert!(std::fs::read(folder.join(&name)).unwrap() == bytes, "{name} differs");
    }
}

#[test]
fn a_checkpoint_is_downloaded_once() {
    for fixture in [wide(), narrow()] {
        let (place, hub) = (Place::new(), Hub::start(fixture.files()));
        let ran = download(&place, &hub.address).expect(0, &["downloading facebook/sam3 to"]);
        let folder = place.home().join(SNAPSHOTS).join("0123abc");
        assert_eq!(ran.stdout, format!("{}\n", folder.display()));
        check_snapshot(&place, "0123abc", &fixture);
        let requests = hub.requests();
        assert!(!requests.is_empty());
        for request in requests {
            assert_eq!(
                request.authorization.as_deref(),
                Some(&*format!("Bearer {TOKEN}")),
                "{}",
                request.path
            );
        }
        // The second time it is there.
        download(&place, &hub.address).expect(0, &[]);
        assert_eq!(hub.requests().len(), 0);
        place.run(&["model", "check"]).expect(0, &[]);
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_token_file_is_enough() {
    let (place, hub) = (Place::new(), Hub::start(wide().files()));
    std::fs::create_dir_all(place.home().join("hf")).unwrap();
    std::fs::write(place.home().join("hf/token"), "hf_of_the_file\n").unwrap();
    let mut command = place.command(&["model", "path"]);
    command.env("HF_ENDPOINT", &hub.address).env("HF_HOME", place.home().join("hf"));
    Ran::of(command.output().unwrap()).expect(0, &[]);
    assert!(hub.requests().iter().all(|r| r.authorization.as_deref() == Some("Bearer hf_of_the_file")));
}

#[test]
fn access_is_refused() {
    let (place, hub) = (Place::new(), Hub::start(wide().files()));
    wide().video(&place, 2, "game.mkv");
    for status in [401, 403] {
        hub.state().refuse = Some(status);
        download(&place, &hub.address).expect(4, &["https://huggingface.co/facebook/sam3", "HF_TOKEN"]);
    }
    assert_no_default();
    let mut command = place.command(&["track", "game.mkv"]);
    let ran = Ran::of(command.env("HF_ENDPOINT", &hub.address).output().unwrap());
    ran.expect(4, &["it is gated", "https://huggingface.co/facebook/sam3", "HF_TOKEN", "--model"]);
    assert_eq!(place.names(), ["game.mkv"]);
}

#[test]
fn the_server_is_down_or_broken() {
    let (place, hub) = (Place::new(), Hub::start(wide().files()));
    hub.state().refuse = Some(503);
    download(&place, &hub.address).expect(4, &["cannot download config.json of facebook/sam3", "503"]);
    // A port that was free a moment ago: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    download(&place, &format!("http://{address}")).expect(4, &["facebook/sam3", "--model"]);
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let fixture = wide();
    let (place, hub) = (Place::new(), Hub::start(fixture.files()));
    hub.state().cuts = VecDeque::from([(WEIGHTS.to_owned(), 1_000_000), (WEIGHTS.to_owned(), 2_000_000)]);
    download(&place, &hub.address).expect(0, &[]);
    let of_weights = |r: &crate::hub::Request| r.path.ends_with(WEIGHTS) && r.range.1.is_none();
    let starts: Vec<usize> = hub.requests().iter().filter(|r| of_weights(r)).map(|r| r.range.0).collect();
    assert_eq!(starts, [0, 1_000_000, 3_000_000]);
    check_snapshot(&place, "0123abc", &fixture);
}

/// What arrived stays, and a connection that breaks at once does not spoil it.
#[test]
fn the_next_run_goes_on_with_a_download_that_failed() {
    let fixture = wide();
    let (place, hub) = (Place::new(), Hub::start(fixture.files()));
    hub.state().cuts = (0..6).map(|_| (WEIGHTS.to_owned(), 500_000)).collect();
    let words = ["cannot download model.safetensors", "run the command again to go on"];
    download(&place, &hub.address).expect(4, &words);
    hub.requests();
    hub.state().cuts = VecDeque::from([(WEIGHTS.to_owned(), 0)]);
    download(&place, &hub.address).expect(0, &[]);
    let starts: Vec<(String, usize)> = hub
        .requests()
        .into_iter()
        .filter(|r| r.range.1.is_none())
        .map(|r| (r.path.rsplit('/').next().unwrap().to_owned(), r.range.0))
        .collect();
    assert_eq!(starts, [(WEIGHTS.to_owned(), 3_000_000), (WEIGHTS.to_owned(), 3_000_000)]);
    check_snapshot(&place, "0123abc", &fixture);
}

/// An earlier download left a part of an older revision.
#[test]
fn a_revision_is_never_mixed_with_another() {
    let fixture = wide();
    let (place, hub) = (Place::new(), Hub::start(fixture.files()));
    let files = std::mem::take(&mut hub.state().files);
    hub.state().files = files.iter().filter(|(name, _)| name == "config.json").cloned().collect();
    download(&place, &hub.address).expect(4, &["cannot download tokenizer.json"]);
    hub.state().files = files;
    hub.state().commit = "4567def".to_owned();
    let ran = download(&place, &hub.address).expect(0, &[]);
    assert!(ran.stdout.ends_with("4567def\n"), "{}", ran.stdout);
    check_snapshot(&place, "4567def", &fixture);
}
