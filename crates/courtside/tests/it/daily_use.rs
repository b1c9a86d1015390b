//! The command line as an analyst uses it all day: names of jobs, tables on a terminal, JSON for scripts, and what is
//! said when something goes wrong.

use std::process::Command;
use std::time::Duration;

use s3_fixture::{FakeR2, Op};
use serde_json::Value;

use crate::fixture::wide;
use crate::sandbox::{RunOutput, Running, Sandbox};
use crate::system::{Machine, pad};

/// The JSON objects that standard output has, one per line.
fn lines(output: &RunOutput) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs the program on a terminal of 80 columns. Returns what the terminal shows.
fn on_terminal(machine: &Machine, args: &[&str]) -> String {
    let words: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let inner = format!("stty rows 24 cols 80; {} {}", env!("CARGO_BIN_EXE_courtside"), words.join(" "));
    let mut command = machine.sandbox.shell("shift; exec script -qec \"$1\" /dev/null", &[&inner]);
    command.env("TERM", "xterm").env_remove("COLUMNS");
    String::from_utf8(command.output().unwrap().stdout)
        .unwrap()
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace("\u{1b}[2K", "")
}

#[track_caller]
fn assert_fits(shown: &str) {
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}\n{shown}", line.chars().count());
    }
}

/// A machine with an imported job of `game.mkv` and a waiting one of `second half.mkv`. Returns their ids.
fn two_jobs() -> (Machine, String, String) {
    let machine = Machine::with_folder();
    let imported = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&imported);
    wide().video(&machine.sandbox, 3, "second half.mkv");
    let args = ["--json", "submit", "second half.mkv", "--prompt", "a basketball player in a white shirt"];
    let waiting = machine.run(&args).expect(0, &[]).json();
    (machine, imported, waiting["job_id"].as_str().unwrap().to_owned())
}

#[test]
fn a_job_is_named_by_a_prefix_the_latest_or_the_file_name_of_its_video() {
    let (machine, imported, waiting) = two_jobs();
    for (name, id) in [(&imported[..9], &imported), ("@latest", &waiting), ("second half.mkv", &waiting)] {
        let shown = machine.run(&["--json", "status", name]).expect(0, &[]).json();
        assert_eq!(shown["jobs"].as_array().unwrap().len(), 1, "{name}: {shown}");
        assert_eq!(shown["jobs"][0]["job_id"], id.as_str(), "{name}");
        assert_eq!(machine.run(&["--json", "logs", name]).expect(0, &[]).json()["job_id"], id.as_str());
    }
    let prefix = &imported[..9];
    for args in [
        &["tracks", prefix][..],
        &["tracks", "game.mkv"],
        &["tracks", "1", "--job", prefix],
        &["export", prefix, "--format", "csv"],
        &["export", "game.mkv", "--format", "mot"],
        &["import", "--job-id", prefix],
        &["cancel", "@latest"],
        &["retry", "second half.mkv"],
        &["rm", "--force", &waiting[..9]],
    ] {
        machine.run(args).expect(0, &[]);
    }
    machine.run(&["status", &waiting[..9]]).expect(1, &["was removed"]);
}

#[test]
fn one_bad_file_does_not_keep_others_out() {
    let sandbox = Sandbox::new();
    for name in ["first.mkv", "third.mkv"] {
        wide().video(&sandbox, 3, name);
    }
    sandbox.write("second.mkv", "no video");
    let files = ["first.mkv", "second.mkv", "third.mkv"];
    let added = sandbox.run(&[&["videos", "add"][..], &files].concat()).expect(1, &["second.mkv"]).stdout;
    assert!(added.contains("first.mkv") && added.contains("third.mkv"), "{added}");
    let submitted = sandbox.run(&[&["--json", "submit"][..], &files].concat());
    let submitted = submitted.expect(1, &["skipped: ", "second.mkv"]);
    assert_eq!(
        lines(&submitted).iter().filter(|line| line["job_id"].is_string()).count(),
        2,
        "{submitted:?}"
    );
}

#[test]
fn a_completed_job_is_imported_when_its_tracks_are_asked_for() {
    for command in [
        &["tracks", "@latest"][..],
        &["export", "@latest", "--format", "csv"],
        &["export", "game.mkv", "--format", "csv"],
        &["tracks", "1"],
    ] {
        let machine = Machine::with_folder();
        let job = machine.submit(14, &[]);
        let is_job = command[1] == "@latest";
        let waits = if is_job { "is not imported yet" } else { "video 1 has no detections" };
        machine.run(command).expect(1, &[waits]);
        machine.run_worker_once().expect(0, &[]);
        machine.run(command).expect(0, &[&format!("imported job {job}: ")]);
        assert_eq!(machine.status(&job)["status"], "imported");
        assert!(!machine.run(command).expect(0, &[]).stderr.contains("imported job"));
    }
}

