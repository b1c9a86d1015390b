//! The download of the model, from an imitation of the Hugging Face Hub.

use std::collections::VecDeque;
use std::net::TcpListener;

use crate::fixture::{Fixture, narrow, wide};
use crate::hub::Hub;
use crate::model_lookup::{SNAPSHOTS, assert_no_default};
use crate::sandbox::{RunOutput, Sandbox};

const TOKEN: &str = "hf_TestToken";
const WEIGHTS: &str = "model.safetensors";

/// Runs `model path` with this hub and the token, which must not appear in any output.
fn download(sandbox: &Sandbox, address: &str) -> RunOutput {
    assert_no_default();
    let mut command = sandbox.command(&["model", "path"]);
    command.env("HF_ENDPOINT", address).env("HF_TOKEN", TOKEN).env("COURTSIDE_LOG", "trace");
    let output = RunOutput::new(command.output().unwrap());
    assert!(
        !output.stdout.contains(TOKEN) && !output.stderr.contains(TOKEN),
        "{}{}",
        output.stdout,
        output.stderr
    );
    output
}

/// Checks that a revision in the cache is the model, byte for byte.
fn check_snapshot(sandbox: &Sandbox, commit: &str, fixture: &Fixture) {
    let folder = sandbox.home().join(SNAPSHOTS).join(commit);
    for (name, bytes) in fixture.files() {
        assert!(std::fs::read(folder.join(&name)).unwrap() == bytes, "{name} differs");
    }
}

#[test]
fn the_model_is_downloaded_once() {
    for fixture in [wide(), narrow()] {
        let (sandbox, hub) = (Sandbox::new(), Hub::start(fixture.files()));
        let output = download(&sandbox, &hub.address).expect(0, &["downloading facebook/sam3 to"]);
        let folder = sandbox.home().join(SNAPSHOTS).join("0123abc");
        assert_eq!(output.stdout, format!("{}\n", folder.display()));
        check_snapshot(&sandbox, "0123abc", &fixture);
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
        // The second run finds it in the cache.
        download(&sandbox, &hub.address).expect(0, &[]);
        assert_eq!(hub.requests().len(), 0);
        sandbox.run(&["model", "check"]).expect(0, &[]);
        assert!(sandbox.names().is_empty());
    }
}

#[test]
fn the_token_may_be_in_a_file() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(wide().files()));
    std::fs::create_dir_all(sandbox.home().join("hf")).unwrap();
    std::fs::write(sandbox.home().join("hf/token"), "hf_of_the_file\n").unwrap();
    let mut command = sandbox.command(&["model", "path"]);
    command.env("HF_ENDPOINT", &hub.address).env("HF_HOME", sandbox.home().join("hf"));
    RunOutput::new(command.output().unwrap()).expect(0, &[]);
    assert!(hub.requests().iter().all(|r| r.authorization.as_deref() == Some("Bearer hf_of_the_file")));
}

#[test]
fn denied_access_is_reported_with_a_hint() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(wide().files()));
    wide().video(&sandbox, 2, "game.mkv");
    for (status, problem) in [(401, "does not accept the token"), (403, "was not granted access")] {
        hub.state().refuse = Some(status);
        let words = [problem, "https://huggingface.co/facebook/sam3", "HF_TOKEN"];
        download(&sandbox, &hub.address).expect(3, &words);
    }
    assert_no_default();
    let mut command = sandbox.command(&["track", "game.mkv"]);
    let output = RunOutput::new(command.env("HF_ENDPOINT", &hub.address).output().unwrap());
    output.expect(3, &["it is gated", "https://huggingface.co/facebook/sam3", "HF_TOKEN", "--model"]);
    assert_eq!(sandbox.names(), ["game.mkv"]);
}

#[test]
fn an_unavailable_server_is_reported() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(wide().files()));
    hub.state().refuse = Some(503);
    download(&sandbox, &hub.address).expect(4, &["cannot download config.json of facebook/sam3", "503"]);
    // The port of a closed listener: connections are refused.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    download(&sandbox, &format!("http://{address}")).expect(4, &["facebook/sam3", "--model"]);
}

