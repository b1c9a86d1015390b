//! Games. Every video must belong to one; games are otherwise managed by the analyzer app.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use time::OffsetDateTime;

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::timestamp;

/// Checks that a game exists and returns its id.
pub(crate) fn existing(conn: &Connection, id: i64) -> Result<i64> {
    let found =
        conn.query_row("SELECT id FROM games WHERE id = ?1", [id], |row| row.get(0)).optional().at(conn)?;
    found.ok_or_else(|| StoreError::Conflict(format!("the library has no game {id}")))
}

/// Returns the id of a game named after a file: an existing one without videos, or a new one.
pub(crate) fn for_file(
    conn: &Connection,
    file_path: &str,
    date: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<i64> {
    let stem = Path::new(file_path).file_stem().and_then(|stem| stem.to_str()).unwrap_or(file_path);
    let name: String = stem.chars().take(100).collect();
    let empty =
        "SELECT id FROM games WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM videos WHERE game_id = games.id)
                 ORDER BY id DESC LIMIT 1";
    if let Some(id) = conn.query_row(empty, [&name], |row| row.get(0)).optional().at(conn)? {
        return Ok(id);
    }
    let kind: String = conn
        .query_row("SELECT upper(type) FROM pragma_table_info('games') WHERE name = 'date'", [], |row| {
            row.get(0)
        })
        .at(conn)?;
    let date = if kind == "DATE" { timestamp::to_date_text(date) } else { timestamp::to_text(date) };
    let now = timestamp::to_text(now);
    conn.execute(
        "INSERT INTO games (name, date, home_team, away_team, created_at, updated_at)
         VALUES (?1, ?2, 'Home', 'Away', ?3, ?3)",
        params![name, date, now],
    )
    .at(conn)?;
    Ok(conn.last_insert_rowid())
}
