//! `courtside model check`.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{narrow, wide};
use crate::program::Place;

#[test]
fn good_checkpoints() {
    let place = Place::new();
    for (fixture, n_queries) in [(wide(), 12), (narrow(), 9)] {
        let folder = fixture.model();
        let ran = place.run(&["model", "check", &folder]).expect(0, &[]);
        assert!(ran.stdout.starts_with(&format!("{folder}: ok\n")), "{}", ran.stdout);
        let report = place.run(&["model", "check", &folder, "--json"]).expect(0, &[]).json();
        assert_eq!((&report["ok"], &report["folder"]), (&json!(true), &json!(folder)));
        assert_eq!(report["queries"], n_queries);
    }
}

/// Copies a checkpoint, changes it, and checks it.
#[track_caller]
fn bad(change: impl FnOnce(&Path), words: &[&str]) {
    let place = Place::new();
    let folder = place.path("copy");
    wide().copy(&folder);
    change(&folder);
    let ran = place.run(&["model", "check", "copy"]).expect(3, words);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_tensor_is_missing_or_strange() {
    // Another name of the same length keeps the file's lengths right.
    let rename = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let (name, other) = (b"detector_model.text_projection.bias", b"detector_model.text_projection.bjas");
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
        bytes[at..at + name.len()].copy_from_slice(other);
        std::fs::write(path, bytes).unwrap();
    };
    bad(rename, &["detector_model.text_projection.bias", "detector_model.text_projection.bjas"]);
}

fn change_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

#[test]
fn the_configuration_asks_for_another_model() {
    let queries =
        |config: &mut Value| config["detector_config"]["detr_decoder_config"]["num_queries"] = json!(11);
    bad(|folder| change_config(folder, queries), &["query_embed.weight", "11"]);
    bad(|folder| std::fs::write(folder.join("config.json"), "{").unwrap(), &["config.json"]);
}

#[test]
fn a_file_is_missing_or_cut_short() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        bad(|folder| std::fs::remove_file(folder.join(name)).unwrap(), &[name]);
    }
    let cut = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    bad(cut, &["model.safetensors"]);
}

#[test]
fn a_shard_is_missing() {
    let place = Place::new();
    let folder = place.path("copy");
    narrow().copy(&folder);
    std::fs::remove_file(folder.join("model-00002-of-00002.safetensors")).unwrap();
    place.run(&["model", "check", "copy"]).expect(3, &["model-00002-of-00002.safetensors"]);
}

/// Tracking refuses what checking refuses, before it makes any file.
#[test]
fn tracking_with_a_bad_checkpoint() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, 2, "game.mkv");
    fixture.copy(&place.path("copy"));
    std::fs::remove_file(place.path("copy/tokenizer.json")).unwrap();
    let names = place.names();
    place.run(&["track", "game.mkv", "--model", "copy"]).expect(3, &["tokenizer.json", "model check"]);
    assert_eq!(place.names(), names);
}