#[test]
fn an_ambiguous_name_lists_the_jobs_and_changes_none() {
    let (machine, imported, _) = two_jobs();
    let second = ["--json", "submit", "game.mkv", "--prompt", "box"];
    let second = machine.run(&second).expect(0, &[]).json()["job_id"].as_str().unwrap().to_owned();
    for command in ["cancel", "retry", "rm", "logs", "status"] {
        let output =
            machine.run(&[command, "game.mkv"]).expect(1, &["may be any of 2 jobs", "give more of the id"]);
        assert!(output.stderr.contains(&imported) && output.stderr.contains(&second), "{}", output.stderr);
    }
    assert_eq!(machine.status(&second)["state"], "waiting");
}

#[test]
fn tables_fit_a_terminal_of_80_columns_and_name_the_video() {
    let (machine, imported, _) = two_jobs();
    let status = on_terminal(&machine, &["status"]);
    assert!(status.contains("PROGRESS") && status.contains("second half.mkv"), "{status}");
    let tracks = on_terminal(&machine, &["tracks", &imported]);
    assert!(tracks.contains("ball") && tracks.contains("0.00s"), "{tracks}");
    for shown in [status, tracks, on_terminal(&machine, &["videos", "list"])] {
        assert_fits(&shown);
    }
    // A pipe gets whole ids and phrases.
    let table = machine.run(&["tracks", "game.mkv"]).expect(0, &[]).stdout;
    assert!(table.lines().skip(1).all(|line| line.ends_with(" ball")), "{table}");
    let json = machine.run(&["--json", "tracks", "game.mkv"]).expect(0, &[]).json();
    assert_eq!((&json["job_id"], &json["tracks"][0]["prompt"]), (&imported.into(), &"ball".into()));
    assert!(json["tracks"][0]["last_seconds"].as_f64().unwrap() > 0.0, "{json}");
}

#[test]
fn watching_has_a_clock_and_ends_when_no_job_is_open() {
    let machine = Machine::with_folder();
    machine.run(&["status", "--watch"]).expect(0, &["no job is open: nothing more to watch"]);
    let job = machine.submit(14, &[]);
    let watch = ["--json", "status", "--watch", "--interval", "1"];
    let watching = Running::start(machine.command(&watch));
    machine.run_worker_once().expect(0, &[]);
    let output = watching.wait().expect(0, &["no job is open", "courtside import --all"]);
    let updates = lines(&output);
    assert!(!updates.is_empty());
    for update in &updates {
        assert_eq!(update["jobs"][0]["job_id"], job.as_str());
        assert!(update["at"].as_str().unwrap().ends_with('Z'), "{update}");
    }
    let last = updates.last().unwrap();
    assert_eq!(last["jobs"][0]["state"], "ready_to_import");
    let text = machine.run(&["status", "--watch"]).expect(0, &[]).stdout;
    assert!(text.lines().next().unwrap().contains(" UTC, library /"), "{text}");
}

#[test]
fn with_json_every_error_is_one_json_object() {
    let (machine, ..) = two_jobs();
    let model = wide().model();
    let cases: [(&[&str], i32); 14] = [
        (&["status", "nothing"], 1),
        (&["logs", "nothing"], 1),
        (&["cancel", "nothing"], 1),
        (&["retry", "nothing"], 1),
        (&["rm", "nothing"], 1),
        (&["tracks", "nothing"], 1),
        (&["export", "nothing", "--format", "csv"], 1),
        (&["videos", "show", "77"], 1),
        (&["submit", "nothing.mp4"], 1),
        (&["submit"], 2),
        (&["import"], 2),
        (&["track", "nothing.mp4", "--model", &model], 1),
        (&["--library", "nowhere", "status"], 2),
        (&["model", "check", "nowhere"], 3),
    ];
    for (args, code) in cases {
        let output = machine.run(&[&["--json"], args].concat()).expect(code, &["error: "]);
        let error = output.json()["error"].clone();
        assert_eq!(error["exit_code"], code, "{args:?}");
        assert!(
            !error["message"].as_str().unwrap().is_empty() && error["causes"].is_array(),
            "{args:?} {error}"
        );
        assert!(error["hint"].is_null() || error["hint"].is_string(), "{args:?} {error}");
    }
    let mut command = machine.command(&["--json", "status"]);
    let output = RunOutput::new(command.env("R2_ACCOUNT_ID", "a\"b").output().unwrap()).expect(3, &[]);
    assert_eq!(output.json()["error"]["exit_code"], 3);
}

