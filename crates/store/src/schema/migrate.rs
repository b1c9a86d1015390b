//! Brings a file to the schema in one transaction.
//!
//! In a new file, courtside creates all tables. In a file of the app, it creates its own tables and leaves the app's as
//! they are, whatever their age: a column or table that is added here would break the app's own migration that adds it.
//! The steps follow from what exists and are planned again inside the transaction, so two processes that start at the
//! same time do not conflict.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::schema::tables::{APP_TABLES, OWN_TABLES, REQUIRED, SCHEMA, Table, VERSION};
use crate::schema::upgrade;

/// The mark of the app's migrations.
const APPS_MARK: &str = "alembic_version";

/// What to do with a file.
enum MigrationPlan {
    /// Nothing is missing.
    UpToDate,
    /// The statements that add what is missing.
    Run(Vec<String>),
}

/// Adds missing tables, or rejects the file without changing it.
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

/// Name of the schema in which [`attach_missing`] makes tables.
const MISSING: &str = "courtside_missing";

/// Whether the file has courtside's tables, of any version.
pub(crate) fn is_set_up(conn: &Connection) -> Result<bool> {
    Ok(tables(conn)?.contains(SCHEMA))
}

/// Makes the missing tables in memory, empty, so that the file can be read without a change to it. SQLite looks for a
/// table in the file first: once the file has one, that one is used. A file that cannot be used is rejected.
pub(crate) fn attach_missing(conn: &Connection) -> Result<()> {
    plan(conn)?;
    conn.execute_batch(&format!("ATTACH ':memory:' AS {MISSING}")).at(conn)?;
    let present = tables(conn)?;
    let is_apps = is_of_app(&present);
    let missing = |table: &&Table| !present.contains(table.name);
    let apps = APP_TABLES.iter().filter(|_| !is_apps).filter(missing);
    for table in OWN_TABLES.iter().filter(missing).chain(apps) {
        conn.execute_batch(&table.create(MISSING)).at(conn)?;
    }
    Ok(())
}

/// Removes the tables that [`attach_missing`] made, once the file has them.
pub(crate) fn detach_missing(conn: &Connection) -> Result<()> {
    conn.execute_batch(&format!("DETACH {MISSING}")).at(conn)
}

fn tables(conn: &Connection) -> Result<BTreeSet<String>> {
    names(conn, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
}

fn plan(conn: &Connection) -> Result<MigrationPlan> {
    let tables = tables(conn)?;
    let found = version(conn, &tables)?;
    reject_other_databases(conn, &tables)?;
    let mut statements = Vec::new();
    let is_apps = is_of_app(&tables);
    for table in APP_TABLES.iter().filter(|table| tables.contains(table.name)) {
        check_columns(conn, table)?;
    }
    for table in APP_TABLES.iter().filter(|table| !tables.contains(table.name)) {
        if !is_apps {
            create(table, &mut statements);
        } else if REQUIRED.contains(&table.name) {
            return Err(incomplete(conn, table));
        }
    }
    for table in OWN_TABLES {
        match tables.contains(table.name) {
            true => add_columns(conn, table, &mut statements)?,
            false => create(table, &mut statements),
        }
    }
    if found != Some(VERSION) {
        if found == Some(1) {
            statements.extend(upgrade::from_1(conn, !is_apps)?);
        }
        if found == Some(2) {
            statements.push(upgrade::TRACKS.to_owned());
        }
        statements.push("DELETE FROM courtside_schema".into());
        statements.push(format!("INSERT INTO courtside_schema (version) VALUES ({VERSION})"));
    }
    Ok(if statements.is_empty() { MigrationPlan::UpToDate } else { MigrationPlan::Run(statements) })
}

/// Whether the app's tables were created by the app.
fn is_of_app(tables: &BTreeSet<String>) -> bool {
    let has_tables = APP_TABLES.iter().any(|table| tables.contains(table.name));
    tables.contains(APPS_MARK) || (has_tables && !tables.contains(SCHEMA))
}

/// The version of courtside's tables in the file; an unsupported newer one is an error.
fn version(conn: &Connection, tables: &BTreeSet<String>) -> Result<Option<i64>> {
    if !tables.contains(SCHEMA) {
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
    let is_ours = |name: &String| APP_TABLES.iter().chain(OWN_TABLES).any(|table| table.name == name);
    if tables.is_empty() || tables.iter().any(|name| name == APPS_MARK || is_ours(name)) {
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

fn incomplete(conn: &Connection, table: &Table) -> StoreError {
    let name = table.name;
    not_a_library(conn, format!("it has no table {name}; run the migrations of the analyzer app first"))
}

/// Rejects a table of the app that lacks what courtside cannot do without.
fn check_columns(conn: &Connection, table: &Table) -> Result<()> {
    let columns = columns_of(conn, table)?;
    match table.columns.iter().find(|column| column.essential && !columns.contains(column.name)) {
        None => Ok(()),
        Some(column) => Err(not_a_library(
            conn,
            format!(
                "its table {} has no column {}; set DATABASE_URL to another file",
                table.name, column.name
            ),
        )),
    }
}

/// Adds what an earlier version's table of courtside lacks.
fn add_columns(conn: &Connection, table: &Table, statements: &mut Vec<String>) -> Result<()> {
    let columns = columns_of(conn, table)?;
    for column in table.columns.iter().filter(|column| !columns.contains(column.name)) {
        statements.push(format!("ALTER TABLE {} ADD COLUMN {} {}", table.name, column.name, column.kind));
    }
    Ok(())
}

fn create(table: &Table, statements: &mut Vec<String>) {
    statements.push(table.create("main"));
    statements.extend(table.on_create.iter().map(|statement| (*statement).to_owned()));
}

fn columns_of(conn: &Connection, table: &Table) -> Result<BTreeSet<String>> {
    names(conn, &format!("SELECT name FROM pragma_table_xinfo('{}')", table.name))
}

/// The names that a query returns, in lower case: SQLite compares names without case.
pub(crate) fn names(conn: &Connection, sql: &str) -> Result<BTreeSet<String>> {
    let mut statement = conn.prepare(sql).at(conn)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0)).at(conn)?;
    names.map(|name| name.map(|name| name.to_ascii_lowercase())).collect::<rusqlite::Result<_>>().at(conn)
}

fn not_a_library(conn: &Connection, detail: String) -> StoreError {
    StoreError::NotALibrary { path: conn.path().unwrap_or_default().into(), detail }
}
