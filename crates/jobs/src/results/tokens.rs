//! A JSON tokenizer over a [`Source`]. It accepts and validates everything that RFC 8259 allows and buffers
//! only the current token. It skips values that are not needed, whatever their length.

use std::io::Read;

use super::number;
use super::problem::{Fault, Problem};
use super::source::Source;

/// Deepest nesting of arrays and objects that is accepted.
const MAX_DEPTH: usize = 100;

/// Text of a skipped value, kept up to a limit.
pub(super) struct Kept {
    bytes: Vec<u8>,
    limit: usize,
    is_complete: bool,
}

impl Kept {
    /// Keeps the text if it is at most `limit` bytes long.
    pub(super) fn up_to(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, is_complete: true }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.is_complete &= self.bytes.len() + bytes.len() <= self.limit;
        if self.is_complete {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The text, if it was within the limit.
    pub(super) fn complete(&self) -> Option<&[u8]> {
        self.is_complete.then_some(&self.bytes)
    }
}

impl<R: Read> Source<R> {
    /// The next byte after white space; an error at the end of the text.
    #[inline]
    pub(super) fn next_byte(&mut self) -> Result<u8, Fault> {
        if let Some(&byte) = self.window().first()
            && byte > b' '
        {
            return Ok(byte);
        }
        match self.after_space()? {
            Some(byte) => Ok(byte),
            None => Err(self.invalid(Problem::Truncated)),
        }
    }

    /// The next byte after white space; `None` at the end of the text.
    pub(super) fn after_space(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            let window = self.window();
            let space = window.iter().take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')).count();
            let next = window.get(space).copied();
            self.consume(space);
            if next.is_some() || self.peek()?.is_none() {
                return Ok(next);
            }
        }
    }

