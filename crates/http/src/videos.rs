//! Videos: listed, shown, registered where they are.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use utoipa::{IntoParams, ToSchema};
use video::VideoError;

use super::extract::{Fields, FromFields, Query, VideoId, media_type, required_body, unsupported};
use super::incoming;
use super::problem::{Answer, ErrorBody, Issue, Problem, ValidationBody};
use super::shapes::{VideoBody, VideosBody};
use super::state::App;
use client::failure::Failure;
use client::videos;

const DEFAULT_PAGE_SIZE: i64 = 20;
const MAX_PAGE_SIZE: i64 = 1000;
/// So that page times size fits.
const MAX_PAGE: i64 = 1_000_000_000;
/// Longest path of a registration, as the library has it.
const MAX_PATH_CHARS: usize = 500;

/// Which part of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Page, from 1.
    #[param(minimum = 1, maximum = 1_000_000_000, default = 1)]
    page: Option<i64>,
    /// Videos to a page.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    page_size: Option<i64>,
}

impl FromFields for PageQuery {
    fn read(fields: &mut Fields) -> Self {
        let page = fields.integer("page", 1..=MAX_PAGE);
        Self { page, page_size: fields.integer("page_size", 1..=MAX_PAGE_SIZE) }
    }
}

/// Lists the videos, newest first.
#[utoipa::path(
    get, path = "/api/videos", operation_id = "list_videos", tag = "videos", params(PageQuery),
    responses(
        (status = 200, description = "A page of the videos", body = VideosBody),
        (status = 422, description = "A parameter is wrong", body = ValidationBody),
    )
)]
pub(super) async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> Answer<Json<VideosBody>> {
    let (page, size) = (query.page.unwrap_or(1), query.page_size.unwrap_or(DEFAULT_PAGE_SIZE));
    let page = app.library(move |_, library| Ok(library.videos(page, size)?)).await?;
    Ok(Json(VideosBody {
        videos: page.items.into_iter().map(VideoBody::from).collect(),
        total: page.total,
        page: page.page,
        page_size: page.page_size,
        total_pages: page.total_pages,
    }))
}

/// Shows a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}", operation_id = "get_video", tag = "videos",
    params(("video_id" = i64, Path, description = "The video")),
    responses(
        (status = 200, description = "The video", body = VideoBody),
        (status = 404, description = "There is no such video", body = ErrorBody),
        (status = 422, description = "That is no number", body = ValidationBody),
    )
)]
pub(super) async fn get(State(app): State<App>, VideoId(id): VideoId) -> Answer<Json<VideoBody>> {
    let video = app.library(move |_, library| videos::known(library, id)).await?;
    Ok(Json(video.into()))
}

/// A file to register.
#[derive(Debug, ToSchema)]
pub(super) struct RegisterRequest {
    /// The file: in the server's video folder, by its whole path or from that folder on.
    #[schema(min_length = 1, max_length = 500, pattern = r"\S")]
    file_path: String,
}

impl FromFields for RegisterRequest {
    fn read(fields: &mut Fields) -> Self {
        let given = fields.is_given("file_path");
        let file_path = fields.text("file_path", MAX_PATH_CHARS).unwrap_or_default();
        if !given {
            fields.missing("file_path");
        }
        Self { file_path }
    }
}

/// A file to upload.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described: what arrives goes to the disk in pieces")]
struct UploadForm {
    /// The video.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Adds a video: uploads it, or registers a file that is in the server's video folder already.
#[utoipa::path(
    post, path = "/api/videos", operation_id = "add_video", tag = "videos",
    request_body(content((RegisterRequest = "application/json"), (UploadForm = "multipart/form-data"))),
    responses(
        (status = 201, description = "The video", body = VideoBody),
        (status = 400, description = "The body could not be read", body = ErrorBody),
        (status = 408, description = "Nothing came for too long", body = ErrorBody),
        (status = 413, description = "The video is too large", body = ErrorBody),
        (status = 415, description = "The body is neither JSON nor a form", body = ErrorBody),
        (status = 422, description = "That is no video, or none in the video folder", body = ValidationBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(super) async fn add(State(app): State<App>, request: Request) -> Answer<(StatusCode, Json<VideoBody>)> {
    let video = match media_type(&request).as_deref() {
        Some("multipart/form-data") => incoming::receive(&app, request).await?,
        Some("application/json") => {
            let RegisterRequest { file_path } = required_body(request, &app).await?;
            register(&app, file_path).await?
        }
        _ => return Err(unsupported("multipart/form-data or application/json")),
    };
    Ok((StatusCode::CREATED, Json(video)))
}

async fn register(app: &App, file_path: String) -> Answer<VideoBody> {
    let folder = app.client.settings.video_folder.clone();
    let inside = tokio::task::spawn_blocking(move || within(&folder, &file_path)).await?;
    let Some(file) = inside else {
        let msg = "there is no such file in the video folder";
        return Err(Problem::invalid(vec![Issue::new("body", "file_path", "value_error", msg)]));
    };
    let added = app.at_desk(move |_, library| videos::add(library, &file)).await;
    added.map(VideoBody::from).map_err(|failure| no_video(failure, "file_path"))
}

/// The real file that a path means, if it lies in the folder. What is outside is not told from what is not
/// there.
fn within(folder: &Path, file_path: &str) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let file = folder.join(file_path).canonicalize().ok()?;
    let inner = file.strip_prefix(&folder).ok()?;
    // Our own files begin with a dot.
    let is_hidden = inner.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    (file.is_file() && !is_hidden).then_some(file)
}

/// What it means when a file cannot be added.
pub(super) fn no_video(failure: Failure, field: &str) -> Problem {
    use VideoError as E;
    match failure.cause() {
        Some(E::NotVideo { .. } | E::UnsupportedCodec { .. } | E::TooLarge { .. } | E::Decode { .. }) => {
            let text = failure.message();
            Problem::invalid(vec![Issue::new("body", field, "value_error", text)])
        }
        _ => match failure.cause() {
            Some(store::StoreError::BadInput(why)) => {
                Problem::invalid(vec![Issue::new("body", field, "value_error", why)])
            }
            _ => failure.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_within() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("videos");
        std::fs::create_dir_all(folder.join("day/.courtside")).unwrap();
        for file in ["videos/a.mp4", "videos/day/b.mp4", "videos/day/.courtside/c.mp4", "secret.mp4"] {
            std::fs::write(root.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(root.path().join("secret.mp4"), folder.join("link.mp4")).unwrap();
        std::os::unix::fs::symlink(root.path(), folder.join("up")).unwrap();
        std::os::unix::fs::symlink(folder.join("a.mp4"), folder.join("alias.mp4")).unwrap();
        let real = folder.canonicalize().unwrap();
        let whole = real.join("a.mp4");
        for inside in ["a.mp4", "./day/../a.mp4", whole.to_str().unwrap(), "alias.mp4"] {
            assert_eq!(within(&folder, inside).as_deref(), Some(&*whole), "{inside}");
        }
        assert_eq!(within(&folder, "day/b.mp4"), Some(real.join("day/b.mp4")));
        let outside = root.path().join("secret.mp4");
        for refused in [
            "../secret.mp4",
            outside.to_str().unwrap(),
            "link.mp4",
            "up/secret.mp4",
            "day",
            "",
            ".",
            "none.mp4",
            "day/.courtside/c.mp4",
            "a.mp4\0",
            "/etc/passwd",
        ] {
            assert_eq!(within(&folder, refused), None, "{refused}");
        }
    }
}
