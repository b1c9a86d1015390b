//! Parses JSON numbers into the nearest `f64`: the same value as `str::parse`, but faster for the short
//! numbers that detections contain.

/// Powers of ten that an `f64` represents exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Appends the digits that start at `at` to `value`, with wrapping; returns the position after them. Numbers
/// are so short that reading eight bytes at a time was measured to be slower.
#[inline(always)]
fn digits(s: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(&byte) = s.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// Parses a non-negative integer of at most 18 digits at `at`; returns it and the position after it.
#[inline(always)]
pub(super) fn integer(s: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    let end = digits(s, at, &mut value);
    let len = end - at;
    let is_zero_led = len > 1 && s[at] == b'0';
    if len == 0 || len > 18 || is_zero_led { None } else { Some((value, end)) }
}

/// Parses the JSON number at `at`; returns it and the position after it. The caller checks what follows.
#[inline(always)]
pub(super) fn float(s: &[u8], at: usize) -> Option<(f64, usize)> {
    let is_negative = s.get(at) == Some(&b'-');
    let start = at + usize::from(is_negative);
    let mut mantissa = 0;
    let mut end = digits(s, start, &mut mantissa);
    let mut n_digits = end - start;
    if n_digits == 0 || (n_digits > 1 && s[start] == b'0') {
        return None;
    }
    let mut n_decimals = 0;
    if s.get(end) == Some(&b'.') {
        let point = end;
        end = digits(s, point + 1, &mut mantissa);
        n_decimals = end - point - 1;
        n_digits += n_decimals;
        if n_decimals == 0 {
            return None;
        }
    }
    let has_exponent = matches!(s.get(end), Some(b'e' | b'E'));
    // Both operands are exact, so the single division rounds correctly (Clinger 1990).
    if !has_exponent && n_digits <= 19 && mantissa <= 1 << f64::MANTISSA_DIGITS {
        let x = mantissa as f64 / POWERS[n_decimals];
        return Some((if is_negative { -x } else { x }, end));
    }
    if has_exponent {
        end = exponent(s, end + 1)?;
    }
    parse(&s[at..end]).map(|x| (x, end))
}

/// The position after the digits of an exponent that starts at `at`.
fn exponent(s: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(matches!(s.get(at), Some(b'+' | b'-')));
    let end = digits(s, start, &mut 0);
    (end > start).then_some(end)
}

#[inline(never)]
fn parse(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Parses a complete text as a number; infinite if too large for an `f64`.
pub(super) fn whole_float(text: &[u8]) -> Option<f64> {
    float(text, 0).filter(|&(_, end)| end == text.len()).map(|(x, _)| x)
}

/// Parses a complete text as an integer, which may be written as a float, like `12.0` or `1e3`.
pub(super) fn whole_integer(text: &[u8]) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let x = whole_float(text)?;
    if let Some(n) = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
        return Some(n);
    }
    let is_written_as_float = text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
    (is_written_as_float && x.fract() == 0.0 && (-BEYOND..BEYOND).contains(&x)).then_some(x as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_as_parse(text: &str) {
        let want: f64 = text.parse().unwrap();
        let got = whole_float(text.as_bytes()).unwrap_or_else(|| panic!("{text} is a number"));
        assert_eq!(got.to_bits(), want.to_bits(), "{text}");
    }

    #[test]
    fn floats_equal_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "7",
            "1e3",
            "1E+3",
            "1e-3",
            "12.5e2",
            "9007199254740993",
            "9007199254740992",
            "9007199254740991.5",
            "0.1234567890123456789",
            "18446744073709551616",
            "99999999999999999999",
            "0.00000000000000000000001",
            "123456789012345678.9",
            "1e400",
            "-1e400",
            "1e-400",
            "2.2250738585072011e-308",
            "179769313486231570000000000000000000000",
        ] {
            assert_as_parse(text);
        }
        let mut seed = 88_172_645_463_325_252u64;
        for _ in 0..50_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let any = f64::from_bits(seed);
            if any.is_finite() {
                assert_as_parse(&any.to_string());
                assert_as_parse(&format!("{any:e}"));
            }
            let unit = (seed >> 11) as f64 / (1u64 << 53) as f64;
            assert_as_parse(&unit.to_string());
            assert_as_parse(&format!("{}", -unit * 1920.0));
            assert_as_parse(&format!("{:.2}", unit * 1920.0));
            assert_as_parse(&format!("{:.25}", unit * 1920.0));
        }
    }

    #[test]
    fn rejects_what_is_not_a_json_number() {
        for text in ["", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "1.e3", "0x1", "1 ", "NaN", "inf"] {
            assert_eq!(whole_float(text.as_bytes()), None, "{text}");
            assert_eq!(whole_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn integers_may_be_written_as_floats() {
        let integer = |text: &str| whole_integer(text.as_bytes());
        assert_eq!(integer("12"), Some(12));
        assert_eq!(integer("12.0"), Some(12));
        assert_eq!(integer("1e3"), Some(1000));
        assert_eq!(integer("-0"), Some(0));
        assert_eq!(integer("-3"), Some(-3));
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        for text in ["12.5", "1e-1", "9223372036854775808", "1e19", "99999999999999999999", "1e400"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }
}
