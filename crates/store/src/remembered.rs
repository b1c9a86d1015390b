//! What the user said once and need not say again, as a price per hour.

use rusqlite::OptionalExtension;

use crate::Result;
use crate::error::At as _;
use crate::library::Library;

impl Library {
    /// Notes a value under a name, in place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Busy`](crate::StoreError::Busy) and the like.
    pub fn remember(&self, name: &str, value: &str) -> Result<()> {
        let noted = "INSERT INTO courtside_settings (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.conn.execute(noted, [name, value]).at(&self.conn)?;
        Ok(())
    }

    /// What was noted under a name.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn recall(&self, name: &str) -> Result<Option<String>> {
        let found = "SELECT value FROM courtside_settings WHERE name = ?1";
        self.conn.query_row(found, [name], |row| row.get(0)).optional().at(&self.conn)
    }
}
