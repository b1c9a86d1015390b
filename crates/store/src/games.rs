//! Games. Every video must belong to one; games are otherwise managed by the analyzer app.

use std::path::Path;

use rusqlite::types::ToSql;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row};
use time::OffsetDateTime;

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::schema::columns::AppColumns;
use crate::timestamp;
use crate::values::Reader;

/// A row of the games table.
#[derive(Debug, Clone, PartialEq)]
pub struct Game {
    /// Primary key.
    pub id: i64,
    /// Name of the game.
    pub name: String,
    /// The day on which it was played.
    pub date: Option<OffsetDateTime>,
    /// Where it was played.
    pub location: Option<String>,
    /// The home team.
    pub home_team: Option<String>,
    /// The visiting team.
    pub away_team: Option<String>,
    /// When it was added.
    pub created_at: Option<OffsetDateTime>,
    /// When it was last changed.
    pub updated_at: Option<OffsetDateTime>,
    /// Values that cannot be read and are left out, such as `date is "soon"`.
    pub unreadable: Vec<String>,
}

impl Library {
    /// All games, latest first.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn games(&self) -> Result<Vec<Game>> {
        let sql = format!("{} ORDER BY date DESC, id DESC", self.select_games());
        let conn = &self.conn;
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let rows = statement.query_map([], read).at(conn)?;
        rows.collect::<rusqlite::Result<_>>().at(conn)
    }

    /// The game with this id; `None` if it is unknown.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn game(&self, id: i64) -> Result<Option<Game>> {
        let sql = format!("{} WHERE id = ?1", self.select_games());
        let conn = &self.conn;
        conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)
    }

    fn select_games(&self) -> String {
        let optional = ["date", "location", "home_team", "away_team", "created_at", "updated_at"];
        format!(
            "SELECT g.id AS id, g.name AS name, {} FROM games AS g",
            self.app.games.select("g", &optional)
        )
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Game> {
    let values = Reader::new(row);
    Ok(Game {
        id: row.get("id")?,
        name: values.get("name").unwrap_or_default(),
        date: values.time("date"),
        location: values.get("location"),
        home_team: values.get("home_team"),
        away_team: values.get("away_team"),
        created_at: values.time("created_at"),
        updated_at: values.time("updated_at"),
        unreadable: values.unreadable(),
    })
}

/// Checks that a game exists and returns its id.
pub(crate) fn existing(conn: &Connection, id: i64) -> Result<i64> {
    let found =
        conn.query_row("SELECT id FROM games WHERE id = ?1", [id], |row| row.get(0)).optional().at(conn)?;
    found.ok_or_else(|| StoreError::Conflict(format!("the library has no game {id}")))
}

/// Returns the id of a game named after a file: an existing one without videos, or a new one. Also returns whether it is
/// new.
pub(crate) fn for_file(
    conn: &Connection,
    app: &AppColumns,
    file_path: &str,
    date: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(i64, bool)> {
    let stem = Path::new(file_path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(file_path);
    let name: String = stem.chars().take(100).collect();
    let empty =
        "SELECT id FROM games WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM videos WHERE game_id = games.id)
                 ORDER BY id DESC LIMIT 1";
    if let Some(id) = conn.query_row(empty, [&name], |row| row.get(0)).optional().at(conn)? {
        return Ok((id, false));
    }
    let date = match app.games_have_times {
        true => timestamp::to_text(date),
        false => timestamp::to_date_text(date),
    };
    let now = timestamp::to_text(now);
    let values: [(&str, &dyn ToSql); 6] = [
        ("name", &name),
        ("date", &date),
        ("home_team", &"Home"),
        ("away_team", &"Away"),
        ("created_at", &now),
        ("updated_at", &now),
    ];
    app.games.insert(conn, "games", &values, "")?;
    Ok((conn.last_insert_rowid(), true))
}

/// Removes a game that was made for a video, unless it has other videos, was edited, or other rows of the app refer to it.
pub(crate) fn remove_made(conn: &Connection, app: &AppColumns, id: i64) -> Result<()> {
    let unchanged = if app.games.has("updated_at") && app.games.has("created_at") {
        "updated_at IS created_at"
    } else {
        "1"
    };
    let sql = format!(
        "DELETE FROM games WHERE id = ?1 AND {unchanged} AND NOT EXISTS (SELECT 1 FROM videos WHERE game_id = ?1)"
    );
    match conn.execute(&sql, [id]) {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::ConstraintViolation => {
            Ok(())
        }
        other => other.map(|_| ()).at(conn),
    }
}