#[test]
fn a_missing_argument_names_every_way_to_give_it() {
    let sandbox = Sandbox::new();
    sandbox.run(&["submit"]).expect(2, &["FILE", "--video-id"]);
    sandbox.run(&["import"]).expect(2, &["--all", "--job-id"]);
}

#[test]
fn a_bad_value_of_a_flag_is_refused_with_exit_code_2() {
    let sandbox = Sandbox::new();
    let wrong: [(&[&str], &str); 8] = [
        (&["submit", "a.mp4", "--confidence-threshold", "2"], "0 to 1"),
        (&["submit", "a.mp4", "--max-seconds", "-1"], "--max-seconds"),
        (&["submit", "a.mp4", "--max-seconds", "0"], "above 0"),
        (&["submit", "a.mp4", "--dry-run", "--price-per-hour", "0"], "above 0"),
        (&["submit", "a.mp4", "--dry-run", "--fps", "nan"], "above 0"),
        (&["export", "1", "--format", "csv", "--min-confidence", "x"], "0 to 1"),
        (&["status", "--watch", "--interval", "0"], "--interval"),
        (&["completions", "cmd.exe"], "bash"),
    ];
    for (args, word) in wrong {
        sandbox.run(args).expect(2, &[word]);
    }
    let mut command = sandbox.command(&["status"]);
    let output = RunOutput::new(command.env("COURTSIDE_LOG", "loud").output().unwrap());
    output.expect(3, &["COURTSIDE_LOG", "\"loud\" is not a level", "debug"]);
    for level in ["warn", "jobs=debug,warn", "OFF", ""] {
        let mut command = sandbox.command(&["status"]);
        RunOutput::new(command.env("COURTSIDE_LOG", level).output().unwrap()).expect(0, &[]);
    }
}

#[test]
fn a_misspelt_setting_is_named_with_the_nearest_one() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["status"]);
    command.env("R2_ACCES_KEY_ID", "id").env("R2_PUBLIC_URL", "x");
    sandbox.write(".env", "A=b\nR2_ENDPOINT=https://h\n");
    let words = [
        "warning: R2_ACCES_KEY_ID in the environment is no setting",
        "did you mean R2_ACCESS_KEY_ID?",
        "R2_ENDPOINT in line 2 of .env",
        "did you mean R2_ENDPOINT_URL?",
    ];
    let output = RunOutput::new(command.output().unwrap()).expect(0, &words);
    assert!(!output.stderr.contains("R2_PUBLIC_URL"), "{}", output.stderr);
    // Next to the right name, it may be a setting of another program.
    let mut command = sandbox.command(&["status"]);
    let output = command.env("R2_BUCKET", "games").env("R2_BUCKET_NAME", "games").output().unwrap();
    assert!(!RunOutput::new(output).expect(0, &[]).stderr.contains("R2_BUCKET in"));
}

#[test]
fn an_unreachable_server_is_told_in_the_words_of_the_network_once() {
    let sandbox = Sandbox::new();
    for (endpoint, word) in [
        ("http://127.0.0.1:9", "no connection: it was refused"),
        ("http://no-such-host.invalid", "the host name no-such-host.invalid cannot be resolved"),
    ] {
        let mut command = sandbox.command(&["status"]);
        command.env("R2_ENDPOINT_URL", endpoint).env("COURTSIDE_LOG", "off");
        command.env("R2_ACCESS_KEY_ID", "id").env("R2_SECRET_ACCESS_KEY", "hush");
        let output = RunOutput::new(command.output().unwrap()).expect(4, &[word, "R2_ENDPOINT_URL"]);
        for library_words in ["Generic S3", "max_retries", "error sending request", "try again later"] {
            assert!(!output.stderr.contains(library_words), "{}", output.stderr);
        }
        assert_eq!(output.stderr.matches(word).count(), 1, "{}", output.stderr);
    }
}

