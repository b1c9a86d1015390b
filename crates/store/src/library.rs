//! One connection to the library's file: opening, settings of the connection, transactions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::At as _;
use crate::{Result, StoreError, schema, url};

/// How long a call waits for another program's write unless told otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long opening waits for a moment without other connections, for a setting that can wait too.
const LOG_TIMEOUT: Duration = Duration::from_millis(250);

/// The library: one connection to one SQLite file.
///
/// Every call blocks. A connection serves one thread at a time; open another for another thread.
#[derive(Debug)]
pub struct Library {
    pub(crate) conn: Connection,
    path: PathBuf,
}

impl Library {
    /// Opens the database that `url` names (any form of `DATABASE_URL` for SQLite, or a plain path),
    /// making the file if there is none, and adds to it what is missing.
    ///
    /// # Errors
    /// [`StoreError::Url`] for an address of another kind; [`StoreError::Open`] where the folder is
    /// missing; [`StoreError::NotALibrary`], [`StoreError::Newer`] and [`StoreError::ReadOnly`] for a
    /// file that cannot serve, which is then left as it was.
    pub fn open(url: &str) -> Result<Self> {
        let path = url::to_path(url)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            let detail = format!("there is no folder {}; make it first", folder.display());
            return Err(StoreError::Open { path, detail });
        }
        Self::open_path(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// As [`Library::open`], but `None` where the file is not there: for commands that only look.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn open_existing(url: &str) -> Result<Option<Self>> {
        let path = url::to_path(url)?;
        match path.try_exists() {
            Ok(true) => Self::open_path(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(StoreError::Open { path, detail: error.to_string() }),
        }
    }

    fn open_path(path: PathBuf, flags: OpenFlags) -> Result<Self> {
        if path.is_dir() {
            return Err(StoreError::Open { path, detail: "it is a folder; name a file".into() });
        }
        let conn = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|error| StoreError::from_sqlite(&path, error))?;
        Self::prepare(conn, path)
    }

    /// Sets the connection up and migrates the file.
    pub(crate) fn prepare(conn: Connection, path: PathBuf) -> Result<Self> {
        conn.busy_timeout(BUSY_TIMEOUT).at(&conn)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(
            "PRAGMA foreign_keys = ON;
             PRAGMA synchronous = FULL;
             -- 16 MiB: larger caches made an import no faster.
             PRAGMA cache_size = -16384;
             -- What an import leaves of the log is cut back to this at the next write.
             PRAGMA journal_size_limit = 4194304;",
        )
        .at(&conn)?;
        schema::migrate(&conn)?;
        if conn.is_readonly(rusqlite::MAIN_DB).at(&conn)? {
            return Err(StoreError::ReadOnly { path });
        }
        use_write_ahead_log(&conn)?;
        conn.busy_timeout(BUSY_TIMEOUT).at(&conn)?;
        Ok(Self { conn, path })
    }

    /// The database file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long a call waits while another program writes, before [`StoreError::Busy`]; 10 s unless set.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], which is not expected.
    pub fn set_busy_timeout(&self, timeout: Duration) -> Result<()> {
        self.conn.busy_timeout(timeout).at(&self.conn)
    }

    /// Runs `work` as one transaction that writes: all of it is kept, or none.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let conn = &self.conn;
        // Locked from the start: two writers wait for each other instead of failing half-way. Callers
        // hold the library exclusively, so transactions never nest.
        let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate).at(conn)?;
        let made = work(conn)?;
        transaction.commit().at(conn)?;
        Ok(made)
    }
}

/// Readers and one writer side by side. The setting stays with the file. Where another connection is
/// in the way just now, the file works in its present mode, and whoever opens it next tries again.
fn use_write_ahead_log(conn: &Connection) -> Result<()> {
    conn.busy_timeout(LOG_TIMEOUT).at(conn)?;
    let mode: rusqlite::Result<String> = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
    match mode.at(conn) {
        Ok(_) | Err(StoreError::Busy { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
