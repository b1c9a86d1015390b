//! Brings a file to the schema in [`TABLES`] by adding what is missing, in one transaction.
//!
//! The steps follow from the tables and columns that exist, not from a version: the app's own
//! migrations can recreate its tables at any time without courtside's columns, and the database of an
//! older app lacks some of the app's own columns. The migration only adds, and checks again inside
//! its transaction, so two processes that start at the same time do not conflict.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::schema::tables::{Column, TABLES, Table, VERSION};

/// What to do with a file.
enum MigrationPlan {
    /// No table or column is missing.
    UpToDate,
    /// The statements that add what is missing.
    Run(Vec<String>),
}

/// Adds missing tables and columns, or rejects the file without changing it.
pub(crate) fn migrate(conn: &Connection) -> Result<()> {
    if matches!(plan(conn)?, MigrationPlan::UpToDate) {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate).at(conn)?;
    // Another process may have migrated the file since the first check.
    if let MigrationPlan::Run(statements) = plan(conn)? {
        for statement in statements {
            conn.execute_batch(&statement).at(conn)?;
        }
    }
    transaction.commit().at(conn)
}

fn plan(conn: &Connection) -> Result<MigrationPlan> {
    let tables =
        names(conn, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let found = version(conn, &tables)?;
    reject_other_databases(conn, &tables)?;
    let mut statements = Vec::new();
    for table in TABLES {
        if tables.contains(table.name) {
            add_columns(conn, table, &mut statements)?;
        } else {
            statements.push(create(table));
            statements.extend(table.on_create.iter().map(|statement| (*statement).to_owned()));
        }
    }
    if found != Some(VERSION) {
        statements.push("DELETE FROM courtside_schema".into());
        statements.push(format!("INSERT INTO courtside_schema (version) VALUES ({VERSION})"));
    }
    Ok(if statements.is_empty() { MigrationPlan::UpToDate } else { MigrationPlan::Run(statements) })
}

/// The version of courtside's additions in the file; an unsupported newer one is an error.
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

/// Rejects a file with only unknown tables: most likely, DATABASE_URL names the wrong file.
fn reject_other_databases(conn: &Connection, tables: &BTreeSet<String>) -> Result<()> {
    let known = |name: &String| name == "alembic_version" || TABLES.iter().any(|table| table.name == name);
    if tables.is_empty() || tables.iter().any(known) {
        return Ok(());
    }
    let shown: Vec<&str> = tables.iter().take(3).map(String::as_str).collect();
    Err(not_a_library(
        conn,
        format!(
            "it is the database of another program (it has tables such as {}); set DATABASE_URL to another file",
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
                format!("its table {} has no column {name}; set DATABASE_URL to another file", table.name),
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
    // SQLite compares names without case.
    names.map(|name| name.map(|name| name.to_ascii_lowercase())).collect::<rusqlite::Result<_>>().at(conn)
}

fn not_a_library(conn: &Connection, detail: String) -> StoreError {
    StoreError::NotALibrary { path: conn.path().unwrap_or_default().into(), detail }
}
