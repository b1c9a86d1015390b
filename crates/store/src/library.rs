//! A connection to the database file: opening, and transactions.

mod setup;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::schema::columns::AppColumns;
use crate::stored::Checked;
use crate::{url, videos};

pub(crate) use setup::Access;

/// Default time that a call waits while another program writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The library: a connection to its SQLite file.
///
/// Every call blocks. One thread at a time can use a connection; open another one for each thread.
#[derive(Debug)]
pub struct Library {
    pub(crate) conn: Connection,
    /// What the app's tables have.
    pub(crate) app: AppColumns,
    path: PathBuf,
    /// Device and inode of the file.
    file_id: Option<(u64, u64)>,
    /// Changes when a program changes the tables.
    schema_version: Cell<i64>,
    /// Whether the file has courtside's tables. If not, empty ones in memory take their place.
    is_set_up: Cell<bool>,
    /// How long a call waits while another program writes.
    busy_timeout: Cell<Duration>,
    /// Which stored totals are current.
    pub(crate) checked: RefCell<Checked>,
}

impl Library {
    /// Opens the database at `url` (any form of `DATABASE_URL` for SQLite, or a plain path). Creates the
    /// file if it does not exist. In a file of the app, only adds courtside's own tables.
    ///
    /// # Errors
    /// [`StoreError::Url`] for an unsupported URL; [`StoreError::Open`] if the folder is missing;
    /// [`StoreError::NotALibrary`], [`StoreError::Newer`] and [`StoreError::ReadOnly`] for a file that is
    /// not usable, which is not changed.
    pub fn open(url: &str) -> Result<Self> {
        let path = url::to_path(url)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            let detail = format!("the folder {} does not exist; create it first", folder.display());
            return Err(StoreError::Open { path, detail });
        }
        Self::open_path(path, OpenFlags::SQLITE_OPEN_CREATE, Access::Write)
    }

    /// Like [`Library::open`], but returns `None` if the file does not exist. For commands that only read: a file of the
    /// app that courtside never wrote to stays as it is until something is written, and opening does not wait for
    /// other writers.
    ///
    /// # Errors
    /// As for [`Library::open`].
    pub fn open_existing(url: &str) -> Result<Option<Self>> {
        let path = url::to_path(url)?;
        match path.try_exists() {
            Ok(true) => Self::open_path(path, OpenFlags::empty(), Access::Read).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(StoreError::Open { path, detail: error.to_string() }),
        }
    }

    fn open_path(path: PathBuf, flags: OpenFlags, access: Access) -> Result<Self> {
        if path.is_dir() {
            return Err(StoreError::Open {
                path,
                detail: "it is a folder; set DATABASE_URL to a file".into(),
            });
        }
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)
            .map_err(|error| StoreError::from_sqlite(&path, error))?;
        Self::prepare(conn, path, access)
    }

    /// Runs `work`, which fails with [`StoreError::Busy`] if another program is writing, instead of waiting for it.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Sqlite`] (unexpected).
    pub fn without_waiting<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.conn.busy_timeout(Duration::ZERO).at(&self.conn)?;
        let result = work(self);
        self.conn.busy_timeout(self.busy_timeout.get()).at(&self.conn)?;
        result
    }

    /// Does work that can be done later: if another program is writing, it is skipped.
    fn unless_busy(&self, work: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.conn.busy_timeout(Duration::ZERO).at(&self.conn)?;
        let result = work(self);
        self.conn.busy_timeout(self.busy_timeout.get()).at(&self.conn)?;
        match result {
            Err(StoreError::Busy { .. }) => Ok(()),
            other => other,
        }
    }

    /// The database file, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the connection can be used as if it had been opened now. If not, for example because a backup was
    /// restored or the app has migrated the file, open another one.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn is_current(&self) -> Result<bool> {
        if file_id(&self.path) != self.file_id || schema_version(&self.conn)? != self.schema_version.get() {
            return Ok(false);
        }
        self.unless_busy(videos::forget_removed)?;
        Ok(true)
    }

    /// Runs `work`, which only reads, on one snapshot of the database: what other programs write meanwhile is not visible.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::Sqlite`] where the file cannot be read.
    pub fn snapshot<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.conn.execute_batch("BEGIN").at(&self.conn)?;
        let result = work(self);
        // An interrupted statement may have ended the transaction.
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK").at(&self.conn)?;
        }
        result
    }

    /// Runs `work` on one snapshot: that of [`Self::snapshot`], if the caller runs there.
    pub(crate) fn read_consistently<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.conn.is_autocommit() {
            return work();
        }
        let transaction =
            Transaction::new_unchecked(&self.conn, TransactionBehavior::Deferred).at(&self.conn)?;
        let result = work();
        transaction.finish().at(&self.conn)?;
        result
    }

    /// A handle with which another thread can end what this connection is doing; see [`Interrupter::interrupt`].
    pub fn interrupter(&self) -> Interrupter {
        Interrupter(self.conn.get_interrupt_handle())
    }

    /// Sets how long a call waits while another program writes, before [`StoreError::Busy`]. Default 10 s.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] (unexpected).
    pub fn set_busy_timeout(&self, timeout: Duration) -> Result<()> {
        self.busy_timeout.set(timeout);
        self.conn.busy_timeout(timeout).at(&self.conn)
    }

    /// Copies the write-ahead log into the file, so that the next writer need not. Other programs can write meanwhile.
    pub(crate) fn empty_log(&self) {
        // It is only an optimisation: readers may prevent it.
        let _ = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }

    /// Runs `work` in one write transaction, which is rolled back if `work` fails.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Connection) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.set_up()?;
        let conn = &self.conn;
        // IMMEDIATE locks at the start, so two writers wait for each other instead of failing half-way.
        // No caller runs inside another transaction, so transactions never nest.
        let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate).at(conn)?;
        let result = work(conn)?;
        transaction.commit().at(conn)?;
        Ok(result)
    }
}

fn schema_version(conn: &Connection) -> Result<i64> {
    conn.query_row("PRAGMA schema_version", [], |row| row.get(0)).at(conn)
}

#[cfg(unix)]
fn file_id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn file_id(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Ends the work of a [`Library`] from another thread.
pub struct Interrupter(rusqlite::InterruptHandle);

impl std::fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

impl Interrupter {
    /// Ends the statement that runs now, if there is one, with [`StoreError::Interrupted`].
    pub fn interrupt(&self) {
        self.0.interrupt();
    }
}

/// A number that changes when another connection changes the database.
pub(crate) fn data_version(conn: &Connection) -> Result<i64> {
    conn.query_row("PRAGMA data_version", [], |row| row.get(0)).at(conn)
}
