//! Small settings that are stored in the database, such as the price of a GPU hour.

use rusqlite::OptionalExtension;

use crate::error::{AtDatabase as _, Result};
use crate::library::Library;

impl Library {
    /// Saves a setting, replacing an earlier value of the same name.
    ///
    /// # Errors
    /// [`StoreError::Busy`](crate::StoreError::Busy), [`StoreError::Full`](crate::StoreError::Full).
    pub fn set_setting(&self, name: &str, value: &str) -> Result<()> {
        let sql = "INSERT INTO courtside_settings (name, value) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.write(|conn| conn.execute(sql, [name, value]).at(conn))?;
        Ok(())
    }

    /// The value of a setting; `None` if it was never saved.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) if the file cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM courtside_settings WHERE name = ?1";
        self.conn.query_row(sql, [name], |row| row.get(0)).optional().at(&self.conn)
    }
}