    /// Consumes white space and then this byte.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        let found = self.next_byte()?;
        if found != byte {
            return Err(self.unexpected(&format!("`{}`", char::from(byte))));
        }
        self.consume(1);
        Ok(())
    }

    /// After an element: consumes the comma or the closing byte. Returns whether another element follows.
    #[inline]
    pub(super) fn more(&mut self, closing: u8) -> Result<bool, Fault> {
        let found = self.next_byte()?;
        if found != b',' && found != closing {
            return Err(self.unexpected(&format!("`,` or `{}`", char::from(closing))));
        }
        self.consume(1);
        Ok(found == b',')
    }

    /// After an opening byte: consumes the closing byte if it follows immediately, and returns whether it
    /// did.
    pub(super) fn is_empty(&mut self, closing: u8) -> Result<bool, Fault> {
        let is_empty = self.next_byte()? == closing;
        self.consume(usize::from(is_empty));
        Ok(is_empty)
    }

    /// Makes an error for a next byte that is not what was expected.
    #[cold]
    pub(super) fn unexpected(&self, want: &str) -> Fault {
        let found = match self.window().first() {
            Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(*byte)),
            Some(byte) => format!("byte 0x{byte:02x}"),
            None => "the end".to_owned(),
        };
        self.invalid(Problem::NotJson(format!("found {found}, expected {want}")))
    }

    /// Parses a name in an object and its colon.
    pub(super) fn key(&mut self) -> Result<String, Fault> {
        if self.next_byte()? != b'"' {
            return Err(self.unexpected("a name in quotes"));
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Parses the string whose opening quote is next.
    pub(super) fn string(&mut self) -> Result<String, Fault> {
        let len = self.string_len()?;
        let text = serde_json::from_slice(&self.window()[..len]);
        let text = text.map_err(|_| self.invalid(Problem::NotJson("invalid string".to_owned())))?;
        self.consume(len);
        Ok(text)
    }

    /// Length of the string whose opening quote is next, including its quotes. Extends the window to contain
    /// all of it.
    fn string_len(&mut self) -> Result<usize, Fault> {
        let mut at = 1;
        loop {
            let window = self.window();
            while let Some(byte) = window.get(at) {
                match byte {
                    b'"' => return Ok(at + 1),
                    b'\\' => at += 2,
                    _ => at += 1,
                }
            }
            if !self.grow()? {
                return Err(self.truncated());
            }
        }
    }

    /// Makes the error for a text that ends within a token.
    #[cold]
    fn truncated(&self) -> Fault {
        Fault::Invalid(Problem::Truncated, self.position_of(self.window().len()))
    }

    /// Length of the number or bare word that is next, possibly 0. Extends the window to contain all of it.
    pub(super) fn word_len(&mut self) -> Result<usize, Fault> {
        let mut at = 0;
        loop {
            let rest = &self.window()[at..];
            let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"+-._".contains(b)).count();
            at += len;
            if at < self.window().len() {
                return Ok(at);
            }
            if !self.grow()? {
                return Err(self.truncated());
            }
        }
    }

    /// Rejects a word that is not a JSON value.
    pub(super) fn check_word(&self, len: usize) -> Result<(), Fault> {
        match &self.window()[..len] {
            b"true" | b"false" | b"null" => Ok(()),
            b"NaN" | b"Infinity" | b"-Infinity" => Err(self.invalid(Problem::NotFinite)),
            word => match number::whole_float(word) {
                Some(x) if x.is_finite() => Ok(()),
                Some(_) => Err(self.invalid(Problem::NotFinite)),
                None => Err(self.unexpected("a value")),
            },
        }
    }

    /// Parses the number that is next with `read`.
    pub(super) fn number<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Option<T>,
        field: &'static str,
        want: &'static str,
    ) -> Result<T, Fault> {
        let wrong = Problem::WrongType { field, want };
        if matches!(self.next_byte()?, b'"' | b'{' | b'[') {
            return Err(self.invalid(wrong));
        }
        let len = self.word_len()?;
        self.check_word(len)?;
        let value = read(&self.window()[..len]).ok_or_else(|| self.invalid(wrong))?;
        self.consume(len);
        Ok(value)
    }

    /// Consumes `null` if it is next, and returns whether it was.
    pub(super) fn is_null(&mut self) -> Result<bool, Fault> {
        if self.next_byte()? != b'n' {
            return Ok(false);
        }
        let len = self.word_len()?;
        self.check_word(len)?;
        self.consume(len);
        Ok(true)
    }

    /// Consumes and validates the value that is next, of any type.
    pub(super) fn skip(&mut self, kept: &mut Kept) -> Result<(), Fault> {
        let mut closings: Vec<u8> = Vec::new();
        loop {
            let is_open = match self.next_byte()? {
                b'{' => self.open(b"{", b'}', &mut closings, kept)?,
                b'[' => self.open(b"[", b']', &mut closings, kept)?,
                _ => {
                    self.skip_scalar(kept)?;
                    false
                }
            };
            if !is_open && !self.close(&mut closings, kept)? {
                return Ok(());
            }
            if closings.last() == Some(&b'}') {
                self.skip_key(kept)?;
            }
        }
    }

    /// Enters an array or object; `false` if it is empty and was consumed.
    fn open(
        &mut self,
        opening: &[u8],
        closing: u8,
        closings: &mut Vec<u8>,
        kept: &mut Kept,
    ) -> Result<bool, Fault> {
        if closings.len() == MAX_DEPTH {
            return Err(self.invalid(Problem::TooLarge(format!("nested more than {MAX_DEPTH} levels deep"))));
        }
        self.consume(1);
        kept.add(opening);
        let is_empty = self.is_empty(closing)?;
        if is_empty {
            kept.add(&[closing]);
        } else {
            closings.push(closing);
        }
        Ok(!is_empty)
    }

    /// After a value: leaves the arrays and objects that end here. Returns whether another value follows.
    fn close(&mut self, closings: &mut Vec<u8>, kept: &mut Kept) -> Result<bool, Fault> {
        while let Some(&closing) = closings.last() {
            if self.more(closing)? {
                kept.add(b",");
                return Ok(true);
            }
            kept.add(&[closing]);
            closings.pop();
        }
        Ok(false)
    }

    fn skip_key(&mut self, kept: &mut Kept) -> Result<(), Fault> {
        if self.next_byte()? != b'"' {
            return Err(self.unexpected("a name in quotes"));
        }
        self.skip_scalar(kept)?;
        self.expect(b':')?;
        kept.add(b":");
        Ok(())
    }

    fn skip_scalar(&mut self, kept: &mut Kept) -> Result<(), Fault> {
        if self.next_byte()? == b'"' {
            let len = self.string_len()?;
            kept.add(&self.window()[..len]);
            self.string()?;
        } else {
            let len = self.word_len()?;
            self.check_word(len)?;
            kept.add(&self.window()[..len]);
            self.consume(len);
        }
        Ok(())
    }
}
