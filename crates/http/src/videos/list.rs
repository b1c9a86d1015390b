//! `GET /api/videos`.

use axum::Json;
use axum::extract::State;
use store::VideoFilter;
use utoipa::IntoParams;

use crate::api_error::{ApiResult, ValidationBody};
use crate::app::{App, AppState};
use crate::extract::fields::{Fields, FromFields};
use crate::extract::query::Query;
use crate::shapes::video::{VideoState, VideosBody};

const DEFAULT_PAGE_SIZE: i64 = 20;
const MAX_PAGE_SIZE: i64 = 1000;
/// Keeps the product of page and page size within `i64`.
const MAX_PAGE: i64 = 1_000_000_000;

/// Which page of the list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The number of the page, from 1.
    #[param(minimum = 1, maximum = 1_000_000_000, default = 1)]
    page: Option<i64>,
    /// Maximum number of videos per page.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    page_size: Option<i64>,
}

impl FromFields for PageQuery {
    fn read(fields: &mut Fields) -> Self {
        let page = fields.integer("page", 1..=MAX_PAGE);
        Self { page, page_size: fields.integer("page_size", 1..=MAX_PAGE_SIZE) }
    }
}

/// Which videos.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct VideosQuery {
    /// Only videos of this game.
    game_id: Option<i64>,
    /// Only videos whose detections were, or were not, imported.
    processed: Option<bool>,
    /// Only videos with this state.
    #[param(inline, required = false)]
    processing_status: Option<VideoState>,
    #[param(ignore)]
    page: PageQuery,
}

impl FromFields for VideosQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            game_id: fields.integer("game_id", i64::MIN..=i64::MAX),
            processed: fields.flag("processed"),
            processing_status: fields.choice("processing_status", &VideoState::WORDS),
            page: PageQuery::read(fields),
        }
    }
}

/// List the videos in the library, newest first.
#[utoipa::path(
    get, path = "/api/videos", operation_id = "list_videos", tag = "videos", params(VideosQuery, PageQuery),
    responses(
        (status = 200, description = "A page of the list", body = VideosBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn list(
    State(app): State<AppState>,
    Query(query): Query<VideosQuery>,
) -> ApiResult<Json<VideosBody>> {
    let filter = VideoFilter {
        game_id: query.game_id,
        processed: query.processed,
        processing_status: query.processing_status.map(VideoState::of_store),
    };
    page(&app, filter, &query.page).await.map(Json)
}

/// A page of the videos that match a filter.
pub(crate) async fn page(app: &App, filter: VideoFilter, query: &PageQuery) -> ApiResult<VideosBody> {
    let (page, size) = (query.page.unwrap_or(1), query.page_size.unwrap_or(DEFAULT_PAGE_SIZE));
    let page = app.client.read_library(move |_, library| Ok(library.videos(filter, page, size)?)).await?;
    Ok(VideosBody {
        videos: page.items.into_iter().map(|video| app.video_body(video)).collect(),
        total: page.total,
        page: page.page,
        page_size: page.page_size,
        total_pages: page.total_pages,
    })
}
