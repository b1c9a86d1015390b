//! The table of environment variables: one row for each, with its meaning and its default.
//!
//! Rows with a parser are read by [`Settings`](super::Settings). `EXTERNAL` rows are read elsewhere, by the part of
//! the program or the library that the meaning names; they are here so that one table has them all. A test compares
//! the table with `docs/configuration.md` and with every variable that the workspace's sources read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jobs::bucket::Secret;
use jobs::bucket::endpoint::Endpoint;
use jobs::manifest::{DEFAULT_PROMPT, Target};

use super::parse::{
    ACCOUNT_ID, BUCKET_NAME, CONFIDENCE, CREDENTIAL_PART, ENDPOINT, EXTERNAL, EXTERNAL_SECRET, FOLDER, Kind,
    POLL_INTERVAL, Parser, SECONDS, SECRET, SWITCH, TARGET, TEXT, invalid,
};
use crate::failure::Outcome;

/// A source of values by name: the environment, or a map in tests.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Name of the environment variable.
    pub name: &'static str,
    /// The value if it is unset or empty.
    pub default: DefaultValue,
    /// The part of the program that uses it.
    pub part: Part,
    /// Whether `.env` may set it.
    pub sources: Sources,
    /// What it does, in Markdown.
    pub meaning: &'static str,
    kind: Kind,
}

impl Variable {
    /// Whether the value must not appear in logs, errors or results.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::ExternalSecret)
    }

    /// Whether [`Settings`](super::Settings) parses it.
    pub fn is_parsed_here(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Secret)
    }

    /// Whether it has a value that is not empty.
    pub(super) fn is_set(&self, lookup: Lookup<'_>) -> bool {
        self.value(lookup).is_some()
    }

    fn value(&self, lookup: Lookup<'_>) -> Option<String> {
        lookup(self.name).map(|value| tidy(&value).to_owned()).filter(|value| !value.is_empty())
    }
}

/// The settings whose values in the environment have blanks or quotes around them, or are empty, with the values that
/// are meant; `None` for unset. Some are read by libraries, which do not remove these.
pub fn untidy(environment: Lookup<'_>) -> Vec<(&'static str, Option<String>)> {
    let of_this_program = |variable: &&Variable| !matches!(variable.part, Part::System | Part::Tests);
    let settings = VARIABLES.iter().filter(of_this_program);
    let given = settings.filter_map(|variable| Some((variable.name, environment(variable.name)?)));
    let tidied = given.filter(|(_, value)| value.is_empty() || tidy(value) != value);
    tidied.map(|(name, value)| (name, Some(tidy(&value).to_owned()).filter(|v| !v.is_empty()))).collect()
}

/// A value without the blanks and the pair of quotes around it that some tools leave there, such as
/// `docker run --env-file`.
fn tidy(value: &str) -> &str {
    let value = value.trim();
    let inside =
        |quote| value.strip_prefix(quote)?.strip_suffix(quote).filter(|inside| !inside.contains(quote));
    inside('"').or_else(|| inside('\'')).map_or(value, str::trim)
}

/// The value of a variable that is unset or empty. Displays as Markdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// No value: the setting stays unset.
    Unset,
    /// This value, which is parsed like one that the user sets.
    Value(&'static str),
    /// This value, which another part of the program applies.
    AppliedLater(&'static str),
    /// A value that is computed as described.
    Computed(&'static str),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("—"),
            Self::Value(value) | Self::AppliedLater(value) => write!(f, "`{value}`"),
            Self::Computed(description) => f.write_str(description),
        }
    }
}

/// Where the value of a variable may come from. A `.env` file may be of another author than the environment is, for
/// example in a cloned repository. So it must not choose programs to run, or a server that receives the user's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// The environment, or `.env`.
    Any,
    /// Only the environment.
    Environment,
    /// The environment, or a `.env` that also sets the first of these secrets, if none of them is in the environment: they
    /// are sent to the address that this variable names, or into the image.
    EnvironmentOrFileWith(&'static [&'static str]),
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Environment => f.write_str("Not read from `.env`."),
            Self::EnvironmentOrFileWith(secrets) => {
                let (first, others) = secrets.split_first().unwrap_or((&"", &[]));
                write!(f, "Read from `.env` only if that sets `{first}`, too")?;
                let others: Vec<String> = others.iter().map(|secret| format!("`{secret}`")).collect();
                match others.split_last() {
                    None => f.write_str("."),
                    Some((last, others)) => {
                        write!(f, ", and the environment has neither {} nor {last}.", others.join(", "))
                    }
                }
            }
        }
    }
}

