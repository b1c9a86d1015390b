//! Keys of providers, which must not be printed.

use std::fmt;

/// A provider's key. `Debug` does not print it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key. `None` if a header cannot contain it, as with line breaks: no provider has such keys.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_usable = !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        is_usable.then_some(Self(text))
    }

    /// The key itself; do not print it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// A text without this key, for what a server answered.
    pub(crate) fn removed_from(&self, text: &str) -> String {
        text.replace(&self.0, "(hidden)")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let key = ApiKey::new("rpa_SECRET").unwrap();
        assert!(!format!("{key:?} {:?}", Some(&key)).contains("SECRET"));
        assert_eq!(key.removed_from("the key rpa_SECRET is not valid"), "the key (hidden) is not valid");
        for unusable in ["", "a b", "a\nb", "schlüssel"] {
            assert_eq!(ApiKey::new(unusable), None, "{unusable:?}");
        }
    }
}
