//! `--help` of every command, whole, as in `snapshots/`. After a change that is meant,
//! `UPDATE_SNAPSHOTS=1 cargo test -p courtside --test it help` writes them anew.

use std::path::{Path, PathBuf};

use crate::program::Place;

#[test]
fn help_is_as_in_the_snapshots() {
    let commands = [
        "",
        "submit",
        "worker",
        "serve",
        "status",
        "import",
        "tracks",
        "export",
        "videos",
        "videos add",
        "videos list",
        "videos show",
        "videos rm",
        "logs",
        "cancel",
        "retry",
        "rm",
        "doctor",
        "track",
        "model",
        "model check",
        "model path",
        "bench",
    ];
    let mut shown = Vec::new();
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let ran = Place::new().run(&words).expect(0, &[]);
        assert_eq!(ran.stderr, "");
        let name = if command.is_empty() { "courtside".to_owned() } else { command.replace(' ', "-") };
        compare(&name, &ran.stdout);
        shown.push(name + ".txt");
    }
    shown.sort();
    assert_eq!(names(&snapshots()), shown);
}

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn compare(name: &str, help: &str) {
    let path = snapshots().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, help).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(help == want, "--help is not as in {}:\n{help}", path.display());
}

#[test]
fn the_terminal_sets_the_width() {
    let place = Place::new();
    let widest = |columns: &str| {
        let output = place.command(&["track", "--help"]).env("COLUMNS", columns).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        help.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest("60") <= 60 && widest("100") > 60);
}

#[test]
fn the_environment_shows_in_help_without_secrets() {
    let place = Place::new();
    let mut command = place.command(&["track", "--help"]);
    let output = command.env("SAM3_PROMPT", "referee").env("HF_TOKEN", "hf_secret").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("[env: SAM3_PROMPT=referee]") && !help.contains("hf_secret"), "{help}");
}

#[test]
fn the_version_is_the_crates() {
    let ran = Place::new().run(&["--version"]).expect(0, &[]);
    assert_eq!(ran.stdout, format!("courtside {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_command_lines() {
    let place = Place::new();
    let wrong: [(&[&str], &str); 9] = [
        (&[], "Usage"),
        (&["sumbit"], "tip: a similar subcommand exists: 'submit'"),
        (&["track"], "<VIDEO>"),
        (&["track", "a.mp4", "--every", "0"], "--every"),
        (&["track", "a.mp4", "--max-objects", "0"], "at least 1"),
        (&["track", "a.mp4", "--checkpoint-interval", "5"], "--checkpoint <FILE>"),
        (&["track", "a.mp4", "--checkpoint", "c", "--checkpoint-interval", "nan"], "0 to 86400"),
        (&["track", "a.mp4", "--checkpoint", "c", "--dump", "d"], "cannot be used with"),
        (&["bench", "--layers", "--config", "tiny"], "cannot be used with"),
    ];
    for (args, word) in wrong {
        let ran = place.run(args).expect(2, &[word]);
        assert_eq!(ran.stdout, "");
    }
    assert!(place.names().is_empty());
}
