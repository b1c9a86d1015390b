//! Removing the rows of writes that no import names.

use rusqlite::{Connection, OptionalExtension as _};

use super::ranges::{STILL_OURS, set_end};
use super::{DEAD_AFTER_S, Pace, now_s};
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::tracks;

/// That a write `w` is garbage: no import names it, and its writer is dead. `?1` is the time, `?2` [`DEAD_AFTER_S`].
const IS_GARBAGE: &str = "abs(?1 - w.alive_at) > ?2
    AND NOT EXISTS (SELECT 1 FROM courtside_imports AS i WHERE i.write_id = w.id)";

/// Removes the rows of all writes that no import names and whose writers are dead. Returns how many rows there were.
pub(crate) fn collect_garbage(library: &Library) -> Result<i64> {
    let sql = format!("SELECT id, video_id FROM courtside_writes AS w WHERE {IS_GARBAGE} LIMIT 1");
    let conn = &library.conn;
    let mut n_removed = 0;
    loop {
        let found: Option<(i64, i64)> = conn
            .prepare_cached(&sql)
            .at(conn)?
            .query_row([now_s(), DEAD_AFTER_S], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .at(conn)?;
        let Some((write_id, video_id)) = found else {
            if n_removed > 0 {
                library.empty_log();
            }
            return Ok(n_removed);
        };
        n_removed += remove(library, write_id, video_id)?;
    }
}

/// Removes a write with its rows and tracks, unless its writer is alive after all.
fn remove(library: &Library, write_id: i64, video_id: i64) -> Result<i64> {
    let claim = format!("UPDATE courtside_writes AS w SET alive_at = 0 WHERE {IS_GARBAGE} AND w.id = ?3");
    let is_claimed =
        library.write(|conn| conn.execute(&claim, [now_s(), DEAD_AFTER_S, write_id]).at(conn))? > 0;
    if !is_claimed {
        return Ok(0);
    }
    let (mut pace, mut n_removed) = (Pace::new(), 0);
    loop {
        let mut n_left = pace.next() as i64;
        let is_empty = library.write(|conn| {
            while n_left > 0 {
                let Some(n) = remove_from_end(conn, write_id, video_id, n_left)? else { break };
                n_removed += n;
                // Also a range without rows takes time.
                n_left -= n.max(1);
            }
            if n_left > 0 {
                n_left -= tracks::delete(conn, write_id, n_left)?;
            }
            if n_left > 0 {
                conn.execute("DELETE FROM courtside_writes WHERE id = ?1", [write_id]).at(conn)?;
            }
            Ok::<_, StoreError>(n_left > 0)
        })?;
        if is_empty {
            return Ok(n_removed);
        }
    }
}

/// Removes up to `n` rows of the last range of an abandoned write, from its end, so that its first row still shows whose it
/// is. Returns how many it removed; `None` if no range is left. Each transaction looks where the range ends now: another
/// process may remove it too, and then the ids may be those of new rows.
fn remove_from_end(conn: &Connection, write_id: i64, video_id: i64, n: i64) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT first_id, last_id, {STILL_OURS} FROM courtside_ranges AS r WHERE write_id = ?1
            AND EXISTS (SELECT 1 FROM courtside_writes WHERE id = ?1 AND alive_at = 0)
         ORDER BY first_id DESC LIMIT 1"
    );
    let found = conn
        .prepare_cached(&sql)
        .at(conn)?
        .query_row([write_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional();
    let Some((first, last, is_ours)): Option<(i64, i64, bool)> = found.at(conn)? else { return Ok(None) };
    let from = if is_ours { first.max(last - n + 1) } else { first };
    let mut n_removed = 0;
    if is_ours {
        // By id: the index of the video would be read whole for each transaction.
        let sql = "DELETE FROM player_detections NOT INDEXED WHERE id BETWEEN ?1 AND ?2 AND video_id = ?3";
        n_removed = conn.prepare_cached(sql).at(conn)?.execute([from, last, video_id]).at(conn)?;
    }
    if from == first {
        let sql = "DELETE FROM courtside_ranges WHERE write_id = ?1 AND first_id = ?2";
        conn.prepare_cached(sql).at(conn)?.execute([write_id, first]).at(conn)?;
    } else {
        set_end(conn, write_id, first, from - 1)?;
    }
    Ok(Some(n_removed as i64))
}

/// Removes all detections of a video, in several transactions. Returns how many there were.
pub(crate) fn remove_all_rows(library: &Library, video_id: i64) -> Result<i64> {
    let sql = "DELETE FROM player_detections WHERE id IN
        (SELECT id FROM player_detections WHERE video_id = ?1 LIMIT ?2)";
    let (mut pace, mut n_removed) = (Pace::new(), 0);
    loop {
        let n_rows = pace.next() as i64;
        let n = library
            .write(|conn| conn.prepare_cached(sql).at(conn)?.execute([video_id, n_rows]).at(conn))?
            as i64;
        n_removed += n;
        if n < n_rows {
            return Ok(n_removed);
        }
    }
}
