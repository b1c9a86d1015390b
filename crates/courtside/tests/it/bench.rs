//! `courtside bench`: the structure and consistency of the report. The speed depends on the machine.

use serde_json::Value;

use crate::fixture::wide;
use crate::sandbox::Sandbox;

fn check_stages(table: &Value) {
    let stages = table["stages"].as_array().unwrap();
    assert!(stages.len() > 3, "{table}");
    for stage in stages {
        assert!(stage["ms"].as_f64().unwrap() > 0.0, "{stage}");
        // Resizing has no matrix products.
        let has_flops = stage["gflop"].as_f64().unwrap() > 0.0;
        assert_eq!(has_flops, stage["name"] != "resize 1080p", "{stage}");
    }
    let sum: f64 = stages.iter().map(|s| s["ms"].as_f64().unwrap()).sum();
    let total = table["ms_per_frame"].as_f64().unwrap();
    assert!((total - sum).abs() <= 1e-9 * sum, "{total} is not the sum {sum}");
    assert!(table["fps"].as_f64().unwrap() > 0.0);
}

#[test]
fn reports_a_table_for_each_number_of_tracks() {
    let report = Sandbox::new().run(&["bench", "--config", "tiny", "--tracks", "0,3", "--json"]);
    let report = report.expect(0, &[]).json();
    assert_eq!(report["config"], "tiny");
    assert!(report["threads"].as_u64() > Some(0) && report["matmul_gflops"].as_f64() > Some(0.0));
    let tables = report["counts"].as_array().unwrap();
    assert_eq!(tables.iter().map(|c| &c["objects"]).collect::<Vec<_>>(), [0, 3]);
    tables.iter().for_each(check_stages);
    assert!(tables[1]["stages"].as_array().unwrap().len() > tables[0]["stages"].as_array().unwrap().len());
}

#[test]
fn the_configuration_may_be_a_file() {
    let config = format!("{}/config.json", wide().model());
    let output = Sandbox::new().run(&["bench", "--config", &config]).expect(0, &[]);
    assert!(output.stdout.contains("1 track: "), "{}", output.stdout);
}

#[test]
fn an_invalid_configuration_is_rejected() {
    let sandbox = Sandbox::new();
    sandbox.write("config.json", "{\"model_type\": ");
    sandbox.run(&["bench", "--config", "config.json"]).expect(3, &["config.json"]);
    sandbox.run(&["bench", "--config", "nowhere.json"]).expect(3, &["nowhere.json"]);
}
