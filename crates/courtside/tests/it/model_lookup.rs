//! Where the model is found: flags, environment, `.env` and caches, and which of them takes precedence.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::fixture::{narrow, wide};
use crate::sandbox::{RunOutput, Sandbox};

/// Folder of the model's snapshots in the cache, relative to the home folder.
pub(crate) const SNAPSHOTS: &str = ".cache/huggingface/hub/models--facebook--sam3/snapshots";

/// Runs `model path` with environment variables.
fn model_path(sandbox: &Sandbox, variables: &[(&str, &str)]) -> RunOutput {
    assert_no_default();
    let mut command = sandbox.command(&["model", "path"]);
    RunOutput::new(command.envs(variables.iter().copied()).output().unwrap())
}

/// The default folder takes precedence over the cache and cannot be configured.
pub(crate) fn assert_no_default() {
    assert!(!Path::new("/models/sam3").exists(), "these tests require a machine without /models/sam3");
}

fn snapshot(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.home().join(SNAPSHOTS).join(name)
}

#[test]
fn a_missing_folder_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    wide().video(&sandbox, 2, "game.mkv");
    let track = |model| sandbox.run(&["track", "game.mkv", "--model", model]);
    track("nowhere").expect(3, &["the model folder nowhere does not exist", "config.json"]);
    track("file").expect(3, &["file is not a folder"]);
    sandbox.run(&["model", "check", "nowhere"]).expect(3, &["folder nowhere does not exist"]);
    let output = model_path(&sandbox, &[("CLOUD_MODEL_PATH", "/nowhere")]);
    output.expect(3, &["/nowhere (from CLOUD_MODEL_PATH) does not exist"]);
    assert_eq!(sandbox.names(), ["file", "game.mkv"]);
}

#[test]
fn the_flag_overrides_the_environment() {
    let sandbox = Sandbox::new();
    let (fixture, other) = (wide(), narrow());
    fixture.video(&sandbox, 3, "game.mkv");
    let mut command = sandbox.command(&["track", "game.mkv", "--prompt", "ball"]);
    let output = RunOutput::new(command.env("CLOUD_MODEL_PATH", fixture.model()).output().unwrap());
    output.expect(0, &[]);
    let mut command = sandbox.command(&["track", "game.mkv", "--model", &other.model(), "--prompt", "Box"]);
    let output = RunOutput::new(command.env("CLOUD_MODEL_PATH", "/nowhere").output().unwrap());
    output.expect(0, &[]);
}

#[test]
fn the_newest_complete_snapshot_in_the_cache_is_used() {
    let sandbox = Sandbox::new();
    let mut age = 0;
    let mut add = |name: &str, missing: &str| {
        let folder = snapshot(&sandbox, name);
        wide().copy(&folder);
        if !missing.is_empty() {
            std::fs::remove_file(folder.join(missing)).unwrap();
        }
        age += 3600;
        let time = SystemTime::now() - Duration::from_secs(age);
        std::fs::File::open(&folder).unwrap().set_modified(time).unwrap();
    };
    add("no-weights", "model.safetensors");
    add("no-tokenizer", "tokenizer.json");
    add("complete", "");
    add("older", "");
    let output = model_path(&sandbox, &[]).expect(0, &[]);
    assert_eq!(output.stdout, format!("{}\n", snapshot(&sandbox, "complete").display()));
    let report = sandbox.run(&["model", "check", "--json"]).expect(0, &[]).json();
    assert_eq!(report["folder"], json!(snapshot(&sandbox, "complete")));
}

#[test]
fn hugging_face_variables_set_the_cache_folder() {
    let sandbox = Sandbox::new();
    let elsewhere = sandbox.path("elsewhere");
    let folder = elsewhere.join("hub/models--facebook--sam3/snapshots/abc");
    narrow().copy(&folder);
    let want = format!("{}\n", folder.display());
    let (home, cache) = (elsewhere.display().to_string(), elsewhere.join("hub").display().to_string());
    assert_eq!(model_path(&sandbox, &[("HF_HOME", &home)]).stdout, want);
    assert_eq!(model_path(&sandbox, &[("HF_HUB_CACHE", &cache), ("HF_HOME", "/nowhere")]).stdout, want);
}

#[test]
fn the_environment_overrides_an_env_file() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    sandbox.write(".env", format!("# model\nCLOUD_MODEL_PATH={}\nSAM3_PROMPT=\"ball\"\n", fixture.model()));
    assert_eq!(model_path(&sandbox, &[]).stdout, format!("{}\n", fixture.model()));
    let output = model_path(&sandbox, &[("CLOUD_MODEL_PATH", "/nowhere")]);
    output.expect(3, &["/nowhere (from CLOUD_MODEL_PATH)"]);
    fixture.video(&sandbox, 2, "game.mkv");
    sandbox.run(&["track", "game.mkv"]).expect(0, &[]);
    assert_eq!(sandbox.json("tracks.json")["prompts"], json!(["ball"]));
    sandbox.run(&["track", "game.mkv", "--prompt", "box"]).expect(0, &[]);
    assert_eq!(sandbox.json("tracks.json")["prompts"], json!(["box"]));
}

/// Only the file in the working folder is read.
#[test]
fn an_env_file_in_a_parent_folder_is_not_read() {
    let sandbox = Sandbox::new();
    sandbox.write(".env", "CLOUD_MODEL_PATH=/nowhere\n");
    let below = sandbox.path("below");
    std::fs::create_dir(&below).unwrap();
    let model = wide().model();
    wide().copy(&snapshot(&sandbox, "complete"));
    assert_no_default();
    let output = sandbox.command(&["model", "path"]).current_dir(&below).output().unwrap();
    let output = RunOutput::new(output).expect(0, &[]);
    assert!(!output.stdout.contains(&model) && output.stdout.contains("complete"), "{}", output.stdout);
}