#[test]
fn the_halves_of_a_game_are_submitted_together() {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 2, "first.mkv");
    wide().video(&machine.sandbox, 3, "second.mkv");
    let submitted = lines(&machine.run(&["--json", "submit", "first.mkv", "second.mkv"]).expect(0, &[]));
    let frames: Vec<u64> = submitted.iter().map(|job| job["n_frames"].as_u64().unwrap()).collect();
    assert_eq!(frames, [2, 3]);
    let n_jobs =
        || machine.run(&["--json", "status"]).expect(0, &[]).json()["jobs"].as_array().unwrap().len();
    assert_eq!(n_jobs(), 2);
    // Those that were submitted before are skipped, so an interrupted command can be repeated.
    wide().video(&machine.sandbox, 4, "overtime.mkv");
    let again = ["submit", "first.mkv", "overtime.mkv", "second.mkv"];
    machine.run(&again).expect(0, &["skipped: job", "it waits for a worker"]);
    assert_eq!(n_jobs(), 3);
    machine.run(&again).expect(1, &["it waits for a worker", "--again"]);
    assert_eq!(n_jobs(), 3);
}

#[test]
fn ctrl_c_during_an_upload_says_that_it_is_kept_and_how_to_resume_it() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    wide().video(&machine.sandbox, 14, "game.mkv");
    pad(&machine, 70 << 20);
    server.set_latency(Duration::from_millis(150));
    let mut submitting = Running::start(machine.command(&["submit", "game.mkv", "--prompt", "ball"]));
    submitting.wait_for("a part", || (server.counts().of(Op::UploadPart) >= 2).then_some(()));
    submitting.signal("INT");
    let output = submitting.wait().expect(130, &["stopped: the upload of job ", "is kept", "resume it with"]);
    server.set_latency(Duration::ZERO);
    let listed = machine.run(&["--json", "status"]).expect(0, &[]).json();
    let job = listed["jobs"][0]["job_id"].as_str().unwrap();
    for hint in [format!("`courtside submit --resume {job}`"), format!("`courtside cancel {job}`")] {
        assert!(output.stderr.contains(&hint), "{}", output.stderr);
    }
    machine.run(&["submit", "--resume", job]).expect(0, &[]);
    assert_eq!(machine.status(job)["state"], "waiting");
    // It is the same upload.
    assert_eq!(server.counts().of(Op::CreateMultipartUpload), 1, "{:?}", server.counts());
}

#[test]
fn a_dry_run_adds_nothing_to_the_library() {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 14, "game.mkv");
    let text = machine.run(&["submit", "game.mkv", "--dry-run", "--target", "cloud"]).expect(0, &[]).stdout;
    for word in [
        "frames to track: 14",
        "5.00 to 10.00 frames per second",
        "as published for SAM 3",
        "--price-per-hour",
    ] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    assert_eq!(machine.sandbox.names(), ["game.mkv"]);
    let args = ["--json", "submit", "game.mkv", "--dry-run", "--target", "cloud", "--price-per-hour", "2.5"];
    let priced = machine.run(&args).expect(0, &[]).json();
    assert_eq!(priced["speed_source"]["from"], "published");
    assert!(
        priced["cost_dollars"].is_null() && priced["cost_dollars_range"][0].as_f64() > Some(0.0),
        "{priced}"
    );
    let videos = machine.run(&["--json", "videos", "list"]).expect(0, &[]).json();
    assert_eq!(videos["videos"].as_array().unwrap().len(), 0);
}

#[test]
fn a_damaged_file_is_submitted_with_a_plain_warning_that_the_job_keeps() {
    let machine = Machine::with_folder();
    let full = machine.sandbox.path("full.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x48:rate=30",
        "-t",
        "10",
        "-c:v",
        "libx264",
    ]);
    let status = ffmpeg.args(["-preset", "ultrafast", "-movflags", "+faststart"]).arg(&full).status();
    assert!(status.unwrap().success());
    let bytes = std::fs::read(full).unwrap();
    machine.sandbox.write("cut.mp4", &bytes[..bytes.len() / 2]);
    let output = machine.run(&["--json", "submit", "cut.mp4"]);
    let output = output
        .expect(0, &["the header declares 300 frames, but the file contains ", "was not copied completely"]);
    for raw in ["NAL", "[mov", "partial file", "stream 0"] {
        assert!(!output.stderr.contains(raw), "{}", output.stderr);
    }
    let job = machine.status(output.json()["job_id"].as_str().unwrap());
    assert!(job["warnings"][0].as_str().unwrap().contains("declares 300 frames"), "{job}");
    let text = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(text.contains("warning: the header declares 300 frames"), "{text}");
}

