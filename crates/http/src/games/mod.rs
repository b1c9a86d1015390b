//! Routes about games. The app manages them; here they are read.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::GameIdPath;
use crate::extract::query::Query;
use crate::shapes::game::GameBody;
use crate::shapes::video::VideosBody;
use crate::videos::list::{PageQuery, page};

/// List the games, latest first.
#[utoipa::path(
    get, path = "/api/games", operation_id = "list_games", tag = "games",
    responses((status = 200, description = "The games", body = Vec<GameBody>))
)]
pub(crate) async fn list(State(app): State<AppState>) -> ApiResult<Json<Vec<GameBody>>> {
    let games = app.client.read_library(|_, library| Ok(library.games()?)).await?;
    Ok(Json(games.into_iter().map(GameBody::from).collect()))
}

/// Show a game.
#[utoipa::path(
    get, path = "/api/games/{game_id}", operation_id = "get_game", tag = "games", params(GameIdPath),
    responses(
        (status = 200, description = "The game", body = GameBody),
        (status = 404, description = "No such game", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn get(
    State(app): State<AppState>,
    GameIdPath { game_id }: GameIdPath,
) -> ApiResult<Json<GameBody>> {
    let game = app.client.read_library(move |_, library| Ok(library.game(game_id)?)).await?;
    game.map(|game| Json(game.into())).ok_or_else(|| no_game(game_id))
}

/// List the videos of a game, newest first.
#[utoipa::path(
    get, path = "/api/games/{game_id}/videos", operation_id = "list_game_videos", tag = "games",
    params(GameIdPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list", body = VideosBody),
        (status = 404, description = "No such game", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn videos(
    State(app): State<AppState>,
    GameIdPath { game_id }: GameIdPath,
    Query(query): Query<PageQuery>,
) -> ApiResult<Json<VideosBody>> {
    let game = app.client.read_library(move |_, library| Ok(library.game(game_id)?)).await?;
    if game.is_none() {
        return Err(no_game(game_id));
    }
    let filter = store::VideoFilter { game_id: Some(game_id), ..store::VideoFilter::default() };
    page(&app, filter, &query).await.map(Json)
}

fn no_game(id: i64) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("Game {id} not found"))
}
