//! Formats numbers for the results file: rounded to a maximum number of decimals, without trailing zeros, by
//! integer arithmetic. The text equals that of `format!("{:.N}")` without trailing zeros: the exact binary
//! value is rounded, ties to even, and there is no `-0`.

/// Buffer that is filled with digits from the last to the first.
struct Digits {
    bytes: [u8; 24],
    start: usize,
}

impl Digits {
    fn new() -> Self {
        Self { bytes: [0; 24], start: 24 }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    #[inline]
    fn push_integer(&mut self, mut n: u64) {
        while n >= 10 {
            self.push(b'0' + (n % 10) as u8);
            n /= 10;
        }
        self.push(b'0' + n as u8);
    }
}

/// Appends an integer in decimal.
pub(super) fn write_integer(out: &mut Vec<u8>, n: u64) {
    let mut digits = Digits::new();
    digits.push_integer(n);
    out.extend_from_slice(&digits.bytes[digits.start..]);
}

/// Appends a finite number with at most `DECIMALS` decimals (0 to 4).
pub(super) fn write_decimal<const DECIMALS: u32>(out: &mut Vec<u8>, x: f64) {
    const { assert!(DECIMALS <= 4) };
    let Some(scaled) = round_scaled(x.abs(), 10u64.pow(DECIMALS)) else {
        return write_large(out, x, DECIMALS as usize);
    };
    let mut digits = Digits::new();
    let mut fraction = scaled % 10u64.pow(DECIMALS);
    if fraction > 0 {
        let mut n_decimals = DECIMALS;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            n_decimals -= 1;
        }
        for _ in 0..n_decimals {
            digits.push(b'0' + (fraction % 10) as u8);
            fraction /= 10;
        }
        digits.push(b'.');
    }
    digits.push_integer(scaled / 10u64.pow(DECIMALS));
    if x < 0.0 && scaled > 0 {
        digits.push(b'-');
    }
    out.extend_from_slice(&digits.bytes[digits.start..]);
}

/// `x * scale` rounded to the nearest integer, ties to even, computed exactly. `None` for `x >= 2^49`, where
/// the product may overflow.
fn round_scaled(x: f64, scale: u64) -> Option<u64> {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    if x >= (1u64 << 49) as f64 {
        return None;
    }
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> FRACTION_BITS) as u32, bits & ((1 << FRACTION_BITS) - 1));
    // Subnormal numbers have no implicit bit; they are so small that the result is 0 anyway.
    let mantissa = if exponent == 0 { fraction } else { fraction | (1 << FRACTION_BITS) };
    // x = mantissa / 2^shift, and shift > 0 because x < 2^49.
    let shift = 1023 + FRACTION_BITS - exponent;
    let product = u128::from(mantissa) * u128::from(scale);
    if shift > 68 {
        return Some(0); // The product is below 2^67.
    }
    let (whole, rest) = ((product >> shift) as u64, product & ((1 << shift) - 1));
    let half = 1u128 << (shift - 1);
    let goes_up = rest > half || (rest == half && whole % 2 == 1);
    Some(whole + u64::from(goes_up))
}

/// For numbers of at least 2^49, far beyond any coordinate in an image.
#[cold]
fn write_large(out: &mut Vec<u8>, x: f64, decimals: usize) {
    let text = format!("{x:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected text, computed with the standard library.
    fn by_format(x: f64, decimals: usize) -> String {
        let text = format!("{x:.decimals$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        if text == "-0" { "0".to_owned() } else { text.to_owned() }
    }

    fn shown<const DECIMALS: u32>(x: f64) -> String {
        let mut out = Vec::new();
        write_decimal::<DECIMALS>(&mut out, x);
        String::from_utf8(out).unwrap()
    }

    fn assert_as_by_format(x: f64) {
        for x in [x, -x] {
            assert_eq!(shown::<2>(x), by_format(x, 2), "{x:e}");
            assert_eq!(shown::<4>(x), by_format(x, 4), "{x:e}");
        }
    }

    #[test]
    fn writes_no_trailing_zeros() {
        assert_eq!(shown::<2>(12.0), "12");
        assert_eq!(shown::<2>(12.305), "12.3");
        assert_eq!(shown::<2>(12.05), "12.05");
        assert_eq!(shown::<2>(-0.001), "0");
        assert_eq!(shown::<2>(-0.0), "0");
        assert_eq!(shown::<2>(40.125), "40.12");
        assert_eq!(shown::<2>(40.375), "40.38");
        assert_eq!(shown::<4>(0.98765), "0.9877");
        assert_eq!(shown::<0>(100.0), "100");
        assert_eq!(shown::<0>(2.5), "2");
    }

    #[test]
    fn decimals_equal_those_of_the_standard_library() {
        let edges = [0.0, 5e-324, f64::MIN_POSITIVE, f64::EPSILON, 0.5, 1.0, 1e15, 1e22, f64::MAX];
        edges.iter().for_each(|&x| assert_as_by_format(x));
        for exponent in -80..80 {
            let x = 2f64.powi(exponent);
            [x, x.next_up(), x.next_down(), x * 1.5].iter().for_each(|&x| assert_as_by_format(x));
        }
        let mut seed = 0x9E37_79B9_7F4A_7C15u64;
        for i in 0..60_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let unit = (seed >> 11) as f64 / (1u64 << 53) as f64;
            assert_as_by_format(unit);
            assert_as_by_format(unit * 4096.0);
            assert_as_by_format(f64::from((unit * 4096.0) as f32));
            // Ties and their neighbours
            let tie = f64::from(i) / 32.0;
            [tie, tie.next_up(), tie.next_down()].iter().for_each(|&x| assert_as_by_format(x));
            let short = f64::from(i) / 1000.0;
            assert_as_by_format(short);
            let any = f64::from_bits(seed);
            if any.is_finite() {
                assert_as_by_format(any);
            }
        }
    }

    #[test]
    fn integers_equal_those_of_the_standard_library() {
        for n in [0, 9, 10, 99, 100, 1_234_567, u64::MAX] {
            let mut out = Vec::new();
            write_integer(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }
}
