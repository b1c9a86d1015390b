//! Bodies about games.

use serde::Serialize;
use store::Game;
use utoipa::ToSchema;

use super::time::{date, rfc3339};

/// A game in the library.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GameBody {
    /// Id of the game in the library.
    id: i64,
    /// Its name.
    name: String,
    /// The day on which it was played, such as `2026-01-22`.
    #[schema(required)]
    date: Option<String>,
    /// Where it was played.
    #[schema(required)]
    location: Option<String>,
    /// The home team.
    #[schema(required)]
    home_team: Option<String>,
    /// The visiting team.
    #[schema(required)]
    away_team: Option<String>,
    /// When it was added to the library, RFC 3339.
    #[schema(required)]
    created_at: Option<String>,
    /// When it was last changed, RFC 3339.
    #[schema(required)]
    updated_at: Option<String>,
}

impl From<Game> for GameBody {
    fn from(game: Game) -> Self {
        Self {
            id: game.id,
            name: game.name,
            date: game.date.map(date),
            location: game.location,
            home_team: game.home_team,
            away_team: game.away_team,
            created_at: game.created_at.map(rfc3339),
            updated_at: game.updated_at.map(rfc3339),
        }
    }
}
