//! `.env` in the folder of the library: the settings that it may set, and warnings about the others.
//!
//! The table of variables decides what the file may set ([`Sources`]). Names that are not in the table belong to other
//! programs and are ignored. The author of the file cannot use the secrets of the environment: `${NAME}` expands only
//! to values of the file and to variables of the environment that are no secrets.

mod dotenv;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::home::value_in;
use super::misspelt::Misspelt;
use super::variables::{Lookup, Sources, VARIABLES, Variable};
use crate::atomic_file::cannot;
use crate::failure::{Kind, Outcome};
use dotenv::{Statement, expand, parse};

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Variables of the environment that a value may refer to, besides the settings that are no secrets.
const REFERABLE: [&str; 5] = ["HOME", "HOSTNAME", "LOGNAME", "PWD", "USER"];

/// What is wrong with a line that cannot be parsed. Its content may be a secret.
const UNREADABLE: &str = "is not NAME=value and is skipped\n  hint: correct it, or make it a comment with #";

/// What a `.env` file adds to the environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// Settings that are not in the environment yet. They may be secrets.
    pub values: Vec<(&'static str, String)>,
    /// What is wrong with the file, one message for each line. They contain no values.
    pub warnings: Vec<String>,
    /// Names that are probably misspelt settings.
    pub misspelt: Vec<Misspelt>,
}

impl EnvFile {
    /// Reads a file. A file that does not exist, and a folder of that name, have no settings.
    ///
    /// # Errors
    /// Of kind [`Kind::Config`] if the file cannot be read.
    pub fn read(path: &Path, environment: Lookup<'_>) -> Outcome<Self> {
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        let failed = |error| {
            let mut failure = cannot("read", path, error);
            failure.kind = Kind::Config;
            failure.hint(format!("correct or remove {}", path.display()))
        };
        match read {
            Ok(_) if bytes.len() as u64 > MAX_BYTES => {
                Err(failed(std::io::Error::other("it is larger than 1 MiB")))
            }
            Ok(_) => Ok(Self::parse(&bytes, path, environment)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Parses the content of the file at `path`. Relative paths in it start at its folder.
    pub fn parse(bytes: &[u8], path: &Path, environment: Lookup<'_>) -> Self {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut scope = Scope { environment, file: BTreeMap::new() };
        let (mut warnings, mut misspelt) = (Vec::new(), Vec::new());
        // The last line of a name counts.
        let mut settings = BTreeMap::new();
        for Statement { line, binding } in parse(bytes) {
            let Some((name, value)) = binding else {
                warnings.push((line, UNREADABLE.to_owned()));
                continue;
            };
            misspelt.extend(Misspelt::find(&name, format!("line {line} of {}", path.display())));
            let value = value.map(|value| scope.expand(&value)).transpose();
            if let Some(variable) = setting(&name).filter(|variable| environment(variable.name).is_none()) {
                settings.insert(variable.name, (line, variable, value.clone()));
            }
            scope.file.insert(name, value.unwrap_or_default());
        }
        let mut values = Vec::new();
        for (line, variable, value) in settings.into_values() {
            match scope.accept(variable, value) {
                Ok(value) => {
                    let value = value.map(|value| value_in(variable.name, value, folder));
                    values.extend(value.map(|value| (variable.name, value)));
                }
                Err(problem) => {
                    let hint = format!("set {} in the environment", variable.name);
                    warnings.push((line, format!("sets {}, {problem}\n  hint: {hint}", variable.name)));
                }
            }
        }
        warnings.sort();
        let show = |(line, problem)| format!("warning: line {line} of {} {problem}", path.display());
        Self { values, warnings: warnings.into_iter().map(show).collect(), misspelt }
    }
}

/// A value with its references expanded, `None` without a value; or the first reference that is not allowed.
type Expanded = Result<Option<String>, String>;

/// The values that a reference can name.
struct Scope<'a> {
    environment: Lookup<'a>,
    /// Values of earlier lines.
    file: BTreeMap<String, Option<String>>,
}

impl Scope<'_> {
    /// Expands the references in a value. As in python-dotenv, the environment has precedence over the file.
    fn expand(&self, value: &str) -> Result<String, String> {
        expand(value, |name| match (self.environment)(name) {
            Some(value) if is_referable(name) => Ok(Some(value)),
            Some(_) => Err(name.to_owned()),
            None => Ok(self.file.get(name).map(|value| value.clone().unwrap_or_default())),
        })
    }

    /// The value that a setting gets; `None` if it stays unset.
    ///
    /// # Errors
    /// Why the file may not set it. The text follows the name.
    fn accept(&self, variable: &Variable, value: Expanded) -> Result<Option<String>, String> {
        if value.as_ref().is_ok_and(|value| !has_text(value.as_ref())) {
            return Ok(None);
        }
        match variable.sources {
            Sources::Environment => return Err("which is not read from this file".to_owned()),
            Sources::EnvironmentOrFileWith(secrets) => {
                if let Some(secret) = self.secret_from_elsewhere(secrets) {
                    return Err(format!(
                        "which is not read from this file, because {secret} is from elsewhere and would be sent there"
                    ));
                }
            }
            _ => {}
        }
        value.map_err(|name| {
            format!(
                "whose value contains ${{{name}}}; this file may not use that variable of the environment"
            )
        })
    }

    /// The first of `secrets` that may be the user's own: the file has to set the first one, and the environment may have
    /// none of them.
    fn secret_from_elsewhere(&self, secrets: &'static [&'static str]) -> Option<&'static str> {
        let first = secrets.first().filter(|first| !self.is_set_here(first));
        first.or(secrets.iter().find(|secret| (self.environment)(secret).is_some())).copied()
    }

    /// Whether the file determines a variable.
    fn is_set_here(&self, name: &str) -> bool {
        (self.environment)(name).is_none()
            && self.file.get(name).is_some_and(|value| has_text(value.as_ref()))
    }
}

