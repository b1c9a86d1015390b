//! Commands on a database that the analyzer app made, or changes while they run.

use std::fs;

use rusqlite::Connection;
use store::JobStatus;

use crate::export;
use crate::fixture::wide;
use crate::sandbox::Sandbox;
use crate::system::Machine;

const DATABASE: &str = "basketball_analyzer.db";

/// The app's tables, with one video and two detections.
const APP: &str = "
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL);
    CREATE TABLE games (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(200) NOT NULL, date DATE NOT NULL,
        location VARCHAR(200), home_team VARCHAR(100) NOT NULL, away_team VARCHAR(100) NOT NULL,
        created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL);
    CREATE TABLE videos (id INTEGER NOT NULL PRIMARY KEY, game_id INTEGER NOT NULL REFERENCES games (id),
        file_path VARCHAR(500) NOT NULL, r2_key VARCHAR(500), duration_seconds FLOAT, fps FLOAT,
        resolution VARCHAR(20), upload_date DATETIME NOT NULL, processed BOOLEAN NOT NULL,
        processing_status VARCHAR(10) NOT NULL);
    CREATE TABLE player_detections (id INTEGER NOT NULL PRIMARY KEY,
        video_id INTEGER NOT NULL REFERENCES videos (id), frame_number INTEGER NOT NULL, player_id INTEGER,
        bbox_x FLOAT NOT NULL, bbox_y FLOAT NOT NULL, bbox_width FLOAT NOT NULL, bbox_height FLOAT NOT NULL,
        tracking_id INTEGER NOT NULL, confidence_score FLOAT NOT NULL);
    CREATE INDEX idx_detection_video_frame ON player_detections (video_id, frame_number);
    CREATE TABLE processing_jobs (id VARCHAR(36) NOT NULL PRIMARY KEY, job_type VARCHAR(15) NOT NULL,
        status VARCHAR(10) NOT NULL, video_id INTEGER, parameters JSON NOT NULL, progress_current INTEGER NOT NULL,
        progress_total INTEGER NOT NULL, progress_message VARCHAR(500) NOT NULL, result JSON, error_message TEXT,
        created_at DATETIME NOT NULL, started_at DATETIME, completed_at DATETIME, worker_id VARCHAR(100));
    INSERT INTO alembic_version VALUES ('f3a1');
    INSERT INTO games VALUES (1, 'Finals', '2024-05-01', NULL, 'Reds', 'Blues', '2024-05-02 08:00:00.000000',
        '2024-05-02 08:00:00.000000');
    INSERT INTO videos VALUES (4, 1, 'game.mkv', NULL, 0.5, 25.0, '128x72', '2024-05-02 08:01:02.123456', 1,
        'COMPLETED');
    INSERT INTO player_detections VALUES (1, 4, 0, NULL, 1.5, 2.5, 30.0, 60.0, 7, 0.9),
        (2, 4, 1, NULL, 2.5, 2.5, 30.0, 60.0, 7, 0.8);
    INSERT INTO processing_jobs VALUES ('5b0f8f5e-0000-4000-8000-000000000001', 'VIDEO_DETECTION', 'COMPLETED', 4,
        '{}', 2, 2, 'Done', '{}', NULL, '2024-05-02 08:02:00.000000', NULL, NULL, NULL);";

fn database(sandbox: &Sandbox) -> Connection {
    Connection::open(sandbox.path(DATABASE)).unwrap()
}

#[test]
fn looking_at_a_database_of_the_app_changes_no_byte_and_leaves_no_file() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 3, "game.mkv");
    database(&sandbox).execute_batch(APP).unwrap();
    let before = sandbox.read(DATABASE);
    let model = wide().model();
    for args in [
        &["status"][..],
        &["--json", "status"],
        &["status", "5b0f8f5e"],
        &["import", "--all"],
        &["videos", "list"],
        &["videos", "show", "4"],
        &["tracks", "4"],
        &["tracks", "game.mkv"],
        &["export", "4", "--format", "csv", "--out", "out.csv"],
        &["export", "4", "--format", "mot", "--out", "out.csv"],
        &["logs", "5b0f8f5e"],
        &["doctor"],
    ] {
        let mut command = sandbox.command(args);
        let output = command.env("CLOUD_MODEL_PATH", &model).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?} {output:?}");
        let _ = fs::remove_file(sandbox.path("out.csv"));
        assert!(sandbox.read(DATABASE) == before, "{args:?} changed the database");
        assert_eq!(sandbox.names(), [DATABASE, "game.mkv"], "{args:?}");
    }
    let listed = sandbox.run(&["--json", "tracks", "4"]).expect(0, &[]).json();
    assert_eq!(listed["tracks"][0]["n_detections"], 2);
    let checks = sandbox.run(&["doctor"]).stdout;
    assert!(checks.contains("the first submitted video adds courtside's own tables"), "{checks}");
}