#[test]
fn a_broken_connection_is_resumed() {
    let fixture = wide();
    let (sandbox, hub) = (Sandbox::new(), Hub::start(fixture.files()));
    hub.state().cuts = VecDeque::from([(WEIGHTS.to_owned(), 1_000_000), (WEIGHTS.to_owned(), 2_000_000)]);
    download(&sandbox, &hub.address).expect(0, &[]);
    let of_weights = |r: &crate::hub::Request| r.path.ends_with(WEIGHTS) && r.method == "GET";
    let starts: Vec<usize> = hub.requests().iter().filter(|r| of_weights(r)).map(|r| r.range.0).collect();
    assert_eq!(starts, [0, 1_000_000, 3_000_000]);
    check_snapshot(&sandbox, "0123abc", &fixture);
}

/// The bytes of a failed download are kept, even if the next connection breaks immediately.
#[test]
fn the_next_run_resumes_a_failed_download() {
    let fixture = wide();
    let (sandbox, hub) = (Sandbox::new(), Hub::start(fixture.files()));
    hub.state().cuts = (0..6).map(|_| (WEIGHTS.to_owned(), 500_000)).collect();
    let words = ["cannot download model.safetensors", "run the command again to resume"];
    download(&sandbox, &hub.address).expect(4, &words);
    hub.requests();
    hub.state().cuts = VecDeque::from([(WEIGHTS.to_owned(), 0)]);
    download(&sandbox, &hub.address).expect(0, &[]);
    let starts: Vec<(String, usize)> = hub
        .requests()
        .into_iter()
        .filter(|r| r.method == "GET")
        .map(|r| (r.path.rsplit('/').next().unwrap().to_owned(), r.range.0))
        .collect();
    assert_eq!(starts, [(WEIGHTS.to_owned(), 3_000_000), (WEIGHTS.to_owned(), 3_000_000)]);
    check_snapshot(&sandbox, "0123abc", &fixture);
}

/// An earlier download has left files of an older revision.
#[test]
fn revisions_are_never_mixed() {
    let fixture = wide();
    let (sandbox, hub) = (Sandbox::new(), Hub::start(fixture.files()));
    let files = std::mem::take(&mut hub.state().files);
    hub.state().files = files.iter().filter(|(name, _)| name == "config.json").cloned().collect();
    download(&sandbox, &hub.address).expect(4, &["cannot download tokenizer.json"]);
    hub.state().files = files;
    hub.state().commit = "4567def".to_owned();
    let output = download(&sandbox, &hub.address).expect(0, &[]);
    assert!(output.stdout.ends_with("4567def\n"), "{}", output.stdout);
    check_snapshot(&sandbox, "4567def", &fixture);
}

/// Large files come from a server that must not see the token. Their ETag is their SHA-256.
#[test]
fn the_content_server_does_not_get_the_token() {
    let fixture = wide();
    let (sandbox, hub) = (Sandbox::new(), Hub::start(fixture.files()));
    let mut corrupt = fixture.files();
    corrupt.iter_mut().find(|(name, _)| name == WEIGHTS).unwrap().1[1_000_000] ^= 1;
    let content = Hub::start(corrupt);
    hub.state().content = Some(content.address.clone());
    let words = ["cannot download model.safetensors", "SHA-256"];
    download(&sandbox, &hub.address).expect(4, &words);
    let requests = content.requests();
    assert!(!requests.is_empty() && requests.iter().all(|r| r.authorization.is_none()), "{requests:?}");

    content.state().files = fixture.files();
    content.state().cuts = VecDeque::from([(WEIGHTS.to_owned(), 1_000_000)]);
    download(&sandbox, &hub.address).expect(0, &[]);
    let starts: Vec<usize> = content.requests().iter().map(|r| r.range.0).collect();
    assert_eq!(starts, [0, 1_000_000]);
    check_snapshot(&sandbox, "0123abc", &fixture);
}

/// The layout of Python's huggingface_hub, so that both programs share the files.
#[test]
fn the_cache_is_laid_out_for_python() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(wide().files()));
    download(&sandbox, &hub.address).expect(0, &[]);
    let repo = sandbox.home().join(SNAPSHOTS).join("..");
    assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), "0123abc");
    let link = std::fs::read_link(repo.join("snapshots/0123abc").join(WEIGHTS)).unwrap();
    assert_eq!(link, std::path::Path::new("../../blobs/0123abc-model-safetensors"));
    assert!(
        !std::fs::read_dir(repo.join("blobs"))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with(".incomplete") })
    );
}
