//! Writing an export, and sending it.
//!
//! It is written to an unnamed file in the scratch folder first. So a client that reads slowly holds no transaction of the
//! database, an export that fails is an error and not half a file, and memory is bounded whatever the size.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use axum::body::Body;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use client::Client;
use client::atomic_file::cannot;
use client::export::{Format, LibraryDetections, Selected, Wanted};
use client::failure::{Failure, Outcome};
use client::stop::Stop;
use client::videos;
use store::{Library, Video};
use tokio_util::io::ReaderStream;

use crate::api_error::{ApiError, ApiResult};
use crate::app::App;
use crate::images::file_identity::VideoFile;
use crate::videos::stream::file_response::{content_disposition, with_body};

/// Says what a file lacks.
pub(crate) const WARNING: HeaderName = HeaderName::from_static("x-courtside-warning");
/// Bytes read from the file at a time.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// Detections to write.
pub(super) struct Export {
    pub(super) selected: Selected,
    pub(super) format: Format,
    /// Detections below this confidence are left out.
    pub(super) min_confidence: f64,
    /// Whether edits of tracks are ignored.
    pub(super) is_raw: bool,
}

/// The response with the file of an export.
pub(super) async fn send(app: &App, mut export: Export) -> ApiResult<Response> {
    let permit = app.exports.clone().acquire_owned().await.map_err(ApiError::internal)?;
    let name = export.format.file_name(&export.selected.2);
    let mut head = Response::builder()
        .header(CONTENT_TYPE, export.format.media_type())
        .header(CONTENT_DISPOSITION, content_disposition("attachment", Path::new(&name)))
        .header(CACHE_CONTROL, "private, no-cache");
    if export.format.has_times() && !read_times(app, &mut export).await? {
        head = head.header(
            WARNING,
            "the times of frames are computed from the average frame rate, because the server cannot read the file \
             of the video that was tracked",
        );
    }
    let (stop, client) = (Stop::default(), app.client.shared());
    let _guard = StopOnDrop(stop.clone());
    let written = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        write(&client, export, &stop)
    });
    let (file, n_bytes) = written.await??;
    let bytes = ReaderStream::with_capacity(tokio::fs::File::from_std(file), READ_BUFFER_BYTES);
    with_body(head.header(CONTENT_LENGTH, n_bytes), Body::from_stream(bytes))
}

/// Adds the times of frames from the file of the video. Returns false if the server cannot read the file that was added.
async fn read_times(app: &App, export: &mut Export) -> ApiResult<bool> {
    let row = export.selected.1.clone();
    let found = app.client.with_library(move |client, library| Ok(unchanged_file(client, library, &row)));
    let Some(file) = found.await? else { return Ok(false) };
    let times = match app.images.times_us(&file).await {
        Ok(times) => times,
        Err(error) => {
            tracing::warn!(cause = error.detail(), "cannot read the times of an export");
            return Ok(false);
        }
    };
    let seconds = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes) / 1e6;
    export.selected.2.frame_times_s = times.as_chunks().0.iter().map(seconds).collect();
    Ok(true)
}

/// The file of a video, if it is still the one that was added. Where its size and time do not tell, its content is compared.
fn unchanged_file(client: &Client, library: &mut Library, row: &Video) -> Option<VideoFile> {
    let path = videos::locate(&client.settings, row)?;
    let is_unchanged = videos::is_unchanged(row, &path).ok()?
        || videos::open_unchanged(&client.settings, library, row).is_ok();
    is_unchanged.then(|| VideoFile::at(&path, row.stream).ok()).flatten()
}

/// Writes an export to an unnamed file. Returns it with its size.
fn write(client: &Client, export: Export, stop: &Stop) -> Outcome<(File, u64)> {
    let Export { selected: (selection, _, info), format, min_confidence, is_raw } = export;
    let scratch = client.settings.scratch();
    let failed = |e| cannot("write in", &scratch, e);
    std::fs::create_dir_all(&scratch).map_err(|e| cannot("create", &scratch, e))?;
    let mut out = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&scratch).map_err(failed)?);
    let mut detections =
        LibraryDetections::start(client.library()?, Wanted { selection, min_confidence, is_raw }, stop);
    format.write(&mut out, &info, &mut detections, &scratch)?;
    out.flush().map_err(failed)?;
    let mut file = out.into_inner().map_err(|e| Failure::from(e.into_error()))?;
    let n_bytes = file.stream_position().map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok((file, n_bytes))
}

/// Stops an export whose client has gone.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}