/// The part of the program that uses a variable: a section of `docs/configuration.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Connecting to the S3 server.
    Bucket,
    /// The database and the videos.
    Library,
    /// Defaults for submitted jobs.
    Jobs,
    /// Defaults for `courtside worker`.
    Worker,
    /// Machines that are rented from a provider.
    Machines,
    /// Finding and downloading the model.
    Model,
    /// The HTTP server, `courtside serve`.
    Http,
    /// Logging, ffmpeg, reproducible results, threads.
    Program,
    /// Variables of the operating system.
    System,
    /// Running the tests; the program itself does not read them.
    Tests,
}

impl Part {
    /// Every part, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Bucket,
        Self::Library,
        Self::Jobs,
        Self::Worker,
        Self::Machines,
        Self::Model,
        Self::Http,
        Self::Program,
        Self::System,
        Self::Tests,
    ];

    /// The heading of its section.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bucket => "S3 server",
            Self::Library => "Library",
            Self::Jobs => "Defaults for jobs",
            Self::Worker => "Worker",
            Self::Machines => "Rented machines",
            Self::Model => "Model",
            Self::Http => "HTTP server",
            Self::Program => "Logging, ffmpeg and threads",
            Self::System => "Operating system",
            Self::Tests => "Tests",
        }
    }
}

/// A row with its parser.
pub(super) struct Setting<T: 'static> {
    pub(super) variable: Variable,
    parser: Parser<T>,
}

impl<T> Setting<T> {
    /// Reads and parses the value. `None` if it is unset and the row has no default value.
    pub(super) fn read(&self, lookup: Lookup<'_>) -> Outcome<Option<T>> {
        let name = self.variable.name;
        let default = match self.variable.default {
            DefaultValue::Value(value) => Some(value.to_owned()),
            _ => None,
        };
        let value = self.variable.value(lookup).or(default);
        value.map(|value| (self.parser.parse)(&value).map_err(|problem| invalid(name, problem))).transpose()
    }
}

/// Defines a constant for each row and [`VARIABLES`] with all of them.
macro_rules! variables {
    ($($name:ident: $type:ty = $parser:ident, $default:expr, $part:ident, $sources:expr, $meaning:expr;)*) => {
        $(
            pub(super) const $name: Setting<$type> = Setting {
                variable: Variable {
                    name: stringify!($name),
                    default: $default,
                    part: Part::$part,
                    sources: $sources,
                    meaning: $meaning,
                    kind: $parser.kind,
                },
                parser: $parser,
            };
        )*

        /// Every environment variable that the program reads.
        pub const VARIABLES: &[Variable] = &[$($name.variable),*];
    };
}

/// The secrets that a rented machine gets, and the one that pays for it.
const MACHINE_SECRETS: [&str; 4] =
    ["RUNPOD_API_KEY", "R2_SECRET_ACCESS_KEY", "RUNPOD_TERMINATE_KEY", "HF_TOKEN"];

use DefaultValue::{AppliedLater, Computed, Unset, Value};
use Sources::{Any, Environment, EnvironmentOrFileWith};