#[test]
fn status_while_another_program_writes_shows_the_jobs_and_records_them_afterwards() {
    let machine = Machine::with_folder();
    let job = machine.submit(3, &[]);
    let path = machine.object(&format!("jobs/{job}.json"));
    let manifest = fs::read_to_string(&path).unwrap();
    fs::write(&path, manifest.replace(r#""status": "pending""#, r#""status": "processing""#)).unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), manifest);

    let app = database(&machine.sandbox);
    app.execute_batch("BEGIN IMMEDIATE; UPDATE videos SET fps = 24").unwrap();
    assert_eq!(machine.status(&job)["status"], "processing");
    app.execute_batch("COMMIT").unwrap();
    let recorded = || export::library(&machine.sandbox).job(&job).unwrap().unwrap().status;
    assert_eq!(recorded(), JobStatus::Pending);
    assert_eq!(machine.status(&job)["status"], "processing");
    assert_eq!(recorded(), JobStatus::Processing);
}

#[test]
fn an_import_that_lost_rows_is_named_with_the_command_that_imports_it_again() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    let imported = machine.import(&job)["detections"].as_i64().unwrap();
    let nothing = machine.run(&["import", "--all"]).expect(0, &[]).stdout;
    assert_eq!(nothing, "nothing to import\n");

    let sql = "DELETE FROM player_detections WHERE frame_number > 4";
    let left = imported - database(&machine.sandbox).execute(sql, []).unwrap() as i64;
    let tracks = machine.run(&["--json", "tracks", "game.mkv"]).expect(0, &[]).json();
    let shown =
        tracks["tracks"].as_array().unwrap().iter().map(|track| track["n_detections"].as_i64().unwrap());
    assert_eq!(shown.sum::<i64>(), left);

    let command = format!("courtside import --job-id {job}");
    let said = machine.run(&["import", "--all"]).expect(0, &[]).stdout;
    assert!(said.contains(&format!("job {job} has {left} of its {imported} detections left")), "{said}");
    assert!(said.contains(&command), "{said}");
    let json = machine.run(&["--json", "import", "--all"]).expect(0, &[]).json();
    assert_eq!(json["incomplete"][0]["command"], command);

    machine.run(&["import", "--job-id", &job]).expect(0, &[]);
    assert_eq!(machine.detections().len() as i64, imported);
    let nothing = machine.run(&["import", "--all"]).expect(0, &[]).stdout;
    assert_eq!(nothing, "nothing to import\n");
}

#[test]
fn a_job_with_a_status_that_only_the_app_knows_does_not_hide_the_others() {
    let sandbox = Sandbox::new();
    let app = database(&sandbox);
    app.execute_batch(APP).unwrap();
    app.execute_batch(
        "UPDATE processing_jobs SET status = 'PAUSED'; UPDATE videos SET processing_status = 'ARCHIVED'",
    )
    .unwrap();
    let listed = sandbox.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("status is \"PAUSED\""), "{listed}");
    sandbox.run(&["import", "--all"]).expect(0, &["skipped job 5b0f8f5e", "PAUSED"]);
    let listed = sandbox.run(&["videos", "list"]).expect(0, &["video 4: processing_status is \"ARCHIVED\""]);
    assert!(listed.stdout.contains("game.mkv"), "{}", listed.stdout);
}

#[test]
fn years_that_the_app_cannot_read_are_imported_as_the_nearest_that_it_can() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    let path = machine.object(&format!("jobs/{job}.json"));
    let manifest = fs::read_to_string(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    json["started_at"] = "0000-01-01T00:00:00Z".into();
    fs::write(&path, json.to_string()).unwrap();
    database(&machine.sandbox).execute("UPDATE courtside_jobs SET started_at = NULL", []).unwrap();
    machine.run(&["import", "--all"]).expect(0, &["started_at is 0000-01-01", "nearest time"]);
    let sql = "SELECT started_at FROM processing_jobs";
    let stored: String = database(&machine.sandbox).query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(stored, "0001-01-01 00:00:00.000000");
}
