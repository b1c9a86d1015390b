//! From a file to the shape of [`TABLES`]: looks first, then adds what is missing in one transaction.
//!
//! The steps are computed from what is there, not from a version: the app's own migrations may remake
//! its tables at any time and lose our columns, and a database of an older app lacks some of its own.
//! Nothing is ever altered but by adding, so two processes that come at once do the same thing once.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::{Column, TABLES, Table, VERSION};
use crate::error::At as _;
use crate::{Result, StoreError};

/// What is to be done to a file.
enum Plan {
    /// It has all that we need.
    Ready,
    /// These statements bring it there.
    Run(Vec<String>),
}

/// Brings the database to our shape, or refuses it untouched.
pub(crate) fn migrate(conn: &Connection) -> Result<()> {
    if matches!(plan(conn)?, Plan::Ready) {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate).at(conn)?;
    // Another process may have done it meanwhile.
    if let Plan::Run(statements) = plan(conn)? {
        for statement in statements {
            conn.execute_batch(&statement).at(conn)?;
        }
    }
    transaction.commit().at(conn)
}

fn plan(conn: &Connection) -> Result<Plan> {
    let tables =
        names(conn, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let found = version(conn, &tables)?;
    refuse_strangers(conn, &tables)?;
    let mut statements = Vec::new();
    for table in TABLES {
        if tables.contains(table.name) {
            add_columns(conn, table, &mut statements)?;
        } else {
            statements.push(create(table));
            statements.extend(table.indexes.iter().map(|index| (*index).to_owned()));
        }
    }
    if found != Some(VERSION) {
        statements.push("DELETE FROM courtside_schema".into());
        statements.push(format!("INSERT INTO courtside_schema (version) VALUES ({VERSION})"));
    }
    Ok(if statements.is_empty() { Plan::Ready } else { Plan::Run(statements) })
}

/// The version of our additions; a newer one is an error.
fn version(conn: &Connection, tables: &BTreeSet<String>) -> Result<Option<i64>> {
    if !tables.contains("courtside_schema") {
        return Ok(None);
    }
    let found: Option<i64> = conn
        .query_row("SELECT max(version) FROM courtside_schema", [], |row| row.get(0))
        .optional()
        .at(conn)?
        .flatten();
    match found {
        Some(found) if found > VERSION => {
            Err(StoreError::Newer { path: conn.path().unwrap_or_default().into(), found, known: VERSION })
        }
        found => Ok(found),
    }
}

/// A file full of other tables is some other program's: a wrong name in the settings, most likely.
fn refuse_strangers(conn: &Connection, tables: &BTreeSet<String>) -> Result<()> {
    let known = |name: &String| name == "alembic_version" || TABLES.iter().any(|table| table.name == name);
    if tables.is_empty() || tables.iter().any(known) {
        return Ok(());
    }
    let shown: Vec<&str> = tables.iter().take(3).map(String::as_str).collect();
    Err(not_a_library(
        conn,
        format!(
            "it is another program's database (with tables such as {}); name another file in DATABASE_URL",
            shown.join(", ")
        ),
    ))
}

fn add_columns(conn: &Connection, table: &Table, statements: &mut Vec<String>) -> Result<()> {
    let columns = names(conn, &format!("SELECT name FROM pragma_table_xinfo('{}')", table.name))?;
    for column in table.columns.iter().filter(|column| !columns.contains(column.name)) {
        if column.essential {
            let Column { name, .. } = column;
            return Err(not_a_library(
                conn,
                format!("its table {} has no column {name}; name another file in DATABASE_URL", table.name),
            ));
        }
        statements.push(format!("ALTER TABLE {} ADD COLUMN {} {}", table.name, column.name, column.kind));
    }
    Ok(())
}

fn create(table: &Table) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("{} {} {}", column.name, column.kind, column.rule).trim_end().to_owned())
        .collect();
    format!("CREATE TABLE {} (\n    {}\n)", table.name, columns.join(",\n    "))
}

fn names(conn: &Connection, sql: &str) -> Result<BTreeSet<String>> {
    let mut statement = conn.prepare(sql).at(conn)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0)).at(conn)?;
    // Names are compared as SQLite does, whatever their case.
    names.map(|name| name.map(|name| name.to_ascii_lowercase())).collect::<rusqlite::Result<_>>().at(conn)
}

fn not_a_library(conn: &Connection, detail: String) -> StoreError {
    StoreError::NotALibrary { path: conn.path().unwrap_or_default().into(), detail }
}
