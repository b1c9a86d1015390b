//! A library whose database does not exist: what a command that only reads sees before anything was added.

use rusqlite::Connection;

use crate::error::{Result, StoreError};
use crate::library::{Access, Library};
use crate::url;

impl Library {
    /// An empty library in memory, in place of the database that `url` names. Nothing is created on disk, and changes
    /// are lost when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Url`] for an unsupported URL.
    pub fn absent(url: &str) -> Result<Self> {
        let path = url::to_path(url)?;
        let conn = Connection::open_in_memory().map_err(|error| StoreError::from_sqlite(&path, error))?;
        Self::prepare(conn, path, Access::Write)
    }
}
