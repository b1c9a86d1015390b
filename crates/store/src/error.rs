//! The crate's error type. Each variant is handled differently by some caller: another exit code,
//! another HTTP status, or a retry. Messages name the file, the problem and the fix.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};

/// Result of a call to the library.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the library cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database URL is not supported. The user must correct the setting.
    #[error("DATABASE_URL: {0}. Use sqlite:///./name.db (relative) or sqlite:////folder/name.db (absolute)")]
    Url(String),

    /// The file cannot be opened, created or read: the folder or the permission is missing.
    #[error("cannot open the database {}: {detail}", path.display())]
    Open {
        /// Absolute path of the database file.
        path: PathBuf,
        /// The cause, and how to fix it.
        detail: String,
    },

    /// The file is not a database of courtside or the analyzer app, or is damaged. It was not changed.
    #[error("{} cannot be used as the library: {detail}", path.display())]
    NotALibrary {
        /// Absolute path of the database file.
        path: PathBuf,
        /// What is wrong with it, and how to fix it.
        detail: String,
    },

    /// The file was written by a newer version of courtside. It was not changed.
    #[error(
        "{} was written by a newer version of courtside (schema {found}, this version supports {known}); update courtside",
        path.display()
    )]
    Newer {
        /// Absolute path of the database file.
        path: PathBuf,
        /// Version of the schema in the file.
        found: i64,
        /// Newest version that this program supports.
        known: i64,
    },

    /// The file cannot be written.
    #[error("the database {} is read-only; make it and its folder writable", path.display())]
    ReadOnly {
        /// Absolute path of the database file.
        path: PathBuf,
    },

    /// Another program kept the database locked for longer than the timeout. A retry may succeed.
    #[error(
        "the database {} is locked: another program (the analyzer app, or another courtside) is writing to it. Wait \
         for that program or close it, then try again",
        path.display()
    )]
    Busy {
        /// Absolute path of the database file.
        path: PathBuf,
    },

    /// The disk is full, or the file has reached its maximum size. The transaction was rolled back.
    #[error(
        "no space left for the database {}; nothing was changed. Free some disk space, then try again",
        path.display()
    )]
    Full {
        /// Absolute path of the database file.
        path: PathBuf,
    },

    /// The library has no video with this id.
    #[error("the library has no video {0}")]
    UnknownVideo(i64),

    /// The library has no job with this id.
    #[error("the library has no job {0}")]
    UnknownJob(String),

    /// The current state does not allow the operation, such as removing a video whose job is running, or adding
    /// a job with an existing id.
    #[error("{0}")]
    Conflict(String),

    /// A value to store is invalid. Nothing was stored.
    #[error("{0}")]
    BadInput(String),

    /// A value in the database is invalid for its column.
    #[error("unexpected value in {}: {detail}", path.display())]
    BadValue {
        /// Absolute path of the database file.
        path: PathBuf,
        /// The table, row, column and value.
        detail: String,
    },

    /// Another thread ended the operation; see [`Interrupter`](crate::Interrupter).
    #[error("the operation on the database was interrupted")]
    Interrupted,

    /// Any other error from SQLite.
    #[error("the database {} failed: {source}", path.display())]
    Sqlite {
        /// Absolute path of the database file.
        path: PathBuf,
        /// The error from SQLite.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Converts an error of SQLite.
    pub(crate) fn from_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match &error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                let message = message.as_deref().unwrap_or_default();
                Self::from_failure(&path, *failure, message)
                    .unwrap_or_else(|| Self::Sqlite { path, source: error })
            }
            rusqlite::Error::FromSqlConversionFailure(_, _, cause) => {
                Self::BadValue { path, detail: cause.to_string() }
            }
            rusqlite::Error::InvalidColumnType(_, column, kind) => {
                Self::BadValue { path, detail: format!("column {column} contains a value of type {kind}") }
            }
            _ => Self::Sqlite { path, source: error },
        }
    }

    fn from_failure(path: &Path, failure: ffi::Error, message: &str) -> Option<Self> {
        let path = path.to_path_buf();
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(Self::Busy { path }),
            ErrorCode::OperationInterrupted => Some(Self::Interrupted),
            ErrorCode::DiskFull => Some(Self::Full { path }),
            ErrorCode::ReadOnly => Some(Self::ReadOnly { path }),
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Some(Self::Open {
                path,
                detail: "it, or a file next to it, cannot be opened; check the permissions of the file and its folder"
                    .into(),
            }),
            ErrorCode::NotADatabase => Some(Self::NotALibrary {
                path,
                detail: "it is not a SQLite database; set DATABASE_URL to another file".into(),
            }),
            ErrorCode::DatabaseCorrupt => Some(Self::NotALibrary {
                path,
                detail: format!("it is damaged ({message}); restore a backup, or recover the remaining data with: sqlite3 FILE .recover"),
            }),
            ErrorCode::ConstraintViolation => Self::from_constraint(failure.extended_code, message),
            _ => None,
        }
    }

    fn from_constraint(extended_code: i32, message: &str) -> Option<Self> {
        match extended_code {
            // "NOT NULL constraint failed: games.season"
            ffi::SQLITE_CONSTRAINT_NOTNULL => {
                let column = message.rsplit(": ").next().unwrap_or(message);
                Some(Self::Conflict(format!(
                    "the database requires a value in {column}, which courtside does not know; add the row in the app \
                     that created the database, then use it here"
                )))
            }
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Some(Self::Conflict(
                "other rows of the database refer to this one, or it refers to a row that does not exist; nothing \
                 was changed"
                    .into(),
            )),
            _ => None,
        }
    }
}

/// Converts errors of SQLite and adds the path of the database.
pub(crate) trait AtDatabase<T> {
    /// Converts the error of an operation on `conn`.
    fn at(self, conn: &Connection) -> Result<T>;
}

impl<T> AtDatabase<T> for rusqlite::Result<T> {
    fn at(self, conn: &Connection) -> Result<T> {
        self.map_err(|error| StoreError::from_sqlite(Path::new(conn.path().unwrap_or_default()), error))
    }
}
