//! Which library a command uses, and that commands which only look create none.

use crate::fixture::wide;
use crate::sandbox::{RunOutput, Sandbox};

/// Commands that only look, or that change a job or a video which is not there.
const LOOKING: [&[&str]; 14] = [
    &["status"],
    &["--json", "status"],
    &["status", "a"],
    &["import", "--all"],
    &["import", "--job-id", "a"],
    &["tracks", "a"],
    &["tracks", "1"],
    &["export", "1", "--format", "csv"],
    &["videos", "list"],
    &["videos", "show", "1"],
    &["videos", "rm", "1"],
    &["logs", "a"],
    &["cancel", "a"],
    &["rm", "a"],
];

#[test]
fn looking_in_another_folder_makes_no_database_and_no_bucket() {
    let sandbox = Sandbox::new();
    for args in LOOKING {
        let output = sandbox.run(args);
        assert!(matches!(output.code, Some(0 | 1)), "{args:?} {output:?}");
        assert!(sandbox.names().is_empty(), "{args:?} created {:?}", sandbox.names());
    }
    for args in [&["submit", "gmae.mkv"], &["videos add", "gmae.mkv"]] {
        let words: Vec<&str> = args.iter().flat_map(|arg| arg.split(' ')).collect();
        sandbox.run(&words).expect(1, &["cannot open gmae.mkv"]);
        assert!(sandbox.names().is_empty(), "{args:?} created {:?}", sandbox.names());
    }
    let mut command = sandbox.command(&["doctor"]);
    RunOutput::new(command.env("CLOUD_MODEL_PATH", wide().model()).output().unwrap()).expect(0, &[]);
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
}

#[test]
fn status_says_which_library_it_uses_and_where_none_is() {
    let sandbox = Sandbox::new();
    let missing = "there is no library at ";
    sandbox.run(&["status"]).expect(0, &[missing, "basketball_analyzer.db", "--library FOLDER"]);
    wide().video(&sandbox, 2, "game.mkv");
    sandbox.run(&["submit", "game.mkv"]).expect(0, &["created the library ", "basketball_analyzer.db"]);
    let database = sandbox.path("basketball_analyzer.db").canonicalize().unwrap();
    let line = format!("library: {}", database.display());
    let output = sandbox.run(&["status"]).expect(0, &[&line]);
    assert!(!output.stderr.contains(missing), "{}", output.stderr);
    let listed = sandbox.run(&["--json", "status"]).expect(0, &[]).json();
    assert_eq!(listed["library"], database.display().to_string());
}

/// A library with one video in `games`, and an empty folder below it.
fn library_and_folder_below() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path("games/first half/raw")).unwrap();
    wide().video(&sandbox, 2, "games/game.mkv");
    sandbox.run(&["--library", "games", "videos", "add", "games/game.mkv"]).expect(0, &[]);
    sandbox
}

/// The number of videos that a command in `folder` lists.
fn n_videos(sandbox: &Sandbox, folder: &str, args: &[&str], environment: &[(&str, &str)]) -> usize {
    let mut command = sandbox.command(&[args, &["--json", "videos", "list"]].concat());
    command.current_dir(sandbox.path(folder)).envs(environment.iter().copied());
    let output = RunOutput::new(command.output().unwrap()).expect(0, &[]);
    output.json()["videos"].as_array().unwrap().len()
}

#[test]
fn a_library_is_found_upwards_from_the_working_folder() {
    let sandbox = library_and_folder_below();
    let below = sandbox.path("games/first half/raw");
    assert_eq!(n_videos(&sandbox, "games", &[], &[]), 1);
    assert_eq!(n_videos(&sandbox, "games/first half/raw", &[], &[]), 1);
    let mut command = sandbox.command(&["submit", "../../game.mkv"]);
    let output = RunOutput::new(command.current_dir(&below).output().unwrap());
    output.expect(0, &["using the library ", "games/basketball_analyzer.db"]);
    assert!(sandbox.path("games/basketball-analyzer/jobs").is_dir());
    assert_eq!(below.read_dir().unwrap().count(), 0);
}

#[test]
fn a_library_is_named_by_a_flag_or_a_variable() {
    let sandbox = library_and_folder_below();
    let games = sandbox.path("games").display().to_string();
    assert_eq!(n_videos(&sandbox, ".", &[], &[]), 0);
    assert_eq!(n_videos(&sandbox, ".", &["--library", "games"], &[]), 1);
    assert_eq!(n_videos(&sandbox, ".", &[], &[("COURTSIDE_HOME", &games)]), 1);
    // The flag has precedence over the environment, and DATABASE_URL names the database there.
    let other = [("COURTSIDE_HOME", sandbox.home().to_str().unwrap()), ("DATABASE_URL", "sqlite:///o.db")];
    assert_eq!(n_videos(&sandbox, ".", &["--library", "games"], &other), 1);
    assert_eq!(n_videos(&sandbox, ".", &[], &[("COURTSIDE_HOME", &games), other[1]]), 0);
    // A database that the environment names ends the search.
    assert_eq!(n_videos(&sandbox, "games/first half", &[], &[("DATABASE_URL", "sqlite:///o.db")]), 0);
}

#[test]
fn settings_of_the_library_are_read_and_its_relative_paths_start_there() {
    let sandbox = library_and_folder_below();
    sandbox.write("games/.env", "DATABASE_URL=sqlite:///data.db\nR2_BUCKET_NAME=season\n: broken\n");
    std::fs::rename(sandbox.path("games/basketball_analyzer.db"), sandbox.path("games/data.db")).unwrap();
    for folder in ["games", "games/first half"] {
        assert_eq!(n_videos(&sandbox, folder, &[], &[]), 1, "{folder}");
    }
    let output = sandbox.run(&["--library", "games", "submit", "--video-id", "1"]);
    output.expect(0, &["line 3 of ", "games/.env is not NAME=value"]);
    assert!(sandbox.path("games/season/jobs").is_dir());
    // The environment wins over the file.
    let other = [("DATABASE_URL", "sqlite:///other.db")];
    assert_eq!(n_videos(&sandbox, "games", &[], &other), 0);
}

#[test]
fn commands_in_hints_name_the_library_that_was_named() {
    let sandbox = library_and_folder_below();
    let hint = "`courtside --library games status`";
    let output = sandbox.run(&["--library", "games", "status", "nothing"]).expect(1, &[hint]);
    assert!(!output.stderr.contains("`courtside status`"), "{}", output.stderr);
    let output = sandbox.run(&["--json", "--library", "games", "status", "nothing"]).expect(1, &[]);
    assert!(output.json()["error"]["hint"].as_str().unwrap().contains(hint), "{}", output.stdout);
    let mut unnamed = sandbox.command(&["status", "nothing"]);
    let output = RunOutput::new(unnamed.current_dir(sandbox.path("games")).output().unwrap());
    output.expect(1, &["`courtside status`"]);
}

#[test]
fn a_library_folder_that_is_missing_is_named_and_not_made() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let words = ["--library names nowhere, which does not exist", "mkdir -p nowhere"];
    sandbox.run(&["--library", "nowhere", "status"]).expect(2, &words);
    sandbox.run(&["status", "--library=file"]).expect(2, &["file, which is not a folder", "DATABASE_URL"]);
    let mut command = sandbox.command(&["status"]);
    let output = RunOutput::new(command.env("COURTSIDE_HOME", "nowhere").output().unwrap());
    output.expect(3, &["COURTSIDE_HOME names nowhere"]);
    assert_eq!(sandbox.names(), ["file"]);
}