#[test]
fn results_of_another_game_are_not_replaced_without_force() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 3, "first.mkv");
    wide().video(&sandbox, 2, "second.mkv");
    let model = wide().model();
    let track = |video: &str, more: &[&str]| {
        sandbox.run(&[&["track", video, "--model", &model, "--prompt", "ball"], more].concat())
    };
    track("first.mkv", &[]).expect(0, &[]);
    let words = [
        "tracks.json has the results of another video or stream (track-first)",
        "--out second-tracks.json",
        "--force",
    ];
    track("second.mkv", &[]).expect(1, &words);
    assert_eq!(sandbox.json("tracks.json")["job_id"], "track-first");
    track("first.mkv", &[]).expect(0, &[]);
    track("second.mkv", &["--out", "second-tracks.json"]).expect(0, &[]);
    track("second.mkv", &["--force"]).expect(0, &[]);
    assert_eq!(sandbox.json("tracks.json")["job_id"], "track-second");
}

#[test]
fn an_annotated_video_is_not_written_into_an_avi() {
    let (machine, imported, _) = two_jobs();
    let model = wide().model();
    let words = ["a.avi", "MP4", "name it a.mp4"];
    machine.run(&["track", "game.mkv", "--model", &model, "--annotated", "a.avi"]).expect(2, &words);
    machine.run(&["export", &imported, "--format", "video", "--out", "a.avi"]).expect(2, &words);
    assert!(!machine.sandbox.path("a.avi").exists());
}

