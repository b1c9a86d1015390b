//! The crate's one error type. A variant exists where a caller acts on the difference: another exit
//! code, another HTTP status, another attempt. Each message names the file, what is wrong and the
//! way out.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, ffi};

/// Result of the library.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the library could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address of the database is not one that is understood: a setting to correct.
    #[error("DATABASE_URL: {0}. Use sqlite:///./name.db (relative) or sqlite:////folder/name.db (absolute)")]
    Url(String),

    /// The file cannot be opened, made or read: the folder is missing, or permission is.
    #[error("cannot open the database {}: {detail}", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What stands in the way, and the way out.
        detail: String,
    },

    /// The file is no database of ours or of the analyzer app, or is damaged. Nothing was changed.
    #[error("{} cannot be used as the library: {detail}", path.display())]
    NotALibrary {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        detail: String,
    },

    /// The file was made by a newer courtside. Nothing was changed.
    #[error(
        "{} was made by a newer courtside (schema {found}, this one knows {known}); update courtside",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Version of the schema in the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },

    /// The file may not be written.
    #[error("the database {} is read-only; make it and its folder writable", path.display())]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },

    /// Another program kept the database locked for longer than the timeout; trying again may work.
    #[error(
        "the database {} is locked: another program (the analyzer app, or another courtside) is in the middle of \
         a write. Wait for it or close it, then try again",
        path.display()
    )]
    Busy {
        /// The database file.
        path: PathBuf,
    },

    /// The disk, or the file's permitted size, is used up. The transaction was undone.
    #[error(
        "no space left for the database {}; nothing was changed. Free some space, then try again",
        path.display()
    )]
    Full {
        /// The database file.
        path: PathBuf,
    },

    /// There is no such video.
    #[error("the library has no video {0}")]
    UnknownVideo(i64),

    /// There is no such job.
    #[error("the library has no job {0}")]
    UnknownJob(String),

    /// The state of things forbids it, as for a video whose job still runs or an id that is taken.
    #[error("{0}")]
    Conflict(String),

    /// A value that was to be stored is not acceptable; nothing of the call was kept.
    #[error("{0}")]
    BadInput(String),

    /// A value in the database is not what its column should hold.
    #[error("unexpected value in {}: {detail}", path.display())]
    BadValue {
        /// The database file.
        path: PathBuf,
        /// Table, row, column and value.
        detail: String,
    },

    /// Anything else that SQLite reports.
    #[error("the database {} failed: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// SQLite's own error.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Puts SQLite's error into our words.
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
                Self::BadValue { path, detail: format!("column {column} holds a value of type {kind}") }
            }
            _ => Self::Sqlite { path, source: error },
        }
    }

    fn from_failure(path: &Path, failure: ffi::Error, message: &str) -> Option<Self> {
        let path = path.to_path_buf();
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Some(Self::Busy { path }),
            ErrorCode::DiskFull => Some(Self::Full { path }),
            ErrorCode::ReadOnly => Some(Self::ReadOnly { path }),
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Some(Self::Open {
                path,
                detail: "it, or the files beside it, cannot be opened; check the permissions of the file and its folder"
                    .into(),
            }),
            ErrorCode::NotADatabase => Some(Self::NotALibrary {
                path,
                detail: "it is not a SQLite database; name another file in DATABASE_URL".into(),
            }),
            ErrorCode::DatabaseCorrupt => Some(Self::NotALibrary {
                path,
                detail: format!("it is damaged ({message}); restore a copy, or save what is left: sqlite3 FILE .recover"),
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
                    "the database demands a value in {column}, which courtside does not know; add the row in the app \
                     that made the database, then use it here"
                )))
            }
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Some(Self::Conflict(
                "other rows of the database refer to this one, or it refers to one that is not there; nothing was \
                 changed"
                    .into(),
            )),
            _ => None,
        }
    }
}

/// Gives SQLite's errors the name of the file they concern.
pub(crate) trait At<T> {
    /// Turns the error into ours.
    fn at(self, conn: &Connection) -> Result<T>;
}

impl<T> At<T> for rusqlite::Result<T> {
    fn at(self, conn: &Connection) -> Result<T> {
        self.map_err(|error| StoreError::from_sqlite(Path::new(conn.path().unwrap_or_default()), error))
    }
}
