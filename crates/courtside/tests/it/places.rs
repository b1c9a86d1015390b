//! Where the checkpoint comes from when several places have one, and what `.env` says about it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::fixture::{narrow, wide};
use crate::program::{Place, Ran};

/// Snapshots of the checkpoint in a home folder's cache.
pub(crate) const SNAPSHOTS: &str = ".cache/huggingface/hub/models--facebook--sam3/snapshots";

/// `model path` with variables set.
fn path_with(place: &Place, variables: &[(&str, &str)]) -> Ran {
    assert_no_default();
    let mut command = place.command(&["model", "path"]);
    Ran::of(command.envs(variables.iter().copied()).output().unwrap())
}

/// The folder that images use comes before the cache and cannot be set.
pub(crate) fn assert_no_default() {
    assert!(!Path::new("/models/sam3").exists(), "these tests want a machine without /models/sam3");
}

fn snapshot(place: &Place, name: &str) -> PathBuf {
    place.home().join(SNAPSHOTS).join(name)
}

#[test]
fn a_folder_that_is_not_there() {
    let place = Place::new();
    place.write("file", "");
    wide().video(&place, 2, "game.mkv");
    let track = |model| place.run(&["track", "game.mkv", "--model", model]);
    track("nowhere").expect(3, &["the checkpoint folder nowhere does not exist", "config.json"]);
    track("file").expect(3, &["file is not a folder"]);
    place.run(&["model", "check", "nowhere"]).expect(3, &["folder nowhere does not exist"]);
    let ran = path_with(&place, &[("CLOUD_MODEL_PATH", "/nowhere")]);
    ran.expect(3, &["/nowhere (from CLOUD_MODEL_PATH) does not exist"]);
    assert_eq!(place.names(), ["file", "game.mkv"]);
}

#[test]
fn the_environment_names_a_folder() {
    let place = Place::new();
    let (fixture, other) = (wide(), narrow());
    fixture.video(&place, 3, "game.mkv");
    let mut command = place.command(&["track", "game.mkv", "--prompt", "ball"]);
    let ran = Ran::of(command.env("CLOUD_MODEL_PATH", fixture.model()).output().unwrap());
    ran.expect(0, &[]);
    // The flag wins.
    let mut command = place.command(&["track", "game.mkv", "--model", &other.model(), "--prompt", "Box"]);
    let ran = Ran::of(command.env("CLOUD_MODEL_PATH", "/nowhere").output().unwrap());
    ran.expect(0, &[]);
}

#[test]
fn the_newest_complete_snapshot_of_the_cache() {
    let place = Place::new();
    let mut age = 0;
    let mut add = |name: &str, missing: &str| {
        let folder = snapshot(&place, name);
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
    add("whole", "");
    add("older", "");
    let ran = path_with(&place, &[]).expect(0, &[]);
    assert_eq!(ran.stdout, format!("{}\n", snapshot(&place, "whole").display()));
    let report = place.run(&["model", "check", "--json"]).expect(0, &[]).json();
    assert_eq!(report["folder"], json!(snapshot(&place, "whole")));
}

#[test]
fn variables_of_the_hub_name_its_cache() {
    let place = Place::new();
    let elsewhere = place.path("elsewhere");
    let folder = elsewhere.join("hub/models--facebook--sam3/snapshots/abc");
    narrow().copy(&folder);
    let want = format!("{}\n", folder.display());
    let (home, cache) = (elsewhere.display().to_string(), elsewhere.join("hub").display().to_string());
    assert_eq!(path_with(&place, &[("HF_HOME", &home)]).stdout, want);
    assert_eq!(path_with(&place, &[("HF_HUB_CACHE", &cache), ("HF_HOME", "/nowhere")]).stdout, want);
}

#[test]
fn an_env_file_is_read_and_the_environment_wins() {
    let place = Place::new();
    let fixture = wide();
    place.write(
        ".env",
        format!("# where it is\nCLOUD_MODEL_PATH={}\nSAM3_PROMPT=\"ball\"\n", fixture.model()),
    );
    assert_eq!(path_with(&place, &[]).stdout, format!("{}\n", fixture.model()));
    let ran = path_with(&place, &[("CLOUD_MODEL_PATH", "/nowhere")]);
    ran.expect(3, &["/nowhere (from CLOUD_MODEL_PATH)"]);
    fixture.video(&place, 2, "game.mkv");
    place.run(&["track", "game.mkv"]).expect(0, &[]);
    assert_eq!(place.json("tracks.json")["prompts"], json!(["ball"]));
    place.run(&["track", "game.mkv", "--prompt", "box"]).expect(0, &[]);
    assert_eq!(place.json("tracks.json")["prompts"], json!(["box"]));
}

/// The file of the working folder is meant, not one of a folder further up.
#[test]
fn an_env_file_further_up_is_not_read() {
    let place = Place::new();
    place.write(".env", "CLOUD_MODEL_PATH=/nowhere\n");
    let below = place.path("below");
    std::fs::create_dir(&below).unwrap();
    let model = wide().model();
    wide().copy(&snapshot(&place, "whole"));
    assert_no_default();
    let output = place.command(&["model", "path"]).current_dir(&below).output().unwrap();
    let ran = Ran::of(output).expect(0, &[]);
    assert!(!ran.stdout.contains(&model) && ran.stdout.contains("whole"), "{}", ran.stdout);
}

#[test]
fn a_broken_env_file_does_not_show_its_secrets() {
    let place = Place::new();
    place.write(".env", "HF_TOKEN=hf_secret with spaces\n");
    let ran = place.run(&["model", "path"]).expect(3, &[".env", "NAME=value"]);
    assert!(!ran.stderr.contains("hf_secret"), "{}", ran.stderr);
}
