//! What a `.env` file in the working folder can do, and what it cannot.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::fixture::wide;
use crate::hub::Hub;
use crate::model_lookup::assert_no_default;
use crate::sandbox::{RunOutput, Sandbox};

#[test]
fn a_program_named_in_the_file_is_not_run() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 2, "game.mkv");
    sandbox.write("x.sh", "#!/bin/sh\nexit 9\n");
    std::fs::set_permissions(sandbox.path("x.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.write(".env", "\nCOURTSIDE_FFMPEG=./x.sh\nCOURTSIDE_FFPROBE=./x.sh\nLD_PRELOAD=./x.so\n");
    let words = ["line 2 of .env sets COURTSIDE_FFMPEG", "line 3 of .env sets COURTSIDE_FFPROBE"];
    sandbox.run(&["track", "game.mkv", "--model", &wide().model()]).expect(0, &words);
    sandbox.run(&["videos", "add", "game.mkv"]).expect(0, &["set COURTSIDE_FFMPEG in the environment"]);
    // The environment may name it, and then it runs.
    let mut command = sandbox.command(&["track", "game.mkv", "--model", &wide().model()]);
    let output = command.env("COURTSIDE_FFMPEG", "./x.sh").output().unwrap();
    let output = RunOutput::new(output).expect(3, &["x.sh -version"]);
    assert!(!output.stderr.contains("sets COURTSIDE_FFMPEG"), "{}", output.stderr);
}

#[test]
fn an_address_named_in_the_file_receives_no_token_from_elsewhere() {
    assert_no_default();
    let hub = Hub::start(vec![("config.json".to_owned(), b"{}".to_vec())]);
    let sandbox = Sandbox::new();
    sandbox.write(".env", format!("HF_ENDPOINT={}\n", hub.address));
    // Nothing listens there: the program must not reach the real hub in a test either.
    let proxy = ("HTTPS_PROXY", "http://127.0.0.1:9");
    let mut command = sandbox.command(&["model", "path"]);
    command.env("HF_TOKEN", "hf_hush").env(proxy.0, proxy.1);
    RunOutput::new(command.output().unwrap()).expect(4, &["line 1 of .env sets HF_ENDPOINT", "HF_TOKEN"]);
    // As `hf auth login` leaves it.
    let folder = sandbox.home().join(".cache/huggingface");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("token"), "hf_hush").unwrap();
    let output = sandbox.command(&["model", "path"]).env(proxy.0, proxy.1).output().unwrap();
    RunOutput::new(output).expect(4, &["line 1 of .env sets HF_ENDPOINT"]);
    assert_eq!(hub.requests().len(), 0);
    // A token of the same file is sent there.
    sandbox.write(".env", format!("HF_ENDPOINT={}\nHF_TOKEN=hf_mine\n", hub.address));
    sandbox.run(&["model", "path"]).expect(4, &[]);
    let requests = hub.requests();
    assert!(!requests.is_empty());
    assert!(requests.iter().all(|r| r.authorization.as_deref() == Some("Bearer hf_mine")), "{requests:?}");
}

#[test]
fn a_line_that_cannot_be_parsed_is_skipped_and_does_not_show_secrets() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 2, "game.mkv");
    sandbox.write(
        ".env",
        "\u{feff}# of several programs\r\nHF_TOKEN: hf_hush\r\nPASSWORD=a$b\\c\r\n\r\nexport SAM3_PROMPT=the ball, or $5\r\n",
    );
    let output = sandbox.run(&["track", "game.mkv", "--model", &wide().model()]);
    let output = output.expect(0, &["warning: line 2 of .env is not NAME=value and is skipped"]);
    assert!(!output.stderr.contains("hf_hush") && !output.stderr.contains("line 3"), "{}", output.stderr);
    assert_eq!(sandbox.json("tracks.json")["prompts"], json!(["the ball, or $5"]));
}

#[test]
fn a_folder_of_that_name_is_no_settings_file() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path(".env")).unwrap();
    let output = sandbox.run(&["status"]).expect(0, &[]);
    assert!(!output.stderr.contains(".env"), "{}", output.stderr);
}

#[test]
fn quotes_and_blanks_that_tools_leave_are_removed() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 2, "game.mkv");
    let model = format!("'{}'", wide().model());
    let track = |prompt: &str| {
        let mut command = sandbox.command(&["track", "game.mkv"]);
        command.env("CLOUD_MODEL_PATH", &model).env("SAM3_PROMPT", prompt);
        RunOutput::new(command.output().unwrap()).expect(0, &[]);
        sandbox.json("tracks.json")["prompts"].clone()
    };
    assert_eq!(track("\"red ball\""), json!(["red ball"]));
    assert_eq!(track(" red ball\n"), json!(["red ball"]));
    assert_eq!(track("\"red\" or \"blue\""), json!(["\"red\" or \"blue\""]));
    assert_eq!(track(""), json!(["basketball player"]));
}
