//! `courtside model check` on good and damaged model folders.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{narrow, wide};
use crate::sandbox::Sandbox;

#[test]
fn good_models_pass() {
    let sandbox = Sandbox::new();
    for (fixture, n_queries) in [(wide(), 12), (narrow(), 9)] {
        let folder = fixture.model();
        let output = sandbox.run(&["model", "check", &folder]).expect(0, &[]);
        assert!(output.stdout.starts_with(&format!("{folder}: ok\n")), "{}", output.stdout);
        let report = sandbox.run(&["model", "check", &folder, "--json"]).expect(0, &[]).json();
        assert_eq!((&report["ok"], &report["folder"]), (&json!(true), &json!(folder)));
        assert_eq!(report["queries"], n_queries);
    }
}

/// Copies a model, changes it, and checks it, which must fail with these words.
#[track_caller]
fn expect_damaged(change: impl FnOnce(&Path), words: &[&str]) {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("copy");
    wide().copy(&folder);
    change(&folder);
    let output = sandbox.run(&["model", "check", "copy"]).expect(3, words);
    assert_eq!(output.stdout, "");
}

#[test]
fn missing_and_unknown_tensors_are_named() {
    // The new name has the same length, so that the file's offsets stay valid.
    let rename = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let (name, other) = (b"detector_model.text_projection.bias", b"detector_model.text_projection.bjas");
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
        bytes[at..at + name.len()].copy_from_slice(other);
        std::fs::write(path, bytes).unwrap();
    };
    expect_damaged(rename, &["detector_model.text_projection.bias", "detector_model.text_projection.bjas"]);
}

fn change_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn a_configuration_of_another_model_is_rejected() {
    let queries =
        |config: &mut Value| config["detector_config"]["detr_decoder_config"]["num_queries"] = json!(11);
    expect_damaged(|folder| change_config(folder, queries), &["query_embed.weight", "11"]);
    expect_damaged(|folder| std::fs::write(folder.join("config.json"), "{").unwrap(), &["config.json"]);
}

#[test]
fn missing_and_truncated_files_are_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        expect_damaged(|folder| std::fs::remove_file(folder.join(name)).unwrap(), &[name]);
    }
    let cut = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    expect_damaged(cut, &["model.safetensors"]);
}

#[test]
fn a_missing_shard_is_named() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("copy");
    narrow().copy(&folder);
    std::fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    sandbox.run(&["model", "check", "copy"]).expect(3, &["model-00002-of-00002.safetensors"]);
}

/// `track` rejects the same folders before it creates any file.
#[test]
fn tracking_rejects_a_damaged_model() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 2, "game.mkv");
    fixture.copy(&sandbox.path("copy"));
    std::fs::remove_file(sandbox.path("copy/tokenizer.json")).unwrap();
    let names = sandbox.names();
    sandbox.run(&["track", "game.mkv", "--model", "copy"]).expect(3, &["tokenizer.json", "model check"]);
    assert_eq!(sandbox.names(), names);
}
