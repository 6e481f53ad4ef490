//! What a scalar means: YAML 1.1, as Go's yaml.v2 has it, because that is what existing files were written for.

use std::borrow::Cow;

/// A scalar's meaning. The text itself is kept beside it, since a text field takes `15`, `yes` and `2020-01-01` as
/// they were written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::rules) enum Meaning {
    /// Nothing, `~`, `null`.
    Null,
    /// `yes`, `no`, `on`, `off`, `true`, `false`, `y`, `n`.
    Bool(bool),
    /// `15`, `1_000`, `0x1F`, `017`, `0b101`; wide enough for what u64 and i64 hold.
    Int(i128),
    /// `1.5`, `1e3`, `.inf`.
    Float(f64),
    /// `<<`, which as a key draws another map in. As a value it is text.
    Merge,
    /// Anything else, and anything in quotes. A date is text, too.
    Text,
}

impl Meaning {
    /// What the text of a plain scalar means.
    pub(in crate::rules) fn of_plain(text: &str) -> Self {
        let Some(first) = text.bytes().next() else {
            return Self::Null;
        };
        match first {
            b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
            b'.' => special_float(text).or_else(|| float(text)).map_or(Self::Text, Self::Float),
            b'0'..=b'9' | b'+' | b'-' => number(text),
            b'<' if text == "<<" => Self::Merge,
            _ => Self::Text,
        }
    }
}

fn word(text: &str) -> Meaning {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Meaning::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Meaning::Bool(false),
        "~" | "null" | "Null" | "NULL" => Meaning::Null,
        _ => Meaning::Text,
    }
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn number(text: &str) -> Meaning {
    if let Some(float) = special_float(text) {
        return Meaning::Float(float);
    }
    if is_date(text) {
        return Meaning::Text;
    }
    let plain: Cow<'_, str> = if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    if let Some(int) = int(&plain) {
        return Meaning::Int(int);
    }
    float(&plain).map_or(Meaning::Text, Meaning::Float)
}

/// Base 2, 8 (`017` as well as `0o17`), 10 or 16; what neither i64 nor u64 holds is no int.
fn int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_holds = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_holds = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    if !(mantissa_holds && exponent_holds) {
        return None;
    }
    // What is too large for a float is a text to yaml.v2.
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether it begins like a timestamp, `2020-01-01`. The time of day is not looked at: no number has a `-` there.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 5 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_1_says() {
        use Meaning::{Bool, Float, Int, Merge, Null, Text};
        for (text, meaning) in [
            ("", Null),
            ("~", Null),
            ("null", Null),
            ("nUll", Text),
            ("y", Bool(true)),
            ("Yes", Bool(true)),
            ("on", Bool(true)),
            ("N", Bool(false)),
            ("off", Bool(false)),
            ("yES", Text),
            ("yesterday", Text),
            ("15", Int(15)),
            ("+5", Int(5)),
            ("-1", Int(-1)),
            ("0", Int(0)),
            ("1_000", Int(1_000)),
            ("0x1F", Int(31)),
            ("017", Int(15)),
            ("0o17", Int(15)),
            ("0b11", Int(3)),
            ("-0b11", Int(-3)),
            ("18446744073709551615", Int(18_446_744_073_709_551_615)),
            ("18446744073709551616", Float(18_446_744_073_709_551_616.0)),
            ("089", Float(89.0)),
            ("1:30", Text),
            ("1.5", Float(1.5)),
            ("1.", Float(1.0)),
            (".5", Float(0.5)),
            ("1e3", Float(1_000.0)),
            ("12e03", Float(12_000.0)),
            ("1_000.5", Float(1_000.5)),
            (".inf", Float(f64::INFINITY)),
            ("-.inf", Float(f64::NEG_INFINITY)),
            ("1.5.2", Text),
            ("1e", Text),
            ("1e400", Text),
            ("1e-400", Float(0.0)),
            ("-", Text),
            ("+-5", Text),
            ("0x", Text),
            ("0.0.0.0", Text),
            ("127.0.0.1", Text),
            ("2020-01-01", Text),
            ("2020-01-01T10:00:00Z", Text),
            ("foo", Text),
            ("*", Text),
            ("<<", Merge),
            ("<<<", Text),
        ] {
            assert_eq!(Meaning::of_plain(text), meaning, "{text:?}");
        }
        assert!(matches!(Meaning::of_plain(".nan"), Float(number) if number.is_nan()));
    }
}
