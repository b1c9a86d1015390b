//! `courtside open`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobs::bucket::Secret;
use serde::{Deserialize, Serialize};
use store::Library;

use super::{Context, serve};
use crate::http_client;
use client::export::find_video;
use client::failure::{Failure, Kind, Outcome};
use client::terminal::notify;
use client::videos;

/// How long a server on this machine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Open the page in the browser: games, their tracks and jobs
///
/// Starts the server if none runs for this library on the port, and then serves until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to show: a video (its number or file name) or a job (its ID or the beginning of it, @latest) [default: all
    /// games]
    #[arg(value_name = "VIDEO|JOB")]
    what: Option<String>,
    /// Port of the server
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Print the address of the page instead of opening a browser
    #[arg(long)]
    no_browser: bool,
}

/// The page of a server that runs already.
#[derive(Debug, Serialize)]
struct Opened {
    url: String,
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)
    }
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let library = context.library_to_read()?;
        let page =
            self.what.as_deref().map_or(Ok(String::new()), |what| page_of(&context, &library, what))?;
        let token = context.client.settings.token.clone();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let running = context.runtime.block_on(server_at(address, token));
        if running.is_some_and(|path| is_same_file(&path, library.path())) {
            let url = format!("http://{address}/{page}");
            context.print(&Opened { url: url.clone() })?;
            if !self.no_browser {
                show(&url);
            }
            return Ok(());
        }
        drop(library);
        drop(context);
        let has_browser = !self.no_browser;
        serve::Args::on_this_machine(self.port).serve(json, &page, move |url| {
            if has_browser {
                show(url);
            }
        })
    }
}

/// The part of the page's address that shows a video or a job.
fn page_of(context: &Context, library: &Library, what: &str) -> Outcome<String> {
    if let Some(id) = find_video(library, what)? {
        return videos::find(library, id).map(|video| format!("#/videos/{}", video.id));
    }
    let id = context.job(library, what)?;
    let row = library.job(id.as_str())?;
    let video = row.and_then(|row| row.video_id).ok_or_else(|| {
        Failure::msg(Kind::Failed, format!("job {id} tracks a video of another library"))
            .hint(format!("run `courtside import --job-id {id}` to bring it into this library"))
    })?;
    Ok(format!("#/videos/{video}?job={id}"))
}

/// The database of the Courtside that serves at an address; `None` if none does, or it has another token.
async fn server_at(address: SocketAddr, token: Option<Secret>) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Session {
        library: Option<PathBuf>,
    }
    let client = http_client::builder().timeout(TIMEOUT).no_proxy().build().ok()?;
    let mut request = client.get(format!("http://{address}/api/session"));
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {}", token.reveal()));
    }
    let mut response = request.send().await.ok()?;
    let mut body = Vec::new();
    // Another program may listen there, and send without end.
    while let Some(chunk) = response.chunk().await.ok()?.filter(|_| body.len() < MAX_ANSWER_BYTES) {
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice::<Session>(&body).ok()?.library
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Opens the user's browser. If that fails, prints the address to open.
fn show(url: &str) {
    if open::that_detached(url).is_err() {
        notify(format!("found no browser to start: open {url}"));
    }
}