fn has_text(value: Option<&String>) -> bool {
    value.is_some_and(|value| !value.trim().is_empty())
}

fn is_referable(name: &str) -> bool {
    let is_public = |variable: &&Variable| variable.sources == Sources::Any && !variable.is_secret();
    REFERABLE.contains(&name) || VARIABLES.iter().filter(is_public).any(|variable| variable.name == name)
}

/// The row of a name. Those of proxies are also read in lower case.
fn setting(name: &str) -> Option<&'static Variable> {
    let upper = if name.ends_with("_proxy") { name.to_ascii_uppercase() } else { name.to_owned() };
    VARIABLES.iter().find(|variable| variable.name == upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_environment(text: &str, environment: &[(&str, &str)]) -> EnvFile {
        let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        EnvFile::parse(text.as_bytes(), Path::new(".env"), &find)
    }

    #[track_caller]
    fn expect(file: &EnvFile, values: &[(&'static str, &str)], warnings: &[&str]) {
        let expected: Vec<_> = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(file.values, expected);
        assert_eq!(file.warnings.len(), warnings.len(), "{:?}", file.warnings);
        for (warning, words) in file.warnings.iter().zip(warnings) {
            assert!(warning.contains(words), "{words:?} is not in {warning}");
        }
    }

    #[test]
    fn settings_of_other_programs_are_ignored() {
        let text = "AWS_PROFILE=x\nPYTHONPATH=/x\nLD_PRELOAD=./x.so\nr2_account_id=x\nSAM3_PROMPT=ball\n";
        expect(&with_environment(text, &[]), &[("SAM3_PROMPT", "ball")], &[]);
    }

    #[test]
    fn the_file_sets_no_program_library_proxy_or_certificate() {
        for variable in VARIABLES.iter().filter(|variable| variable.sources == Sources::Environment) {
            let text = format!("\n{}=./x.sh\n", variable.name);
            let file = with_environment(&text, &[]);
            expect(&file, &[], &[&format!("line 2 of .env sets {}", variable.name)]);
            assert!(file.warnings[0].contains("in the environment"), "{file:?}");
        }
        let refused = |name: &str| setting(name).is_none_or(|v| v.sources == Sources::Environment);
        for name in [
            "COURTSIDE_FFMPEG",
            "COURTSIDE_FFPROBE",
            "PATH",
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "DYLD_INSERT_LIBRARIES",
            "HTTPS_PROXY",
            "https_proxy",
            "SSL_CERT_FILE",
        ] {
            assert!(refused(name), "{name}");
        }
        expect(&with_environment("https_proxy=http://x", &[]), &[], &["sets HTTPS_PROXY"]);
    }

    #[test]
    fn an_address_is_not_set_for_a_token_from_elsewhere() {
        let endpoint = ("HF_ENDPOINT", "http://x");
        let both = "HF_ENDPOINT=http://x\nHF_TOKEN=hf_mine\n";
        expect(&with_environment(both, &[]), &[endpoint, ("HF_TOKEN", "hf_mine")], &[]);
        // The token is in the environment, or perhaps in the file that `hf auth login` writes.
        for (text, environment) in [
            (both, &[("HF_TOKEN", "hf_hush")][..]),
            (both, &[("HF_TOKEN", "")]),
            ("HF_ENDPOINT=http://x\n", &[]),
            ("HF_ENDPOINT=http://x\nHF_TOKEN=\n", &[]),
            ("HF_TOKEN=hf_mine\nHF_ENDPOINT=http://x\nHF_TOKEN= \n", &[]),
        ] {
            let file = with_environment(text, environment);
            expect(&file, &[], &["sets HF_ENDPOINT, which is not read from this file, because HF_TOKEN"]);
        }
    }

    #[test]
    fn an_image_is_not_set_for_secrets_from_elsewhere() {
        let all = "COURTSIDE_IMAGE=me/worker:1\nRUNPOD_API_KEY=rpa\nR2_SECRET_ACCESS_KEY=mine\n";
        let file = with_environment(all, &[]);
        assert!(
            file.warnings.is_empty() && file.values.contains(&("COURTSIDE_IMAGE", "me/worker:1".to_owned()))
        );
        for secret in ["RUNPOD_API_KEY", "R2_SECRET_ACCESS_KEY", "RUNPOD_TERMINATE_KEY", "HF_TOKEN"] {
            let file = with_environment(all, &[(secret, "hush")]);
            assert_eq!(file.warnings.len(), 1, "{secret}");
            let words =
                format!("sets COURTSIDE_IMAGE, which is not read from this file, because {secret} is");
            assert!(file.warnings[0].contains(&words), "{}", file.warnings[0]);
        }
        let without = all.replace("RUNPOD_API_KEY=rpa\n", "").replace("IMAGE", "REGISTRY");
        let file = with_environment(&without, &[]);
        assert!(file.warnings[0].contains("because RUNPOD_API_KEY is"), "{}", file.warnings[0]);
    }

    #[test]
    fn the_environment_has_precedence_and_needs_no_warning() {
        let text = "SAM3_PROMPT=ball\nCOURTSIDE_FFMPEG=./x.sh\nHF_ENDPOINT=http://x\nSINGLE_JOB=true\n";
        let environment =
            [("SAM3_PROMPT", ""), ("COURTSIDE_FFMPEG", "/usr/bin/ffmpeg"), ("HF_ENDPOINT", "http://mirror")];
        expect(&with_environment(text, &environment), &[("SINGLE_JOB", "true")], &[]);
    }

    #[test]
    fn the_last_line_of_a_name_counts_and_empty_values_are_unset() {
        let text = "SAM3_PROMPT=ball\nSAM3_PROMPT=referee\nWORKER_ID=\nSINGLE_JOB\nCOURTSIDE_FFMPEG=\n";
        expect(&with_environment(text, &[]), &[("SAM3_PROMPT", "referee")], &[]);
    }

    #[test]
    fn values_refer_to_the_file_and_to_variables_that_are_no_secrets() {
        let text = "BASE=/games\nVIDEO_STORAGE_PATH=${BASE}/videos\nDATABASE_URL=sqlite:///${HOME}/l.db\n\
                    R2_ENDPOINT_URL=https://${R2_ACCOUNT_ID}.example\nWORKER_ID=${NONE:-x}\n";
        let environment = [("HOME", "/home/me"), ("R2_ACCOUNT_ID", "abc")];
        let values = [
            ("DATABASE_URL", "sqlite:////home/me/l.db"),
            ("R2_ENDPOINT_URL", "https://abc.example"),
            ("VIDEO_STORAGE_PATH", "/games/videos"),
            ("WORKER_ID", "x"),
        ];
        expect(&with_environment(text, &environment), &values, &[]);
    }

    #[test]
    fn secrets_of_the_environment_do_not_get_into_an_address() {
        let environment = [("HF_TOKEN", "hf_hush"), ("CI_TOKEN", "hush")];
        for name in ["HF_TOKEN", "CI_TOKEN"] {
            for text in [
                format!("R2_ENDPOINT_URL=https://${{{name}}}.example"),
                format!("X=${{{name}}}\nR2_ENDPOINT_URL=https://${{X}}.example"),
                format!("{name}=mine\nR2_ENDPOINT_URL=https://${{{name}:-x}}.example"),
            ] {
                let file = with_environment(&text, &environment);
                assert!(!format!("{file:?}").contains("hush"), "{text}: {file:?}");
            }
            let text = format!("R2_ENDPOINT_URL=https://${{{name}}}.example");
            let warning = format!("line 1 of .env sets R2_ENDPOINT_URL, whose value contains ${{{name}}}");
            expect(&with_environment(&text, &environment), &[], &[&warning]);
        }
    }

    #[test]
    fn a_line_that_cannot_be_parsed_is_named_without_its_content() {
        let file = with_environment("SAM3_PROMPT=ball\nR2_SECRET_ACCESS_KEY: hush\nSINGLE_JOB=1\n", &[]);
        expect(&file, &[("SAM3_PROMPT", "ball"), ("SINGLE_JOB", "1")], &["line 2 of .env is not NAME=value"]);
        assert!(!format!("{file:?}").contains("hush"));
    }

    #[test]
    fn a_missing_file_and_a_folder_have_no_settings() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| EnvFile::read(&folder.path().join(name), &|_| None);
        assert_eq!(read("missing").unwrap(), EnvFile::default());
        assert_eq!(read("").unwrap(), EnvFile::default());
        std::fs::write(folder.path().join("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
        assert_eq!(read("large").unwrap_err().kind, Kind::Config);
    }
}
