//! Measures how many requests per second the server answers about a video with as many detections as a one-hour game has.
//!
//! `cargo run --release -p courtside-http --example bench_http [SECONDS] [N_CONNECTIONS]` fills a library with 1,000,651
//! detections of 659 tracks, and prints the requests per second of each route, and the size of an answer. The clients
//! accept compression, reuse their connections, and run in this process: they take part of the processor time.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use client::settings::Settings;
use client::stop::Stop;
use courtside_http::{Access, ConnectionLimits, PollIntervals, Server, ServerOptions, listen};
use store::{ImportJob, Library, NewVideo, ResultsSummary, StoreError, StoredDetection};

const N_DETECTIONS: i64 = 1_000_651;
const N_TRACKS: i64 = 659;
const PER_FRAME: i64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let seconds: f64 = args.next().map_or(Ok(5.0), |text| text.parse())?;
    let n_connections: usize = args.next().map_or(Ok(16), |text| text.parse())?;
    // The client needs it even without TLS. Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let video = fill(folder.path())?;
    println!("imported {N_DETECTIONS} detections in {:.1} s", started.elapsed().as_secs_f64());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = serve(folder.path()).await?;
        for (name, path) in [
            ("tracks", format!("/api/videos/{video}/tracks")),
            ("stats", format!("/api/videos/{video}/detections/stats")),
            ("limit=1", format!("/api/videos/{video}/detections?limit=1")),
            ("300 frames", format!("/api/videos/{video}/detections?frame_start={{start}}&frame_end={{end}}")),
            (
                "300 frames as columns",
                format!(
                    "/api/videos/{video}/detections?format=columns&frame_start={{start}}&frame_end={{end}}"
                ),
            ),
        ] {
            measure(name, &format!("http://{address}{path}"), seconds, n_connections).await?;
        }
        Ok(())
    })
}

/// Fills a library, and returns the id of its video.
fn fill(folder: &Path) -> Result<i64, StoreError> {
    let mut library = Library::open(&format!("sqlite:///{}/library.db", folder.display()))?;
    let video = library.add_video(&NewVideo::at("game.mp4"))?.id;
    library.import(&ImportJob::new("job", video, "sha256"), |writer| {
        let mut batch = Vec::with_capacity(256);
        for n in 0..N_DETECTIONS {
            let (frame, lane) = (n / PER_FRAME, n % PER_FRAME);
            // Tracks of a lane follow each other.
            let n_lanes = N_DETECTIONS / PER_FRAME / (N_TRACKS / PER_FRAME);
            let track_id = ((frame / n_lanes) * PER_FRAME + lane).min(N_TRACKS - 1 - (9 - lane));
            let bbox = [(n % 1900) as f64 + 0.25, (n % 1000) as f64 + 0.5, 41.75, 120.5];
            batch.push(StoredDetection { frame, track_id, bbox, confidence: 0.9 + (n % 999) as f64 / 1e4 });
            if batch.len() == 256 {
                writer.push(&batch)?;
                batch.clear();
            }
        }
        writer.push(&batch)?;
        Ok::<_, StoreError>(ResultsSummary { frames_processed: Some(108_000), completed_at: None })
    })?;
    Ok(video)
}

async fn serve(folder: &Path) -> Result<std::net::SocketAddr, Box<dyn Error>> {
    let path = |name: &str| format!("{}/{name}", folder.display());
    let (database, videos) = (format!("sqlite:///{}", path("library.db")), path("videos"));
    let lookup = |name: &str| match name {
        "DATABASE_URL" => Some(database.clone()),
        "VIDEO_STORAGE_PATH" => Some(videos.clone()),
        _ => None,
    };
    let client = Arc::new(Client::new(Settings::from(&lookup).map_err(|failure| failure.message())?));
    let interval = Duration::from_secs(10);
    let options = ServerOptions {
        access: Access::Loopback,
        auto_import: false,
        cors_origins: Vec::new(),
        max_upload_bytes: 1 << 30,
        poll: PollIntervals {
            jobs: interval,
            jobs_idle: interval,
            followed_job: interval,
            job_list_max_age: interval,
        },
        limits: ConnectionLimits::default(),
    };
    let (listener, address) = listen("127.0.0.1:0".parse()?).await.map_err(|failure| failure.message())?;
    let server = Server::new(client, options, Stop::default()).map_err(|failure| failure.message())?;
    tokio::spawn(async move { server.serve(listener).await });
    Ok(address)
}

/// Requests a route from many connections, and prints the rate. `{start}` and `{end}` in the address are a window of 300
/// frames, another one each time.
async fn measure(name: &str, url: &str, seconds: f64, n_connections: usize) -> Result<(), Box<dyn Error>> {
    let (n_requests, n_bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let clients: Vec<_> = (0..n_connections)
        .map(|n| {
            let (url, n_requests, n_bytes) = (url.to_owned(), n_requests.clone(), n_bytes.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                let mut window = n as u64 * 7919;
                while Instant::now() < end {
                    window = (window + 4001) % 100_000;
                    let url = url
                        .replace("{start}", &window.to_string())
                        .replace("{end}", &(window + 299).to_string());
                    let response = client.get(url).header("accept-encoding", "gzip").send().await?;
                    let body = response.error_for_status()?.bytes().await?;
                    n_requests.fetch_add(1, Ordering::Relaxed);
                    n_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                }
                Ok::<_, reqwest::Error>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let (n, bytes) = (n_requests.load(Ordering::Relaxed), n_bytes.load(Ordering::Relaxed));
    let rate = n as f64 / started.elapsed().as_secs_f64();
    println!("{name:<24}{rate:>8.0} requests/s {:>10} bytes each", bytes / n.max(1));
    Ok(())
}
