//! The syntax of `.env`, as python-dotenv 1.2.4 reads it (<https://github.com/theskumar/python-dotenv>, `parser.py`
//! and `variables.py`).
//!
//! A statement is `NAME=VALUE`, with an optional `export` before it and an optional comment after it. An unquoted
//! value extends to the end of the line, or to a `#` after a blank; backslashes in it are literal. Quoted values may
//! contain line breaks. `${NAME}` and `${NAME:-DEFAULT}` are expanded in every value; `$NAME` is literal.

/// A statement of the file, or a line that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Number of its first line, counted from 1.
    pub(super) line: usize,
    /// Name and value; `None` if the line cannot be parsed. The value is `None` for a name without `=`.
    pub(super) binding: Option<(String, Option<String>)>,
}

/// Parses the content of a file. References in values are not expanded yet.
pub(super) fn parse(bytes: &[u8]) -> Vec<Statement> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(&text), line: 1 };
    let mut statements = Vec::new();
    loop {
        reader.skip(char::is_whitespace);
        if reader.rest.is_empty() {
            return statements;
        }
        let line = reader.line;
        let parsed = reader.statement();
        if parsed.is_none() {
            reader.skip(|c| c != '\n');
        }
        match parsed {
            Some(Parsed::Comment) => {}
            // A byte that is not UTF-8, or one that no variable can contain.
            Some(Parsed::Binding(name, value))
                if !is_text(&name) || !value.as_deref().is_none_or(is_text) =>
            {
                statements.push(Statement { line, binding: None });
            }
            Some(Parsed::Binding(name, value)) => {
                statements.push(Statement { line, binding: Some((name, value)) });
            }
            None => statements.push(Statement { line, binding: None }),
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.contains(['\0', char::REPLACEMENT_CHARACTER])
}

enum Parsed {
    Comment,
    Binding(String, Option<String>),
}

/// The part of the file that is not parsed yet, and the number of its line.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

impl<'a> Reader<'a> {
    /// Takes the next `n_bytes`.
    fn take(&mut self, n_bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(n_bytes);
        self.rest = rest;
        self.line += taken.matches('\n').count();
        taken
    }

    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|c| !accepts(c)).unwrap_or(self.rest.len()))
    }

    fn skip(&mut self, accepts: impl Fn(char) -> bool) {
        self.take_while(accepts);
    }

    /// Parses one statement with its line break. `None` if it is not one; the reader may then be anywhere in it.
    fn statement(&mut self) -> Option<Parsed> {
        if let Some(after) = self.rest.strip_prefix("export").filter(|after| after.starts_with(is_blank)) {
            self.rest = after;
            self.skip(is_blank);
        }
        let name = self.name()?;
        self.skip(is_blank);
        let value = if self.rest.starts_with('=') { Some(self.value()?) } else { None };
        self.skip(is_blank);
        if self.rest.starts_with('#') {
            self.skip(|c| c != '\n');
        }
        if !self.rest.is_empty() && !self.rest.starts_with('\n') {
            return None;
        }
        Some(name.map_or(Parsed::Comment, |name| Parsed::Binding(name, value)))
    }

    /// Parses a name, which may be in single quotes; `Some(None)` before a comment.
    fn name(&mut self) -> Option<Option<String>> {
        if self.rest.starts_with('#') {
            return Some(None);
        }
        let name = if let Some(after) = self.rest.strip_prefix('\'') {
            let n_bytes = after.find('\'')?;
            &self.take(n_bytes + 2)[1..=n_bytes]
        } else {
            self.take_while(|c| !matches!(c, '=' | '#') && !c.is_whitespace())
        };
        Some(Some(name.to_owned())).filter(|_| !name.is_empty())
    }

    /// Parses `=` and the value after it.
    fn value(&mut self) -> Option<String> {
        self.take(1);
        let before = self.rest.len();
        self.skip(is_blank);
        match self.rest.chars().next() {
            Some('#') if self.rest.len() < before => Some(String::new()),
            Some('\'') => Some(unescape(self.quoted('\'')?, "\\'")),
            Some('"') => Some(unescape(self.quoted('"')?, "\\'\"abfnrtv")),
            _ => Some(unquoted(self.take_while(|c| c != '\n')).to_owned()),
        }
    }

    /// Takes a quoted value. Returns what is between the quotes, with its escapes.
    fn quoted(&mut self, quote: char) -> Option<&'a str> {
        let mut is_escaped = false;
        let end = self.rest[1..].find(|c| {
            let ends = c == quote && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        })?;
        Some(&self.take(end + 2)[1..=end])
    }
}

/// An unquoted value without its comment.
fn unquoted(line: &str) -> &str {
    let comment = line.match_indices('#').find(|(at, _)| line[..*at].ends_with(char::is_whitespace));
    line[..comment.map_or(line.len(), |(at, _)| at)].trim_end()
}

/// Replaces a backslash and one of the `escapes` by the character that they mean. Others stay as they are.
fn unescape(text: &str, escapes: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escape = chars.clone().next().filter(|next| c == '\\' && escapes.contains(*next));
        result.push(match escape {
            None => c,
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\x0b',
            Some(itself) => itself,
        });
        if escape.is_some() {
            chars.next();
        }
    }
    result
}

/// Expands the references in a value. `lookup` returns the value of a name, `None` if it has none.
///
/// # Errors
/// The first error of `lookup`.
pub(super) fn expand<E>(
    value: &str,
    lookup: impl Fn(&str) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut result = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        match reference(rest) {
            Some((name, default, n_bytes)) => {
                result.push_str(&lookup(name)?.unwrap_or_else(|| default.to_owned()));
                rest = &rest[n_bytes..];
            }
            None => {
                result.push_str("${");
                rest = &rest[2..];
            }
        }
    }
    Ok(result + rest)
}

