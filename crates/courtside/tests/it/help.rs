//! The complete `--help` of every command is as in `snapshots/`. After an intended change,
//! `UPDATE_SNAPSHOTS=1 cargo test -p courtside --test it help` updates the snapshots.

use std::path::{Path, PathBuf};

use crate::sandbox::Sandbox;

#[test]
fn help_matches_the_snapshots() {
    let commands = [
        "",
        "submit",
        "worker",
        "launch",
        "machines",
        "machines list",
        "machines stop",
        "serve",
        "open",
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
        "completions",
        "track",
        "model",
        "model check",
        "model path",
        "bench",
    ];
    let mut shown = Vec::new();
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let output = Sandbox::new().run(&words).expect(0, &[]);
        assert_eq!(output.stderr, "");
        let name = if command.is_empty() { "courtside".to_owned() } else { command.replace(' ', "-") };
        compare(&name, &output.stdout);
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
    assert!(help == want, "--help differs from {}:\n{help}", path.display());
}

#[test]
fn help_fits_the_width_of_the_terminal() {
    let sandbox = Sandbox::new();
    let widest = |columns: &str| {
        let output = sandbox.command(&["track", "--help"]).env("COLUMNS", columns).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        help.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest("60") <= 60 && widest("100") > 60);
}

#[test]
fn help_shows_environment_variables_without_secrets() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["track", "--help"]);
    let output = command.env("SAM3_PROMPT", "referee").env("HF_TOKEN", "hf_secret").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("[env: SAM3_PROMPT=referee]") && !help.contains("hf_secret"), "{help}");
}

#[test]
fn version_is_that_of_the_crate() {
    let output = Sandbox::new().run(&["--version"]).expect(0, &[]);
    assert_eq!(output.stdout, format!("courtside {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn invalid_command_lines_exit_with_2() {
    let sandbox = Sandbox::new();
    let wrong: [(&[&str], &str); 9] = [
        (&[], "Usage"),
        (&["sumbit"], "tip: a similar subcommand exists: 'submit'"),
        (&["track"], "<VIDEO>"),
        (&["track", "a.mp4", "--every", "0"], "--every"),
        (&["track", "a.mp4", "--max-tracks", "0"], "at least 1"),
        (&["track", "a.mp4", "--checkpoint-interval", "5"], "--checkpoint <FILE>"),
        (&["track", "a.mp4", "--checkpoint", "c", "--checkpoint-interval", "nan"], "0 to 86400"),
        (&["track", "a.mp4", "--checkpoint", "c", "--dump", "d"], "cannot be used with"),
        (&["bench", "--layers", "--config", "tiny"], "cannot be used with"),
    ];
    for (args, word) in wrong {
        let output = sandbox.run(args).expect(2, &[word]);
        assert_eq!(output.stdout, "");
    }
    assert!(sandbox.names().is_empty());
}
