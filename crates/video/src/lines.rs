//! Splitting the output of a child, which arrives in arbitrary chunks, into lines.

/// Longest line that is kept, in bytes. The programs write shorter ones.
const MAX_LINE: usize = 256;

/// The beginning of a line whose end has not arrived yet.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Passes each line that `chunk` completes to `on_line`, without its end.
    pub(crate) fn push(&mut self, chunk: &[u8], on_line: &mut dyn FnMut(&str)) {
        for &byte in chunk {
            if byte == b'\n' {
                self.finish(on_line);
            } else if self.rest.len() < MAX_LINE {
                self.rest.push(byte);
            }
        }
    }

    /// Passes on the last line, which may have no end.
    pub(crate) fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        on_line(&String::from_utf8_lossy(&self.rest));
        self.rest.clear();
    }
}