/// The name, the default and the length of a reference at the beginning of `text`.
fn reference(text: &str) -> Option<(&str, &str, usize)> {
    let inside = &text[2..];
    let name = &inside[..inside.find(['}', ':'])?];
    let after = &inside[name.len()..];
    if after.starts_with('}') {
        return Some((name, "", name.len() + 3));
    }
    let default = &after.strip_prefix(":-")?;
    let default = &default[..default.find('}')?];
    Some((name, default, name.len() + default.len() + 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME=VALUE` of each statement, `NAME` alone without a value, and `line N` for a line that cannot be parsed.
    fn parsed(text: &str) -> Vec<String> {
        let show = |statement: Statement| match statement.binding {
            Some((name, Some(value))) => format!("{name}={value}"),
            Some((name, None)) => name,
            None => format!("line {}", statement.line),
        };
        parse(text.as_bytes()).into_iter().map(show).collect()
    }

    /// The right column is what python-dotenv 1.2.4 returns for the left one.
    #[test]
    fn values_are_those_of_python_dotenv() {
        for (text, expected) in [
            ("A=b", "A=b"),
            ("A=basketball player, referee", "A=basketball player, referee"),
            ("A = b ", "A=b"),
            ("  export A=b", "A=b"),
            ("export  A=b", "A=b"),
            ("exportA=b", "exportA=b"),
            ("A=", "A="),
            ("A", "A"),
            ("'A'=b", "A=b"),
            ("A=b # comment", "A=b"),
            ("A=b #", "A=b"),
            ("A=b#c", "A=b#c"),
            ("A=#b", "A=#b"),
            ("A= # comment", "A="),
            ("A=#b #c", "A=#b"),
            ("A='b' # comment", "A=b"),
            ("A=\"b # c\"", "A=b # c"),
            ("A=a$b", "A=a$b"),
            ("A=a\\b", "A=a\\b"),
            ("A=C:\\new\\table", "A=C:\\new\\table"),
            ("A='C:\\new'", "A=C:\\new"),
            ("A='it\\'s'", "A=it's"),
            ("A='a\\\\'", "A=a\\"),
            ("A=\"a\\nb\\tc\"", "A=a\nb\tc"),
            ("A=\"a\\$b\\x\"", "A=a\\$b\\x"),
            ("A=\"say \\\"hi\\\"\"", "A=say \"hi\""),
            ("A=\"one\ntwo\"", "A=one\ntwo"),
            ("A='one\ntwo'", "A=one\ntwo"),
            ("A=b'c", "A=b'c"),
            ("A=b\"c\"", "A=b\"c\""),
            ("A==b", "A==b"),
            ("A=b=c", "A=b=c"),
            ("A=ü", "A=ü"),
            ("a.b-c=d", "a.b-c=d"),
        ] {
            assert_eq!(parsed(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_are_no_statements() {
        for text in ["", "\n\n", "# a", "  # a\n\t\n#", "\u{feff}", "\r\n"] {
            assert_eq!(parsed(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn only_the_line_that_cannot_be_parsed_is_skipped() {
        for (text, expected) in [
            ("A=1\n\nthis is no setting\nB=2", ["A=1", "line 3", "B=2"]),
            ("A=1\n=x\nB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\nC=\"x\" y\nB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\nC=\"x\nB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\nC='x\nB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\nexport =x\nB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\nC=\"x\ny\" z\nB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\r\n\r\nno setting\r\nB=2\r\n", ["A=1", "line 3", "B=2"]),
            ("\u{feff}A=1\rno setting\rB=2", ["A=1", "line 2", "B=2"]),
            ("A=1\nC=\0\nB=2", ["A=1", "line 2", "B=2"]),
        ] {
            assert_eq!(parsed(text), expected, "{text:?}");
        }
        let binding = |name: &str| Some((name.to_owned(), Some("1".to_owned())));
        let expected = [(1, binding("A")), (2, None), (3, binding("B"))];
        assert_eq!(parse(b"A=1\nC=\xff\nB=1"), expected.map(|(line, binding)| Statement { line, binding }));
    }

    /// The right column is what python-dotenv 1.2.4 returns for the left one with `A=a`, `EMPTY=` and no `NONE`.
    #[test]
    fn references_are_those_of_python_dotenv() {
        let lookup = |name: &str| match name {
            "A" => Ok(Some("a".to_owned())),
            "EMPTY" => Ok(Some(String::new())),
            "SECRET" => Err(name.to_owned()),
            _ => Ok(None),
        };
        for (text, expected) in [
            ("x${A}y${A}", "xaya"),
            ("$A", "$A"),
            ("$$", "$$"),
            ("${NONE}", ""),
            ("${NONE:-b c}", "b c"),
            ("${NONE:-}", ""),
            ("${EMPTY:-b}", ""),
            ("${A:-b}", "a"),
            ("${A:b}", "${A:b}"),
            ("${A", "${A"),
            ("${", "${"),
            ("${A:${A}", "${A:a"),
            ("\\${A}", "\\a"),
            ("${}", ""),
        ] {
            assert_eq!(expand(text, lookup).as_deref(), Ok(expected), "{text:?}");
        }
        assert_eq!(expand("${A}${SECRET}", lookup), Err("SECRET".to_owned()));
    }
}
