//! `courtside serve`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;
use courtside_http::{Access, PollIntervals, Server, ServerOptions, listen, parse_origin};

/// How long the end of the program waits for threads that are in the middle of something. What they do is one
/// transaction, or begun again at the next start.
const LAST_WAIT: Duration = Duration::from_secs(2);
const GIB: u64 = 1 << 30;

/// Serves the library over HTTP, uploads what is submitted there, and imports results as soon as they are there.
///
/// Documentation of the interface is at /docs. On another address than this machine's own it demands a token:
/// set COURTSIDE_TOKEN, and clients send it as `Authorization: Bearer TOKEN`.
///
/// Ctrl-C or SIGTERM ends it when the requests under way are answered, after 10 seconds at most; uploads go on
/// at the next start.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address or name to listen at.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen at; 0 for any that is free.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Leaves results in the bucket until `courtside import`.
    #[arg(long)]
    no_auto_import: bool,
    /// A site whose pages may use the interface, like https://games.example.org; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Largest video that is taken, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_upload: u64,
}

/// Runs the command.
pub(super) fn run(args: Args, context: Context) -> Outcome<()> {
    let Context { client, json, runtime } = context;
    let client = Arc::new(client);
    let address = address(&args)?;
    let options = ServerOptions {
        access: Access::at(address.ip(), client.settings.token.clone())?,
        auto_import: !args.no_auto_import,
        cors_origins: args.cors_origin.iter().map(|text| parse_origin(text)).collect::<Outcome<_>>()?,
        max_upload_bytes: args.max_upload * GIB,
        poll: PollIntervals { jobs: client.settings.poll, ..PollIntervals::default() },
    };
    let stop = Stop::on_signal()?;
    let served = runtime.block_on(async {
        let server = Server::new(client, options, stop)?;
        let (listener, address) = listen(address).await?;
        announce(address, json)?;
        let work = server.spawn_background_tasks();
        server.serve(listener).await;
        work.abort();
        Ok(())
    });
    runtime.shutdown_timeout(LAST_WAIT);
    served
}

/// The first address of the host.
fn address(args: &Args) -> Outcome<SocketAddr> {
    use std::net::ToSocketAddrs;
    let host = args.host.trim_start_matches('[').trim_end_matches(']');
    let unknown = || Failure::msg(Kind::Config, format!("--host {}: there is no such address", args.host));
    (host, args.port).to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(unknown)
}

/// Says where it can be reached: for people, and for programs that started it.
fn announce(address: SocketAddr, json: bool) -> Outcome<()> {
    use std::io::Write;
    let address = format!("http://{address}");
    notify(format!("serving {address}, documented at {address}/docs; Ctrl-C ends it"));
    if json {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", serde_json::json!({ "address": address }))?;
        stdout.flush()?;
    }
    Ok(())
}
