//! The row that a job of courtside has in the app's table `processing_jobs` once it is over.
//!
//! The app's worker runs any row that is pending, so an open job has none. A row that the app changed or removed since it
//! was written is left as it is: `courtside_jobs.published` remembers the status that was written.

use rusqlite::Connection;

use super::COMMON;
use crate::enums::JobStatus;
use crate::error::{AtDatabase as _, Result};
use crate::schema::columns::AppColumns;

/// Writes, updates or removes the row of a job according to its status, within the transaction of the caller.
pub(super) fn publish(conn: &Connection, app: &AppColumns, id: &str) -> Result<()> {
    if app.jobs.is_empty() {
        return Ok(());
    }
    let sql = "SELECT status, published FROM courtside_jobs WHERE id = ?1";
    let (status, published): (String, Option<String>) =
        conn.prepare_cached(sql).at(conn)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).at(conn)?;
    let is_open = JobStatus::from_name(&status).is_some_and(JobStatus::is_open);
    match (is_open, published) {
        (true, None) => Ok(()),
        (true, Some(published)) => {
            let sql = "DELETE FROM processing_jobs WHERE id = ?1 AND status = ?2";
            conn.prepare_cached(sql).at(conn)?.execute([id, &published]).at(conn)?;
            set_published(conn, id, None)
        }
        (false, None) => insert(conn, app, id, &status),
        (false, Some(published)) => update(conn, app, id, &status, &published),
    }
}

fn insert(conn: &Connection, app: &AppColumns, id: &str, status: &str) -> Result<()> {
    let columns = common(app).join(", ");
    let sql = format!(
        "INSERT OR IGNORE INTO processing_jobs ({columns}) SELECT {columns} FROM courtside_jobs WHERE id = ?1"
    );
    match conn.prepare_cached(&sql).at(conn)?.execute([id]).at(conn)? {
        0 => Ok(()),
        _ => set_published(conn, id, Some(status)),
    }
}

fn update(conn: &Connection, app: &AppColumns, id: &str, status: &str, published: &str) -> Result<()> {
    let columns = common(app).join(", ");
    let sql = format!(
        "UPDATE processing_jobs SET ({columns}) = (SELECT {columns} FROM courtside_jobs AS c WHERE c.id = ?1)
         WHERE id = ?1 AND status = ?2"
    );
    match conn.prepare_cached(&sql).at(conn)?.execute([id, published]).at(conn)? {
        0 => Ok(()),
        _ => set_published(conn, id, Some(status)),
    }
}

/// The columns that both tables have.
fn common(app: &AppColumns) -> Vec<&'static str> {
    COMMON.into_iter().filter(|column| app.jobs.has(column)).collect()
}

fn set_published(conn: &Connection, id: &str, status: Option<&str>) -> Result<()> {
    let sql = "UPDATE courtside_jobs SET published = ?2 WHERE id = ?1";
    conn.prepare_cached(sql).at(conn)?.execute([Some(id), status]).at(conn)?;
    Ok(())
}

/// Whether the app's table has a row with this id, of any type.
pub(super) fn has_row(conn: &Connection, app: &AppColumns, id: &str) -> Result<bool> {
    if app.jobs.is_empty() {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM processing_jobs WHERE id = ?1)";
    conn.prepare_cached(sql).at(conn)?.query_row([id], |row| row.get(0)).at(conn)
}

/// Copies a job that only the app's table has into courtside's. Returns whether the app has it.
pub(super) fn take_over(conn: &Connection, app: &AppColumns, id: &str) -> Result<bool> {
    if !has_row(conn, app, id)? {
        return Ok(false);
    }
    let columns = common(app).join(", ");
    let sql = format!(
        "INSERT INTO courtside_jobs ({columns}, published) SELECT {columns}, status FROM processing_jobs WHERE id = ?1"
    );
    conn.prepare_cached(&sql).at(conn)?.execute([id]).at(conn)?;
    Ok(true)
}
