//! A listing, collected page by page, that ends whatever the server answers.
//!
//! A server, or whatever answers at its address, may repeat a page, return pages without objects, or list without end.
//! A real bucket does none of that: its pages have new keys, and there are not more of them than the limits below.

use std::collections::HashSet;

use super::Entry;

/// Most objects in one listing: a hundred times as many jobs as a busy bucket has.
pub(super) const MAX_OBJECTS: usize = 1_000_000;
/// Most pages of one listing. S3 servers return up to a thousand objects per page, and may return fewer.
const MAX_PAGES: usize = 5_000;
/// Most pages in a row that bring no new object. A server may return empty pages while it skips removed objects.
const MAX_IDLE_PAGES: usize = 100;

/// A listing in progress.
#[derive(Default)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    keys: HashSet<String>,
    n_pages: usize,
    n_idle_pages: usize,
    token: Option<String>,
}

impl Listing {
    /// The token of the page to request next; `None` for the first.
    pub(super) fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// Adds a page. Returns whether another one follows.
    ///
    /// # Errors
    /// If the listing does not end: what shows that.
    pub(super) fn add(
        &mut self,
        page: impl IntoIterator<Item = Entry>,
        next: Option<String>,
    ) -> Result<bool, String> {
        let n_before = self.entries.len();
        for entry in page {
            if self.keys.insert(entry.key.clone()) {
                self.entries.push(entry);
            }
        }
        self.n_pages += 1;
        self.n_idle_pages = if self.entries.len() > n_before { 0 } else { self.n_idle_pages + 1 };
        let Some(next) = next else { return Ok(false) };
        if self.token.as_ref() == Some(&next) {
            return Err(format!("page {} names itself as the next page", self.n_pages));
        }
        if self.n_idle_pages >= MAX_IDLE_PAGES {
            return Err(format!("{MAX_IDLE_PAGES} pages in a row brought nothing new"));
        }
        if self.entries.len() > MAX_OBJECTS || self.n_pages >= MAX_PAGES {
            let (n, pages) = (self.entries.len(), self.n_pages);
            return Err(format!(
                "{n} objects on {pages} pages, and more follow; at most {MAX_OBJECTS} on {MAX_PAGES} are read"
            ));
        }
        self.token = Some(next);
        Ok(true)
    }

    /// The objects, each once.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }
}
