//! Detections of a video: themselves, and figures about them.

use std::collections::HashMap;
use std::fmt::Write;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use store::{DetectionQuery, DetectionRow, DetectionScope, DetectionTotals};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use super::extract::{Fields, FromFields, Query, VideoId};
use super::problem::{Answer, ErrorBody, Problem, ValidationBody};
use super::shapes::{DetectionBody, DetectionsBody, StatsBody, TracksBody};
use super::state::App;
use client::videos;

const DEFAULT_LIMIT: i64 = 50_000;
const MAX_LIMIT: i64 = 500_000;
/// Detections written at a time: some 200 kB.
const CHUNK: usize = 1024;

/// Which detections.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DetectionsQuery {
    /// From this frame on.
    #[param(minimum = 0)]
    frame_start: Option<i64>,
    /// Up to and with this frame.
    #[param(minimum = 0)]
    frame_end: Option<i64>,
    /// At least so sure.
    #[param(minimum = 0.0, maximum = 1.0)]
    min_confidence: Option<f64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500_000, default = 50_000)]
    limit: Option<i64>,
    /// Those that this job brought; without it, all jobs' are mixed, and tracks of different jobs are different
    /// tracks whatever their numbers.
    #[param(max_length = 128)]
    job_id: Option<String>,
}

impl FromFields for DetectionsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            frame_start: fields.integer("frame_start", 0..=i64::MAX),
            frame_end: fields.integer("frame_end", 0..=i64::MAX),
            min_confidence: fields.number("min_confidence", 0.0..=1.0),
            limit: fields.integer("limit", 1..=MAX_LIMIT),
            job_id: fields.text("job_id", 128),
        }
    }
}

/// Lists detections of a video, by frame, then track.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/detections", operation_id = "list_detections", tag = "detections",
    params(("video_id" = i64, Path, description = "The video"), DetectionsQuery),
    responses(
        (status = 200, description = "The detections", body = DetectionsBody),
        (status = 404, description = "There is no such video", body = ErrorBody),
        (status = 422, description = "A parameter is wrong", body = ValidationBody),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    VideoId(id): VideoId,
    Query(query): Query<DetectionsQuery>,
) -> Answer<Response> {
    let query = DetectionQuery {
        frame_start: query.frame_start,
        frame_end: query.frame_end,
        min_confidence: query.min_confidence,
        job_id: query.job_id,
        limit: Some(query.limit.unwrap_or(DEFAULT_LIMIT) as u32),
    };
    // Some hundred bytes a row are held until the client has read them: long lists not for many at once.
    let turn = match query.limit.is_some_and(|limit| i64::from(limit) > DEFAULT_LIMIT) {
        true => Some(app.listings.clone().acquire_owned().await.map_err(Problem::internal)?),
        false => None,
    };
    let (totals, rows, imports) = app
        .library(move |_, library| {
            videos::known(library, id)?;
            let imports = library.imports(id)?.into_iter().map(|import| (import.id, import.job_id));
            let rows = library.detections(id, &query)?;
            Ok((library.detection_totals(id, &query)?, rows, imports.collect()))
        })
        .await?;
    let text = Text::new(id, totals, rows, imports, turn);
    let body = Body::from_stream(futures::stream::iter(text.map(Ok::<_, std::io::Error>)));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The answer's JSON, made while it is sent: the rows are small, their text is not.
struct Text {
    before: Option<String>,
    rows: std::vec::IntoIter<DetectionRow>,
    /// Jobs by the number of their import.
    imports: HashMap<i64, String>,
    _turn: Option<OwnedSemaphorePermit>,
    is_first: bool,
    is_over: bool,
}

impl Text {
    fn new(
        id: i64,
        totals: DetectionTotals,
        rows: Vec<DetectionRow>,
        imports: HashMap<i64, String>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let head = DetectionsBody {
            video_id: id,
            total_detections: totals.total_detections,
            frames_with_detections: totals.frames_with_detections,
            detections: Vec::new(),
        };
        let mut before = serde_json::to_string(&head).unwrap_or_default();
        // The list is the last field: `]}` comes at the end.
        before.truncate(before.len().saturating_sub(2));
        let rows = rows.into_iter();
        Self { before: Some(before), rows, imports, _turn: turn, is_first: true, is_over: false }
    }
}

impl Iterator for Text {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let mut text = self.before.take().unwrap_or_default();
        for row in self.rows.by_ref().take(CHUNK) {
            let comma = if std::mem::take(&mut self.is_first) { "" } else { "," };
            let job_id = row.import_id.and_then(|id| self.imports.get(&id)).map(String::as_str);
            let json = serde_json::to_string(&DetectionBody::of(&row, job_id)).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{json}");
        }
        if self.rows.len() == 0 {
            text.push_str("]}");
            self.is_over = true;
        }
        Some(text.into())
    }
}

/// Figures about the detections of a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/detections/stats", operation_id = "get_detection_stats", tag = "detections",
    params(("video_id" = i64, Path, description = "The video")),
    responses(
        (status = 200, description = "The figures", body = StatsBody),
        (status = 404, description = "There is no such video", body = ErrorBody),
        (status = 422, description = "That is no number", body = ValidationBody),
    )
)]
pub(super) async fn stats(State(app): State<App>, VideoId(id): VideoId) -> Answer<Json<StatsBody>> {
    let stats = app.library(move |_, library| {
        videos::known(library, id)?;
        Ok(library.detection_stats(DetectionScope::Video(id))?)
    });
    Ok(Json(StatsBody::of(id, &stats.await?)))
}

/// Lists the tracks of a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/tracks", operation_id = "list_tracks", tag = "detections",
    params(("video_id" = i64, Path, description = "The video")),
    responses(
        (status = 200, description = "The tracks", body = TracksBody),
        (status = 404, description = "There is no such video", body = ErrorBody),
        (status = 422, description = "That is no number", body = ValidationBody),
    )
)]
pub(super) async fn tracks(State(app): State<App>, VideoId(id): VideoId) -> Answer<Json<TracksBody>> {
    let tracks = app.library(move |_, library| {
        videos::known(library, id)?;
        Ok(library.track_summaries(DetectionScope::Video(id))?)
    });
    let tracks = tracks.await?.into_iter().map(Into::into).collect();
    Ok(Json(TracksBody { video_id: id, tracks }))
}