variables! {
    R2_ACCOUNT_ID: String = ACCOUNT_ID, Unset, Bucket, Any,
        "Cloudflare account id. Determines the endpoint unless `R2_ENDPOINT_URL` is set.";
    R2_ENDPOINT_URL: Endpoint = ENDPOINT, Computed("`https://ACCOUNT_ID.r2.cloudflarestorage.com`"), Bucket, Any,
        "Address of the S3 server, beginning with `https://` or `http://`.";
    R2_ACCESS_KEY_ID: String = CREDENTIAL_PART, Unset, Bucket, Any,
        "Id of the access key.";
    R2_SECRET_ACCESS_KEY: Secret = SECRET, Unset, Bucket, Any,
        "The secret part of the access key.";
    R2_BUCKET_NAME: String = BUCKET_NAME, Value("basketball-analyzer"), Bucket, Any,
        "Name of the bucket, and of the folder next to the database that holds local jobs.";
    R2_REGION: String = CREDENTIAL_PART, Value("auto"), Bucket, Any,
        "Region that requests are signed for. R2 uses `auto`; other servers may need their own.";

    COURTSIDE_HOME: PathBuf = FOLDER, Computed("the nearest folder with a library, searched upwards from the working folder"), Library, Environment,
        "Folder of the library: it holds the database, the folder of local jobs, the videos and `.env`. Same as `--library`.";
    DATABASE_URL: String = TEXT, Value("sqlite:///./basketball_analyzer.db"), Library, Any,
        "The SQLite database. `sqlite+aiosqlite:///` is accepted too; four slashes begin an absolute path.";
    VIDEO_STORAGE_PATH: PathBuf = FOLDER, Value("./videos"), Library, Any,
        "Folder for uploaded videos and, in `.courtside`, for files that are being transferred or tracked, and for thumbnails, up to 256 MiB.";

    SAM3_PROMPT: String = TEXT, AppliedLater(DEFAULT_PROMPT), Jobs, Any,
        "The phrase that names what to track, for jobs without `--prompt`.";
    SAM3_CONFIDENCE_THRESHOLD: f64 = CONFIDENCE, AppliedLater("0.25"), Jobs, Any,
        "Lowest confidence in the results, 0 to 1, for jobs without `--confidence-threshold`.";

    WORKER_MODE: Target = TARGET, Computed("`cloud` if an S3 server is configured, else `local`"), Worker, Any,
        "Which jobs the worker processes without `--cloud` or `--local`: `cloud` or `local`.";
    WORKER_ID: String = TEXT, Computed("the host name and a random suffix"), Worker, Any,
        "Name of the worker in manifests and logs. Same as `--worker-id`.";
    SINGLE_JOB: bool = SWITCH, Value("false"), Worker, Any,
        "Exit after one job: `true` or `false`. Same as `--once`.";
    WORKER_IDLE_SHUTDOWN: Duration = SECONDS, Value("0"), Worker, Any,
        "Exit after being idle for this many seconds; 0 means never. Same as `--idle-exit`.";
    WORKER_WHEN_DONE: () = EXTERNAL, AppliedLater("auto"), Worker, Environment,
        "What to do once there is nothing left to do: `auto` (end the machine if RunPod or Vast rents it out), `exit`, `terminate`, or a command for the shell, which finds the reason in `COURTSIDE_REASON`. Same as `--when-done`.";
    CLOUD_WORKER_POLL_INTERVAL: Duration = POLL_INTERVAL, Value("10"), Worker, Any,
        "Seconds between polls of an active bucket, at least 0.1.";

    RUNPOD_API_KEY: () = EXTERNAL_SECRET, Unset, Machines, Any,
        "Key of RunPod's API, for `courtside launch` and `courtside machines`. On a machine of RunPod, RunPod sets it to a key for that machine.";
    RUNPOD_TERMINATE_KEY: () = EXTERNAL_SECRET, Unset, Machines, Any,
        "A key of yours with which a worker on RunPod ends its machine if the machine's own key may not. `courtside launch` passes it on as a secret.";
    COURTSIDE_IMAGE: () = EXTERNAL, Unset, Machines, EnvironmentOrFileWith(&MACHINE_SECRETS),
        "Image of the worker for `courtside launch`. Same as `--image`.";
    COURTSIDE_REGISTRY: () = EXTERNAL, Unset, Machines, EnvironmentOrFileWith(&MACHINE_SECRETS),
        "ID of the login in your RunPod account with which a private image is pulled. Same as `--registry`.";
    RUNPOD_POD_ID: () = EXTERNAL, Unset, Machines, Environment,
        "Set by RunPod: the machine that the program runs on.";
    CONTAINER_ID: () = EXTERNAL, Unset, Machines, Environment,
        "Set by Vast: the machine that the program runs on.";
    VAST_CONTAINERLABEL: () = EXTERNAL, Unset, Machines, Environment,
        "Set by Vast: `C.` and the same id.";
    CONTAINER_API_KEY: () = EXTERNAL_SECRET, Unset, Machines, Environment,
        "Set by Vast: the key of that machine.";
    RUNPOD_API_URL: () = EXTERNAL, AppliedLater("https://api.runpod.io"), Machines, Environment,
        "Address of RunPod's API.";
    VAST_API_URL: () = EXTERNAL, AppliedLater("https://console.vast.ai"), Machines, Environment,
        "Address of Vast's API.";

    CLOUD_MODEL_PATH: String = TEXT, Computed("`/models/sam3` if it exists, else the Hugging Face cache"), Model, Any,
        "Folder with `config.json` and `model.safetensors`. Same as `--model`.";
    HF_TOKEN: () = EXTERNAL_SECRET, Unset, Model, Any,
        "Hugging Face token with access to `facebook/sam3`, for downloading the model. `courtside launch` passes it on as a secret.";
    HF_HUB_CACHE: () = EXTERNAL, Computed("`$HF_HOME/hub`"), Model, Any,
        "Folder of the Hugging Face cache.";
    HF_HOME: () = EXTERNAL, Computed("`~/.cache/huggingface`"), Model, Any,
        "Folder of Hugging Face files, if `HF_HUB_CACHE` is unset.";
    HF_ENDPOINT: () = EXTERNAL, AppliedLater("https://huggingface.co"), Model, EnvironmentOrFileWith(&["HF_TOKEN"]),
        "Address of the Hugging Face hub or a mirror.";

    COURTSIDE_TOKEN: Secret = SECRET, Unset, Http, Any,
        "Token that HTTP clients must send as `Authorization: Bearer TOKEN`, at least 16 characters: `openssl rand -hex 32` makes a good one.";

    COURTSIDE_LOG: () = EXTERNAL, AppliedLater("warn"), Program, Any,
        "Log level on standard error: `error`, `warn`, `info`, `debug` or `trace`, also by crate as in `jobs=debug,warn`.";
    COURTSIDE_FFMPEG: () = EXTERNAL, Computed("`ffmpeg` on `PATH`"), Program, Environment,
        "The ffmpeg program.";
    COURTSIDE_FFPROBE: () = EXTERNAL, Computed("`ffprobe` on `PATH`"), Program, Environment,
        "The ffprobe program.";
    SOURCE_DATE_EPOCH: () = EXTERNAL, Computed("the video file's modification time"), Program, Any,
        "The `completed_at` of results that `courtside track` writes, in seconds since 1970.";
    RAYON_NUM_THREADS: () = EXTERNAL, Computed("the number of CPU threads"), Program, Any,
        "Number of threads for tracking on the CPU. Results do not depend on it.";

    PATH: () = EXTERNAL, Unset, System, Environment,
        "Where to search for ffmpeg, ffprobe and `nvidia-smi`.";
    HOSTNAME: () = EXTERNAL, Computed("the content of `/etc/hostname`"), System, Environment,
        "Host name in manifests and in the default worker id.";
    HTTPS_PROXY: () = EXTERNAL, Unset, System, Environment,
        "Proxy for `https` addresses. Also in lower case, as the other proxy settings.";
    HTTP_PROXY: () = EXTERNAL, Unset, System, Environment,
        "Proxy for `http` addresses.";
    ALL_PROXY: () = EXTERNAL, Unset, System, Environment,
        "Proxy for addresses without one of their own.";
    NO_PROXY: () = EXTERNAL, Unset, System, Environment,
        "Hosts that are contacted without a proxy, separated by commas.";
    SSL_CERT_FILE: () = EXTERNAL, Computed("the certificates of the system"), System, Environment,
        "File with the certificates of the authorities that servers are trusted by.";
    SSL_CERT_DIR: () = EXTERNAL, Computed("the certificates of the system"), System, Environment,
        "Folder with such certificates.";
    LD_LIBRARY_PATH: () = EXTERNAL, Unset, System, Environment,
        "Passed to child processes, which otherwise start with an empty environment.";
    DYLD_LIBRARY_PATH: () = EXTERNAL, Unset, System, Environment,
        "Passed to child processes, on macOS.";
    DYLD_FALLBACK_LIBRARY_PATH: () = EXTERNAL, Unset, System, Environment,
        "Passed to child processes, on macOS.";

    COURTSIDE_TEST_DEVICE: () = EXTERNAL, Computed("the CPU, in f32"), Tests, Environment,
        "Device for the engine's tests, which then run in bfloat16: `cpu`, `cuda` or `metal`.";
    COURTSIDE_TEST_KERNELS: () = EXTERNAL, Unset, Tests, Environment,
        "`fused` tests the fused kernels on a GPU.";
    COURTSIDE_S3_VENV: () = EXTERNAL, AppliedLater("target/s3-servers/venv"), Tests, Environment,
        "Python environment with the S3 servers that the tests start.";
}
