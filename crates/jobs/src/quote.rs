//! Quotations of text that other programs wrote, in errors, logs and histories: a manifest may have a megabyte of it.

use std::borrow::Cow;

/// Longest quotation of one value, in characters.
const MAX_QUOTED: usize = 200;
/// Longest message, with everything that it quotes, in characters.
const MAX_MESSAGE: usize = 1000;

/// A value from a manifest or a results file, such as a name or a hash, short enough for an error.
pub fn quoted(text: &str) -> Cow<'_, str> {
    shortened(text, MAX_QUOTED)
}

/// A message that may contain such values, short enough for a log or a manifest.
pub fn bounded(message: &str) -> Cow<'_, str> {
    shortened(message, MAX_MESSAGE)
}

/// The text, or its beginning and its length if it has more than `max_chars` characters.
pub(crate) fn shortened(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}... ({} bytes)", &text[..end], text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_shortened_between_characters() {
        assert_eq!(quoted("short"), "short");
        assert_eq!(shortened("größe", 3), "grö... (7 bytes)");
        assert_eq!(shortened("größe", 5), "größe");
        assert!(quoted(&"word ".repeat(180_000)).len() < 300);
        assert!(bounded(&"\u{1F3C0}".repeat(5000)).len() < 4100);
    }
}
