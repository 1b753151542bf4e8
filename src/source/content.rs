//! What the content of a sensor's file means: a number with all its digits, or text. Pure.

use crate::config::ReadAs;
use serde_json::{Number, Value};

/// Digits of a scaled number, counted from the largest of its parts: what a binary fraction holds for certain
/// (`f64::DIGITS`). More would show its noise: 48312 x 0.001 is 48.312, not 48.312000000000005.
const DIGITS: i32 = f64::DIGITS as i32;

/// Why a content is no value.
#[derive(Debug, PartialEq)]
pub enum Unfit {
    NoNumber,
    /// A number that JSON cannot hold.
    NotFinite(f64),
}

/// The content without what is not part of it: a byte order mark, white space and NULs around it. A NUL inside, as between
/// the strings of a device tree, ends a line.
pub fn tidied(content: &str) -> String {
    let content = content.strip_prefix('\u{FEFF}').unwrap_or(content);
    content.trim_matches(|character: char| character.is_whitespace() || character == '\0').replace('\0', "\n")
}

/// The value of a content that is not scaled: as it stands.
pub fn plain(text: String, read_as: ReadAs) -> Result<Value, Unfit> {
    let number = match read_as {
        ReadAs::Text => None,
        ReadAs::Number => Some(number(&text).ok_or(Unfit::NoNumber)?),
        // Only words do not look like a number and are one.
        ReadAs::Auto => match text.parse::<f64>() {
            Ok(number) if !number.is_finite() && !text.contains(|character: char| character.is_ascii_digit()) => {
                return Err(Unfit::NotFinite(number));
            }
            _ => decimal(&text).filter(|_| !is_identifier(&text)),
        },
    };
    let Some(digits) = number else { return Ok(Value::String(text)) };
    let value = digits.parse::<f64>().unwrap_or(f64::NAN);
    match serde_json::from_str::<Number>(&digits) {
        Ok(number) if value.is_finite() => Ok(Value::Number(number)),
        _ if read_as == ReadAs::Auto => Ok(Value::String(text)),
        _ => Err(Unfit::NotFinite(value)),
    }
}

/// The value of a content that is scaled: number x `scale` + `offset`.
pub fn scaled(text: &str, scale: f64, offset: f64) -> Result<Value, Unfit> {
    let number = number(text).and_then(|digits| digits.parse::<f64>().ok());
    let number = number.or_else(|| text.parse().ok()).ok_or(Unfit::NoNumber)?;
    let product = number * scale;
    let sum = product + offset;
    let largest = product.abs().max(offset.abs());
    let rounded = if largest.is_finite() && largest > 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "the logarithm of a number is between -324 and 309")]
        let places = DIGITS - 1 - largest.log10().floor() as i32;
        format!("{sum:.*}", usize::try_from(places).unwrap_or(0)).parse().unwrap_or(sum)
    } else {
        sum
    };
    Number::from_f64(rounded).map(Value::Number).ok_or(Unfit::NotFinite(rounded))
}

/// A number as JSON writes it, with all its digits: a decimal, or a hexadecimal one behind `0x`.
fn number(text: &str) -> Option<String> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u128::from_str_radix(digits, 16).ok().map(|number| number.to_string());
    }
    decimal(text)
}

/// A decimal as JSON writes it: without a plus or leading zeros, with digits on both sides of a point.
fn decimal(text: &str) -> Option<String> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let (mantissa, exponent) = rest.find(['e', 'E']).map_or((rest, ""), |at| rest.split_at(at));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let power = exponent.get(1..).map(|power| power.strip_prefix(['+', '-']).unwrap_or(power));
    let has_power = power.is_none_or(|power| !power.is_empty() && are_digits(power));
    if whole.len() + fraction.len() == 0 || !are_digits(whole) || !are_digits(fraction) || !has_power {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

/// Whether it has more of an identifier than of a number: leading zeros, which a number would lose, or an `e` amid nothing
/// but digits, as hexadecimal ones have.
fn is_identifier(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let has_zeros = digits.starts_with('0') && digits[1..].starts_with(|next: char| next.is_ascii_digit());
    has_zeros || (text.contains(['e', 'E']) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Result<Value, Unfit>) -> String {
        value.map_or_else(|unfit| format!("{unfit:?}"), |value| value.to_string())
    }

    #[test]
    fn what_is_not_scaled_comes_out_with_all_its_digits() {
        for (content, expected) in [
            ("-17\n", "-17"),
            ("18446744073709551615", "18446744073709551615"),
            ("340282366920938463463374607431768211455", "340282366920938463463374607431768211455"),
            ("0.12345678901234567", "0.12345678901234567"),
            ("48.30\r\n", "48.30"),
            ("0", "0"),
            ("-0.5", "-0.5"),
            ("+21.5", "21.5"),
            (".5", "0.5"),
            ("1e-05", "1e-05"),
            ("000000007e123456", r#""000000007e123456""#),
            ("7e123456", r#""7e123456""#),
            ("12e4", r#""12e4""#),
            ("0000000012345678", r#""0000000012345678""#),
            ("0x1F", r#""0x1F""#),
            ("1.5e999", r#""1.5e999""#),
            ("1.2.3", r#""1.2.3""#),
            ("-", r#""-""#),
            ("\u{FEFF}on\r\n", r#""on""#),
            ("Raspberry Pi 4 Model B Rev 1.1\0", r#""Raspberry Pi 4 Model B Rev 1.1""#),
            ("raspberrypi,4-model-b\0brcm,bcm2711\0", r#""raspberrypi,4-model-b\nbrcm,bcm2711""#),
            ("42\n\0\0", "42"),
            ("NaN", "NotFinite(NaN)"),
            ("-inf", "NotFinite(-inf)"),
        ] {
            assert_eq!(shown(plain(tidied(content), ReadAs::Auto)), expected, "{content:?}");
        }
    }

    #[test]
    fn the_key_says_how_it_is_read() {
        for (content, number, text) in [
            ("007", "7", r#""007""#),
            ("48.30", "48.30", r#""48.30""#),
            ("12e4", "12e+4", r#""12e4""#),
            ("0x1F", "31", r#""0x1F""#),
            ("warm", "NoNumber", r#""warm""#),
            ("nan", "NoNumber", r#""nan""#),
            ("7e123456", "NotFinite(inf)", r#""7e123456""#),
        ] {
            assert_eq!(shown(plain(content.to_owned(), ReadAs::Number)), number, "{content:?}");
            assert_eq!(shown(plain(content.to_owned(), ReadAs::Text)), text, "{content:?}");
        }
    }

    #[test]
    fn a_scaled_number_has_no_noise_of_binary_fractions_and_keeps_its_digits() {
        for (content, scale, offset, expected) in [
            ("48312", 0.001, 0.0, "48.312"),
            ("100", 1.8, 32.0, "212.0"),
            ("100.1", 1.0, -100.0, "0.1"),
            ("1234567890123", 0.001, 0.0, "1234567890.123"),
            ("0x10", 0.5, 0.0, "8.0"),
            ("0", 0.001, 0.0, "0.0"),
            ("warm", 0.1, 0.0, "NoNumber"),
            ("NaN", 0.1, 0.0, "NotFinite(NaN)"),
            ("1e308", 1e10, 0.0, "NotFinite(inf)"),
        ] {
            assert_eq!(shown(scaled(content, scale, offset)), expected, "{content:?}");
        }
    }
}
