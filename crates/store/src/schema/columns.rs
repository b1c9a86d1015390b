//! Which tables and columns of the app a file has: it may be of any age.

use std::collections::BTreeSet;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params_from_iter};

use crate::error::{AtDatabase as _, Result};
use crate::schema::migrate::names;

/// The columns of a table of the app.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns(BTreeSet<String>);

impl Columns {
    /// Reads the columns of a table; none if the table does not exist.
    pub(crate) fn of(conn: &Connection, table: &str) -> Result<Self> {
        let sql = format!("SELECT name FROM pragma_table_xinfo('{table}')");
        Ok(Self(names(conn, &sql)?))
    }

    /// Whether the table does not exist.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// A list for `SELECT` of columns of the table that is called `alias`. Those that the table lacks are null.
    pub(crate) fn select(&self, alias: &str, names: &[&str]) -> String {
        let list: Vec<String> = names
            .iter()
            .map(|name| match self.has(name) {
                true => format!("{alias}.{name} AS {name}"),
                false => format!("NULL AS {name}"),
            })
            .collect();
        list.join(", ")
    }

    /// Inserts a row, without the values for which there is no column. Returns the number of rows that were added: 0 if
    /// `on_conflict` says to do nothing.
    pub(crate) fn insert(
        &self,
        conn: &Connection,
        table: &str,
        values: &[(&str, &dyn ToSql)],
        on_conflict: &str,
    ) -> Result<usize> {
        let present: Vec<_> = values.iter().filter(|(name, _)| self.has(name)).collect();
        let names: Vec<&str> = present.iter().map(|(name, _)| *name).collect();
        let places = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT INTO {table} ({}) VALUES ({places}) {on_conflict}", names.join(", "));
        let params = params_from_iter(present.iter().map(|(_, value)| *value));
        conn.prepare_cached(&sql).at(conn)?.execute(params).at(conn)
    }
}

/// The columns of the app's tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppColumns {
    pub(crate) games: Columns,
    pub(crate) videos: Columns,
    /// Empty in a file that is older than this table.
    pub(crate) jobs: Columns,
    /// Whether `games.date` takes a time, as in files of the app that are older than its type `DATE`.
    pub(crate) games_have_times: bool,
}

impl AppColumns {
    pub(crate) fn read(conn: &Connection) -> Result<Self> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version')
                AND EXISTS (SELECT 1 FROM pragma_table_info('games') WHERE name = 'date' AND upper(type) = 'DATETIME')";
        Ok(Self {
            games_have_times: conn.query_row(sql, [], |row| row.get(0)).at(conn)?,
            games: Columns::of(conn, "games")?,
            videos: Columns::of(conn, "videos")?,
            jobs: Columns::of(conn, "processing_jobs")?,
        })
    }
}
