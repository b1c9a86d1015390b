//! Converting `DATABASE_URL` to a path: the forms that SQLAlchemy accepts for SQLite, and plain paths.

use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};

/// The absolute path of the database file that a URL names; relative paths start at the working folder.
///
/// As in SQLAlchemy, `sqlite:///x.db` is relative and `sqlite:////x.db` absolute. A driver name
/// (`sqlite+aiosqlite`) and a query (`?timeout=20`) are ignored.
///
/// # Errors
/// [`StoreError::Url`] for other schemes and for databases in memory. The message contains only the
/// scheme, because the rest of the URL may contain a password.
pub fn to_path(url: &str) -> Result<PathBuf> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return plain(url);
    };
    let dialect = scheme.split('+').next().unwrap_or(scheme);
    if !dialect.eq_ignore_ascii_case("sqlite") {
        let is_printable = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let scheme = if is_printable { scheme } else { "this kind of URL" };
        return Err(StoreError::Url(format!("{scheme} is not supported, only SQLite")));
    }
    let rest = rest.split('?').next().unwrap_or(rest);
    let Some(path) = rest.strip_prefix('/') else {
        let problem = if rest.is_empty() { "has no file name" } else { "has two slashes instead of three" };
        return Err(StoreError::Url(format!("the URL {problem}")));
    };
    plain(path)
}

fn plain(path: &str) -> Result<PathBuf> {
    if path.is_empty() || path == ":memory:" {
        return Err(StoreError::Url("a database in memory is not supported; name a file".into()));
    }
    if path.contains('\0') {
        return Err(StoreError::Url("the path contains a zero byte".into()));
    }
    std::path::absolute(Path::new(path))
        .map_err(|error| StoreError::Url(format!("cannot find the working folder ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_converted_to_a_path() {
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
            // In a plain path, a question mark or a colon is part of the name.
            ("/var/what?.db", PathBuf::from("/var/what?.db")),
            ("file:x.db", here.join("file:x.db")),
            ("/var/a b/ü.db", PathBuf::from("/var/a b/ü.db")),
        ] {
            assert_eq!(to_path(url).unwrap(), path, "{url}");
        }
    }

    #[test]
    fn errors_for_other_urls_do_not_contain_passwords() {
        for (url, named) in [
            ("postgresql+asyncpg://me:hunter2@host/db", "postgresql+asyncpg"),
            ("mysql://me:hunter2@host/db", "mysql"),
            ("me:hunter2://host", "this kind of URL"),
            ("sqlite://", "no file name"),
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
