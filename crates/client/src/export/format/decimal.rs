//! Numbers with a limited number of decimals.

/// Displays a number with at most the given number of decimals and no trailing zeros.
pub(super) struct Decimal(pub(super) f64, pub(super) usize);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.*}", self.1, self.0);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_zeros_are_omitted() {
        let shown = |x: f64, n| Decimal(x, n).to_string();
        assert_eq!(shown(12.0, 2), "12");
        assert_eq!(shown(12.305, 2), "12.3");
        assert_eq!(shown(-0.001, 2), "0");
        assert_eq!(shown(0.98765, 4), "0.9877");
        assert_eq!(shown(100.0, 0), "100");
    }
}
