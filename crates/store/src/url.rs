//! `DATABASE_URL` to a path: the forms that SQLAlchemy takes for SQLite, and plain paths.

use std::path::{Path, PathBuf};

use crate::{Result, StoreError};

/// The file that an address means, made absolute against the working folder.
///
/// `sqlite:///x.db` is relative and `sqlite:////x.db` absolute, as SQLAlchemy has it. A driver's name
/// (`sqlite+aiosqlite`) and a query (`?timeout=20`) are tolerated and ignored. Other schemes are
/// refused by name alone: the rest of such an address may hold a password.
pub fn to_path(url: &str) -> Result<PathBuf> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return plain(url);
    };
    let dialect = scheme.split('+').next().unwrap_or(scheme);
    if !dialect.eq_ignore_ascii_case("sqlite") {
        let shown = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let scheme = if shown { scheme } else { "this kind of address" };
        return Err(StoreError::Url(format!("{scheme} is not supported, only SQLite is")));
    }
    let rest = rest.split('?').next().unwrap_or(rest);
    let Some(path) = rest.strip_prefix('/') else {
        let what = if rest.is_empty() { "names no file" } else { "has two slashes where three are needed" };
        return Err(StoreError::Url(format!("the address {what}")));
    };
    plain(path)
}

fn plain(path: &str) -> Result<PathBuf> {
    if path.is_empty() || path == ":memory:" {
        return Err(StoreError::Url("a database in memory is not supported; a file must be named".into()));
    }
    if path.contains('\0') {
        return Err(StoreError::Url("the path holds a zero byte".into()));
    }
    std::path::absolute(Path::new(path))
        .map_err(|error| StoreError::Url(format!("the working folder cannot be found ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_names_its_file() {
        let here = std::env::current_dir().unwrap();
        for (url, path) in [
            ("sqlite:///./x.db", here.join("x.db")),
            ("sqlite:///x.db", here.join("x.db")),
            ("sqlite+aiosqlite:///./data/x.db", here.join("data/x.db")),
            ("sqlite:////var/x.db", PathBuf::from("/var/x.db")),
            ("sqlite+pysqlite:////var/x.db?timeout=20&mode=rw", PathBuf::from("/var/x.db")),
            ("SQLite:////var/x.db", PathBuf::from("/var/x.db")),
            ("/var/x.db", PathBuf::from("/var/x.db")),
            ("x.db", here.join("x.db")),
            // A question mark in a plain path is part of the name; a name like an address stays a name.
            ("/var/what?.db", PathBuf::from("/var/what?.db")),
            ("file:x.db", here.join("file:x.db")),
            ("/var/a b/ü.db", PathBuf::from("/var/a b/ü.db")),
        ] {
            assert_eq!(to_path(url).unwrap(), path, "{url}");
        }
    }

    #[test]
    fn other_addresses_are_refused_without_their_secrets() {
        for (url, named) in [
            ("postgresql+asyncpg://me:hunter2@host/db", "postgresql+asyncpg"),
            ("mysql://me:hunter2@host/db", "mysql"),
            ("me:hunter2://host", "this kind of address"),
            ("sqlite://", "names no file"),
            ("sqlite:///", "memory"),
            ("sqlite:///:memory:", "memory"),
            ("sqlite+aiosqlite:///?cache=shared", "memory"),
            ("sqlite://x.db", "two slashes"),
            ("", "memory"),
        ] {
            let message = to_path(url).unwrap_err().to_string();
            assert!(message.contains(named), "{url}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
