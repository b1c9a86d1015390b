//! Rows of the app's tables that refer to detections or videos, which cannot be removed then.

use rusqlite::Connection;

use super::IdRange;
use crate::error::{AtDatabase as _, Result};

/// Whether a table of the app refers to one of these rows, which cannot be removed then.
pub(crate) fn is_referred_to(conn: &Connection, ranges: &[IdRange]) -> Result<bool> {
    for (table, column) in referrers(conn, "player_detections")? {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\" WHERE \"{column}\" BETWEEN ?1 AND ?2)");
        for IdRange { first, last } in ranges {
            if conn.query_row(&sql, [first, last], |row| row.get(0)).at(conn)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a table of the app refers to a detection of a video.
pub(crate) fn is_referred_to_of_video(conn: &Connection, video_id: i64) -> Result<bool> {
    for (table, column) in referrers(conn, "player_detections")? {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM \"{table}\" AS t JOIN player_detections AS d ON d.id = t.\"{column}\"
             WHERE d.video_id = ?1)"
        );
        if conn.query_row(&sql, [video_id], |row| row.get(0)).at(conn)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a table of the app, besides those of detections and jobs, refers to a video without being cleared with it.
pub(crate) fn is_video_referred_to(conn: &Connection, video_id: i64) -> Result<bool> {
    for (table, column) in referrers(conn, "videos")? {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\" WHERE \"{column}\" = ?1)");
        let is_cleared = ["player_detections", "processing_jobs", "courtside_imports"].contains(&&*table);
        if !is_cleared && conn.query_row(&sql, [video_id], |row| row.get(0)).at(conn)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The tables and columns that refer to rows of a table and prevent their removal.
pub(crate) fn referrers(conn: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let sql = "SELECT t.name, k.\"from\" FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS k
        WHERE t.type = 'table' AND lower(k.\"table\") = ?1 AND k.on_delete NOT IN ('CASCADE', 'SET NULL')";
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).at(conn)?;
    rows.collect::<rusqlite::Result<_>>().at(conn)
}
