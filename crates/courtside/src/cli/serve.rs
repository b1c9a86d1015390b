//! `courtside serve`.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;
use courtside_http::{Access, ConnectionLimits, PollIntervals, Server, ServerOptions, listen, parse_origin};

/// How long the program waits at exit for threads that are still busy. Each is in one database transaction, or in
/// work that is repeated at the next start.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
const GIB: u64 = 1 << 30;
const DEFAULT_MAX_UPLOAD_GIB: u64 = 64;

/// Serve the library over HTTP: a page for the browser, and an API
///
/// Also uploads videos that are submitted over HTTP, and imports results when they are ready. The page is at /, the
/// documentation of the API at /docs. `courtside open` opens the page.
///
/// Listening on an address other than loopback requires a token: set COURTSIDE_TOKEN. Clients send it in the header
/// `Authorization: Bearer TOKEN`; the page asks for it.
///
/// On Ctrl-C or SIGTERM, the server finishes the requests in progress, for at most 10 seconds, and exits with code 0.
/// Uploads to the bucket resume at the next start.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address or host name to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on (0: any free port)
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Do not import results automatically
    #[arg(long)]
    no_auto_import: bool,
    /// Allow pages of this origin to use the API, such as https://games.example.org (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// Largest video that clients may upload, in GiB
    #[arg(long, value_name = "GIB", default_value_t = DEFAULT_MAX_UPLOAD_GIB, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_upload: u64,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        self.serve(json, "", |_| {})
    }

    /// The defaults, on this port.
    pub(super) fn on_this_machine(port: u16) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
            no_auto_import: false,
            cors_origin: Vec::new(),
            max_upload: DEFAULT_MAX_UPLOAD_GIB,
        }
    }

    /// Serves until a stop is requested. `on_listening` gets the address of the page; `page` is the part that names what to
    /// show there.
    pub(super) fn serve(self, json: bool, page: &str, on_listening: impl FnOnce(&str)) -> Outcome<()> {
        let context = Context::new(json)?;
        let settings = &context.client.settings;
        let address = resolve(&self.host, self.port)?;
        let options = ServerOptions {
            access: Access::at(address.ip(), settings.token.clone())?,
            auto_import: !self.no_auto_import,
            cors_origins: self.cors_origin.iter().map(|text| parse_origin(text)).collect::<Outcome<_>>()?,
            max_upload_bytes: self.max_upload * GIB,
            poll: PollIntervals { jobs: settings.poll, ..PollIntervals::default() },
            limits: ConnectionLimits::default(),
        };
        notify(format!("library: {}", context.library()?.path().display()));
        let Context { client, json, runtime } = context;
        let client = Arc::new(client);
        let stop = Stop::on_signal("finishing the requests in progress, for at most 10 seconds")?;
        let served = runtime.block_on(async {
            let server = Server::new(client, options, stop)?;
            let (listener, address) = listen(address).await?;
            announce(address, json)?;
            on_listening(&format!("http://{address}/{page}"));
            let work = server.spawn_background_tasks();
            server.serve(listener).await;
            work.abort();
            Ok(())
        });
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        served
    }
}

/// The first address of a host name; IPv6 addresses may be in brackets.
fn resolve(host: &str, port: u16) -> Outcome<SocketAddr> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let address = (name, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    address.ok_or_else(|| {
        Failure::msg(Kind::Config, format!("cannot listen: --host {host} is not a known host"))
    })
}

/// Prints the server's address on standard error, and with `--json` on standard output.
fn announce(address: SocketAddr, json: bool) -> Outcome<()> {
    let address = format!("http://{address}");
    notify(format!("serving {address} (API documentation at {address}/docs); press Ctrl-C to stop"));
    if json {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", serde_json::json!({ "address": address }))?;
        stdout.flush()?;
    }
    Ok(())
}
