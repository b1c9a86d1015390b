//! Settings of a connection, and what a file lacks: added when it is opened to be written to, or before the first write.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use super::{BUSY_TIMEOUT, Library, file_id, schema_version};
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::schema::columns::AppColumns;
use crate::schema::migrate::{attach_missing, detach_missing, is_set_up, migrate};
use crate::{tracks, videos};

/// How long opening waits for other connections to switch the file to WAL mode, which is optional.
const WAL_TIMEOUT: Duration = Duration::from_millis(250);

/// What a library is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The file gets what it lacks.
    Write,
    /// The file is not changed before something is written.
    Read,
}

impl Library {
    /// Configures the connection and migrates the file.
    pub(crate) fn prepare(conn: Connection, path: PathBuf, access: Access) -> Result<Self> {
        conn.busy_timeout(BUSY_TIMEOUT).at(&conn)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(
            "PRAGMA foreign_keys = ON;
             PRAGMA synchronous = FULL;
             -- 16 MiB; larger caches do not make imports faster.
             PRAGMA cache_size = -16384;
             -- The log is copied into the file after 32 MiB, not after each transaction of an import.
             PRAGMA wal_autocheckpoint = 8192;
             -- The write-ahead log of an import is truncated to this size by the next write.
             PRAGMA journal_size_limit = 4194304;",
        )
        .at(&conn)?;
        let is_set_up = access == Access::Write || is_set_up(&conn)?;
        match is_set_up {
            true => migrate(&conn)?,
            false => attach_missing(&conn)?,
        }
        let app = AppColumns::read(&conn)?;
        if conn.is_readonly(rusqlite::MAIN_DB).at(&conn)? {
            return Err(StoreError::ReadOnly { path });
        }
        let library = Self {
            file_id: file_id(&path),
            schema_version: Cell::new(schema_version(&conn)?),
            is_set_up: Cell::new(is_set_up),
            checked: RefCell::default(),
            busy_timeout: Cell::new(BUSY_TIMEOUT),
            conn,
            app,
            path,
        };
        if is_set_up {
            library.enable_write_ahead_log()?;
            match access {
                Access::Write => library.update_own_tables()?,
                Access::Read => library.unless_busy(Self::update_own_tables)?,
            }
        }
        Ok(library)
    }

    /// Brings courtside's tables up to date with those of the app.
    fn update_own_tables(&self) -> Result<()> {
        videos::forget_removed(self)?;
        tracks::complete_older_imports(self)
    }

    /// Gives the file what it lacks, before the first write to a file that was opened to be read.
    pub(crate) fn set_up(&self) -> Result<()> {
        if self.is_set_up.get() {
            return Ok(());
        }
        migrate(&self.conn)?;
        self.use_own_tables()?;
        self.enable_write_ahead_log()?;
        self.update_own_tables()
    }

    fn use_own_tables(&self) -> Result<()> {
        detach_missing(&self.conn)?;
        self.is_set_up.set(true);
        self.schema_version.set(schema_version(&self.conn)?);
        Ok(())
    }

    /// Whether the file has courtside's tables. A file of the app that was opened to be read may lack them.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn is_set_up(&self) -> Result<bool> {
        // Another program may have added them since.
        if !self.is_set_up.get() && self.conn.is_autocommit() && is_set_up(&self.conn)? {
            self.use_own_tables()?;
        }
        Ok(self.is_set_up.get())
    }

    /// Switches the file to WAL mode, in which readers do not wait for the writer. The setting is stored
    /// in the file. If another connection prevents the switch, the file keeps its current mode until it is
    /// opened again.
    fn enable_write_ahead_log(&self) -> Result<()> {
        let conn = &self.conn;
        conn.busy_timeout(WAL_TIMEOUT).at(conn)?;
        let mode: rusqlite::Result<String> =
            conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        conn.busy_timeout(self.busy_timeout.get()).at(conn)?;
        match mode.at(conn) {
            Ok(_) | Err(StoreError::Busy { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