#[test]
fn nothing_found_is_said_while_it_can_still_be_stopped() {
    let machine = Machine::with_folder();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "color=black:size=64x48:rate=30", "-frames:v", "310"]);
    let black = machine.sandbox.path("black.mkv");
    assert!(ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast"]).arg(&black).status().unwrap().success());
    let notice = "nothing was found in the first 300 frames: is the prompt right? (\"ball\")";
    let model = wide().model();
    let args = ["track", "black.mkv", "--model", &model, "--prompt", "ball", "--every", "10"];
    machine.run(&args).expect(0, &[notice, "Ctrl-C stops"]);
    let job = machine
        .run(&["--json", "submit", "black.mkv", "--prompt", "ball", "--every", "10"])
        .expect(0, &[])
        .json();
    machine.run_worker_once().expect(0, &[notice]);
    let logs = machine.run(&["logs", job["job_id"].as_str().unwrap()]).expect(0, &[]).stdout;
    assert!(logs.contains(notice), "{logs}");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(&["completions", shell]).expect(0, &[]).stdout;
        assert!(script.contains("submit") && script.contains("video-id"), "{shell}: {script}");
    }
    let page = sandbox.run(&["man"]).expect(0, &[]).stdout;
    assert!(page.contains(".TH courtside 1") && page.contains("submit"), "{page}");
    sandbox.run(&["man", "--out", "pages"]).expect(0, &[]);
    for name in ["courtside.1", "courtside-submit.1", "courtside-videos-add.1"] {
        let page = String::from_utf8(sandbox.read(&format!("pages/{name}"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
    }
}

#[test]
fn doctor_creates_the_bucket_on_request_only() {
    let server = FakeR2::start();
    server.remove_bucket();
    let machine = Machine::with_server(server.connection());
    let doctor = |more: &[&str]| {
        let mut command = machine.command(&[&["doctor"], more].concat());
        RunOutput::new(command.env("CLOUD_MODEL_PATH", wide().model()).output().unwrap())
    };
    let output = doctor(&[]).expect(3, &[]);
    assert!(output.stdout.contains("courtside doctor --create-bucket"), "{}", output.stdout);
    let output = doctor(&["--create-bucket"]).expect(0, &[]);
    assert!(output.stdout.contains("ok    bucket       created"), "{}", output.stdout);
    let output = doctor(&["--create-bucket"]).expect(0, &[]);
    assert!(!output.stdout.contains("created"), "{}", output.stdout);
    // A folder, too.
    let local = Machine::with_folder();
    let mut command = local.command(&["doctor", "--create-bucket"]);
    RunOutput::new(command.env("CLOUD_MODEL_PATH", wide().model()).output().unwrap()).expect(0, &[]);
    assert!(local.sandbox.path("basketball-analyzer").is_dir());
}

#[test]
fn logs_follow_a_job_until_it_ends() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine
        .run(&["submit", "game.mkv", "--dry-run", "--price-per-hour", "3600", "--fps", "1"])
        .expect(0, &[]);
    let follow = ["--json", "logs", "@latest", "--follow", "--interval", "1"];
    let following = Running::start(machine.command(&follow));
    machine.run_worker_once().expect(0, &[]);
    let output = following.wait().expect(0, &["is completed"]);
    let updates = lines(&output);
    assert!(updates.iter().all(|update| update["job_id"] == job.as_str()), "{updates:?}");
    let text: Vec<&str> = updates.iter().filter_map(|update| update["line"].as_str()).collect();
    assert!(text.iter().any(|line| line.contains("claimed")), "{text:?}");
    assert!(text.iter().any(|line| line.contains("tracking on ")), "{text:?}");
    let unique: std::collections::BTreeSet<&&str> = text.iter().collect();
    assert_eq!(unique.len(), text.len(), "a line twice: {text:?}");
    let status = machine.status(&job);
    assert!(
        status["duration_seconds"].as_f64() > Some(0.0) && status["average_fps"].as_f64() > Some(0.0),
        "{status}"
    );
    let table = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(table.contains("took 0:") && table.contains(" fps"), "{table}");
}

#[test]
fn progress_of_a_worker_names_the_job() {
    let (machine, _, waiting) = two_jobs();
    wide().video(&machine.sandbox, 14, "game.mkv");
    let output = on_terminal(&machine, &["worker", "--local", "--once", "--model", &wide().model()]);
    let bars: Vec<&str> =
        output.lines().filter(|line| line.contains("tracking ") && line.contains('[')).collect();
    let name = format!("job {}: tracking ", &waiting[..8]);
    assert!(!bars.is_empty() && bars.iter().all(|bar| bar.starts_with(&name)), "{output}");
    bars.into_iter().for_each(assert_fits);
}

#[test]
fn a_removed_job_says_where_its_detections_are_and_how_to_track_again() {
    let (machine, imported, _) = two_jobs();
    let again = "courtside submit --video-id 1 --again";
    machine.run(&["retry", &imported]).expect(1, &["imported jobs cannot be retried", again]);
    machine.run(&["rm", &imported]).expect(0, &[]);
    assert_eq!(machine.status(&imported)["status"], "imported");
    for args in [&["rm", &imported][..], &["import", "--job-id", &imported], &["logs", &imported]] {
        let rm = format!("courtside rm {imported} --detections");
        machine.run(args).expect(1, &["its detections are in the library", again, &rm]);
    }
    machine.run(&["retry", &imported]).expect(1, &[again]);
    machine.run(&["rm", &imported, "--detections"]).expect(0, &[]);
    assert_eq!(machine.detections(), []);
    machine.run(&["status", &imported]).expect(1, &["there is no job"]);
}

#[test]
fn a_video_with_results_to_import_is_removed_only_on_request_and_its_job_is_offered() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.run(&["videos", "rm", "1"]).expect(1, &["has not ended", "`courtside videos rm 1 --force`"]);
    let removed = machine.run(&["videos", "rm", "1", "--force"]).expect(0, &[]).stdout;
    assert_eq!(removed, "removed video 1, 0 detections and 1 job from the library\n");
    let offered = machine.run(&["import", "--all"]).expect(0, &[]).stdout;
    for part in [&*job, "not in this library", "`courtside videos add FILE`"] {
        assert!(offered.contains(part), "{part}: {offered}");
    }
}

#[test]
fn an_estimate_knows_a_file_of_the_library() {
    let (machine, ..) = two_jobs();
    let estimate = machine.run(&["--json", "submit", "game.mkv", "--dry-run"]).expect(0, &[]).json();
    assert_eq!(estimate["video_id"], 1);
}

#[test]
fn errors_and_hints_fit_a_terminal_of_80_columns() {
    let (machine, imported, waiting) = two_jobs();
    machine.run(&["rm", &imported]).expect(0, &[]);
    for args in [
        &["rm", &imported][..],
        &["rm", &waiting],
        &["retry", &imported],
        &["submit", "second half.mkv"],
        &["submit", "game.mkv", "--again"],
        &["videos", "rm", "2"],
        &["doctor"],
    ] {
        assert_fits(&on_terminal(&machine, args));
    }
    let elsewhere = Machine::with_folder();
    assert_fits(&on_terminal(&elsewhere, &["status"]));
}
