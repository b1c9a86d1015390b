//! `fake-r2`: the fake server as a separate process, for experiments and for running Courtside against it.
//!
//! Prints one line of JSON when clients can connect, keeps its content in memory, and runs until it is
//! killed.

use std::time::Duration;

use clap::Parser;
use s3_fixture::{FakeR2, FakeR2Options, RandomFaults};

/// Run an S3 server on loopback that follows R2's rules and fails on demand.
#[derive(Debug, Parser)]
#[command(name = "fake-r2")]
struct Arguments {
    /// Port on 127.0.0.1 (0: any free port).
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Name of the only bucket.
    #[arg(long, default_value = "courtside-test")]
    bucket: String,
    /// Reject requests that are not signed with this access key id. By default signatures are not required.
    #[arg(long)]
    access_key_id: Option<String>,
    /// Minimum duration of every request.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Allow one write per key and second, like R2.
    #[arg(long)]
    limit_writes: bool,
    /// Probabilities of faults, for example
    /// `drop=0.02,commit-then-drop=0.02,server-error=0.01,slow-down=0.01,hang=0.001,
    /// commit-then-error=0.02,commit-then-hang=0.001,corrupt=0,truncate=0,delay=0.1`.
    #[arg(long, default_value = "", value_parser = parse_faults)]
    faults: RandomFaults,
    /// Inject faults only for keys with this prefix.
    #[arg(long, default_value = "")]
    faults_prefix: String,
    /// Longest random delay, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    max_delay_ms: u64,
    /// Seed of the random faults: the same seed and the same requests give the same faults.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let server = FakeR2::start_with(FakeR2Options {
        port: arguments.port,
        bucket: arguments.bucket,
        access_key_id: arguments.access_key_id,
    });
    server.set_latency(Duration::from_millis(arguments.latency_ms));
    if arguments.limit_writes {
        server.set_min_write_interval(Duration::from_secs(1));
    }
    let faults = RandomFaults {
        seed: arguments.seed,
        key_prefix: arguments.faults_prefix,
        max_delay: Duration::from_millis(arguments.max_delay_ms),
        ..arguments.faults
    };
    server.set_faults(faults.plan());
    let connection = server.connection();
    let ready = serde_json::json!({
        "port": server.port(),
        "endpoint": connection.endpoint,
        "bucket": connection.bucket,
        "region": connection.region,
        "access_key_id": connection.access_key_id,
        "secret_access_key": connection.secret_access_key,
    });
    println!("{ready}");
    loop {
        std::thread::park();
    }
}

/// Parses `--faults`: `name=probability` pairs separated by commas.
fn parse_faults(text: &str) -> Result<RandomFaults, String> {
    let mut faults = RandomFaults::default();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, probability) =
            pair.split_once('=').ok_or_else(|| format!("`{pair}` is not name=probability"))?;
        let probability = probability.parse().ok().filter(|p| (0.0..=1.0).contains(p));
        let probability =
            probability.ok_or_else(|| format!("the probability of {name} must be between 0 and 1"))?;
        let field = match name {
            "drop" => &mut faults.drop,
            "server-error" => &mut faults.server_error,
            "slow-down" => &mut faults.slow_down,
            "hang" => &mut faults.hang,
            "commit-then-error" => &mut faults.commit_then_error,
            "commit-then-drop" => &mut faults.commit_then_drop,
            "commit-then-hang" => &mut faults.commit_then_hang,
            "corrupt" => &mut faults.corrupt,
            "truncate" => &mut faults.truncate,
            "delay" => &mut faults.delay,
            _ => return Err(format!("unknown fault `{name}`")),
        };
        *field = probability;
    }
    Ok(faults)
}
