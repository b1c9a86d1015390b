//! `courtside bench`: numbers that can be read and add up, whatever they are on this machine.

use serde_json::Value;

use crate::fixture::wide;
use crate::program::Place;

fn check_stages(count: &Value) {
    let stages = count["stages"].as_array().unwrap();
    assert!(stages.len() > 3, "{count}");
    for stage in stages {
        assert!(stage["ms"].as_f64().unwrap() > 0.0, "{stage}");
        // Resizing is no matrix product.
        let counted = stage["gflop"].as_f64().unwrap() > 0.0;
        assert_eq!(counted, stage["name"] != "resize 1080p", "{stage}");
    }
    let sum: f64 = stages.iter().map(|s| s["ms"].as_f64().unwrap()).sum();
    let total = count["ms_per_frame"].as_f64().unwrap();
    assert!((total - sum).abs() <= 1e-9 * sum, "{total} is not the sum {sum}");
    assert!(count["fps"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_table_for_each_count_of_objects() {
    let report = Place::new().run(&["bench", "--config", "tiny", "--objects", "0,3", "--json"]);
    let report = report.expect(0, &[]).json();
    assert_eq!(report["config"], "tiny");
    assert!(report["threads"].as_u64() > Some(0) && report["matmul_gflops"].as_f64() > Some(0.0));
    let counts = report["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|c| &c["objects"]).collect::<Vec<_>>(), [0, 3]);
    counts.iter().for_each(check_stages);
    assert!(counts[1]["stages"].as_array().unwrap().len() > counts[0]["stages"].as_array().unwrap().len());
}

#[test]
fn the_configuration_of_a_file() {
    let config = format!("{}/config.json", wide().model());
    let ran = Place::new().run(&["bench", "--config", &config]).expect(0, &[]);
    assert!(ran.stdout.contains("1 objects: "), "{}", ran.stdout);
}

#[test]
fn a_configuration_that_is_none() {
    let place = Place::new();
    place.write("config.json", "{\"model_type\": ");
    place.run(&["bench", "--config", "config.json"]).expect(3, &["config.json"]);
    place.run(&["bench", "--config", "nowhere.json"]).expect(3, &["nowhere.json"]);
}
