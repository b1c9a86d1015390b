//! One page of ListObjectsV2: keys in byte order, with keys that share a delimited prefix folded into that
//! prefix.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::error::S3Error;
use super::store::{Object, hex};

/// The parameters of a list request.
#[derive(Clone, Debug, Default)]
pub(super) struct ListQuery {
    pub(super) prefix: String,
    pub(super) delimiter: String,
    pub(super) start_after: String,
    /// Continuation token from the previous page; overrides `start_after`.
    pub(super) token: Option<String>,
    pub(super) max_keys: usize,
}

/// One page of a list.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) keys: Vec<String>,
    pub(super) common_prefixes: Vec<String>,
    pub(super) next_token: Option<String>,
}

/// Where the previous page ended: a key or a folded prefix. The token starts with a letter that tells them
/// apart.
enum Marker {
    Key(String),
    Prefix(String),
}

impl Marker {
    fn token(&self) -> String {
        let text = match self {
            Marker::Key(key) => format!("k{key}"),
            Marker::Prefix(prefix) => format!("p{prefix}"),
        };
        hex(text.as_bytes())
    }

    fn parse(token: &str) -> Option<Marker> {
        let digit = |at| u8::from_str_radix(token.get(at..at + 2)?, 16).ok();
        let bytes = (0..token.len()).step_by(2).map(digit).collect::<Option<Vec<u8>>>()?;
        let text = String::from_utf8(bytes).ok()?;
        let mark = text.chars().next()?;
        match (mark, &text[mark.len_utf8()..]) {
            ('k', key) => Some(Marker::Key(key.to_owned())),
            ('p', prefix) => Some(Marker::Prefix(prefix.to_owned())),
            _ => None,
        }
    }

    /// Whether the previous page included this key.
    fn covers(&self, key: &str) -> bool {
        match self {
            Marker::Key(last) => key <= last.as_str(),
            Marker::Prefix(folded) => key <= folded.as_str() || key.starts_with(folded.as_str()),
        }
    }
}

/// Makes the requested page.
pub(super) fn list(objects: &BTreeMap<String, Object>, query: &ListQuery) -> Result<Page, S3Error> {
    let marker = match &query.token {
        Some(token) => {
            let invalid = || S3Error::invalid_argument("The continuation token provided is incorrect");
            Marker::parse(token).ok_or_else(invalid)?
        }
        None => Marker::Key(query.start_after.clone()),
    };
    let mut page = Page::default();
    let mut last: Option<Marker> = None;
    let from = Bound::Included(query.prefix.as_str());
    let keys = objects.range::<str, _>((from, Bound::Unbounded)).map(|(key, _)| key.as_str());
    for key in keys.take_while(|key| key.starts_with(&query.prefix)) {
        if marker.covers(key) || last.as_ref().is_some_and(|last| last.covers(key)) {
            continue;
        }
        if page.keys.len() + page.common_prefixes.len() == query.max_keys {
            page.next_token = last.map(|last| last.token());
            break;
        }
        last = Some(match query.folded(key) {
            Some(prefix) => {
                page.common_prefixes.push(prefix.to_owned());
                Marker::Prefix(prefix.to_owned())
            }
            None => {
                page.keys.push(key.to_owned());
                Marker::Key(key.to_owned())
            }
        });
    }
    Ok(page)
}

impl ListQuery {
    /// The common prefix that this key is folded into, if any.
    fn folded<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = key.get(self.prefix.len()..)?;
        let end = self.prefix.len() + rest.find(&self.delimiter)? + self.delimiter.len();
        key.get(..end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use hyper::HeaderMap;

    use super::*;

    fn objects(keys: &[&str]) -> BTreeMap<String, Object> {
        let object = |key: &&str| {
            let object = Object {
                body: Bytes::new(),
                etag: String::new(),
                headers: HeaderMap::new(),
                modified: SystemTime::UNIX_EPOCH,
            };
            ((*key).to_owned(), object)
        };
        keys.iter().map(object).collect()
    }

    /// Lists all pages; each as its keys and its common prefixes.
    fn pages(keys: &[&str], mut query: ListQuery) -> Vec<(Vec<String>, Vec<String>)> {
        let objects = objects(keys);
        let mut pages = Vec::new();
        loop {
            let page = list(&objects, &query).unwrap();
            pages.push((page.keys, page.common_prefixes));
            query.token = page.next_token;
            if query.token.is_none() {
                return pages;
            }
        }
    }

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn each_page_starts_where_the_previous_one_ended() {
        let query = ListQuery { max_keys: 2, prefix: "b".to_owned(), ..ListQuery::default() };
        let got = pages(&["a", "b", "b1", "b2", "b3", "c"], query);
        assert_eq!(got, [(strings(&["b", "b1"]), vec![]), (strings(&["b2", "b3"]), vec![])]);
    }

    #[test]
    fn a_folded_prefix_appears_only_once_across_pages() {
        let query = ListQuery { max_keys: 1, delimiter: "/".to_owned(), ..ListQuery::default() };
        let got = pages(&["a", "d/1", "d/2", "d/x/1", "e"], query);
        assert_eq!(got, [(strings(&["a"]), vec![]), (vec![], strings(&["d/"])), (strings(&["e"]), vec![])]);
    }

    #[test]
    fn start_after_excludes_its_key() {
        let query = ListQuery { max_keys: 9, start_after: "b".to_owned(), ..ListQuery::default() };
        assert_eq!(pages(&["a", "b", "c"], query), [(strings(&["c"]), vec![])]);
    }

    #[test]
    fn rejects_invalid_tokens() {
        for token in ["", "zz", "6", "61"] {
            let query = ListQuery { token: Some(token.to_owned()), ..ListQuery::default() };
            assert!(list(&objects(&[]), &query).is_err(), "{token}");
        }
    }
}
