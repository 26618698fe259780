//! Sizes as people write them: `512M`, `1.5G`, `2 GiB`, `4096`.
//!
//! Units are powers of 1,024, with or without `B` or `iB`, in either case; without one it is bytes.

/// Units, each 1,024 of the one before.
const UNITS: [char; 5] = ['B', 'K', 'M', 'G', 'T'];

/// The number of bytes.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(crate) fn parse(text: &str) -> Result<u64, &'static str> {
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit_of(unit.trim()).ok_or("is not a size")?;
    let bytes = times(number, unit)?;
    if bytes == 0 { Err("is no room at all") } else { Ok(bytes) }
}

fn unit_of(text: &str) -> Option<u64> {
    let text = text.to_ascii_uppercase();
    let letter = match text.as_str() {
        "" | "B" => 'B',
        other => {
            let mut chars = other.chars();
            let letter = chars.next()?;
            let is_known = matches!(chars.as_str(), "" | "B" | "IB") && letter != 'B';
            is_known.then_some(letter)?
        }
    };
    let power = UNITS.iter().position(|unit| *unit == letter)?;
    Some(1 << (10 * power))
}

/// `number` may have a decimal point if there is a unit.
fn times(number: &str, unit: u64) -> Result<u64, &'static str> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or("is more than there can be");
    }
    if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() {
        return Err("is more than there can be");
    }
    let bytes = number.parse::<f64>().map_err(|_| "is not a size")? * unit as f64;
    if unit == 1 {
        return Err("has a part of a byte");
    }
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err("is more than there can be") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units_are_understood() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4096B", 4096),
            (" 512M ", 512 << 20),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("512MiB", 512 << 20),
            ("2 GiB", 2 << 30),
            ("2g", 2 << 30),
            ("1.5G", 3 << 29),
            ("0.5k", 512),
            ("1T", 1 << 40),
            ("64KiB", 64 << 10),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "", " ", "lots", "G", "12X", "12 34", "-1", "-1G", "1e9", "1.5.2G", "512BB", "512iB",
            "512Bi", "inf", "nan", ".", ".G", "\u{b2}G", "1,5G", "0x10",
        ] {
            assert_eq!(parse(text), Err("is not a size"), "{text:?}");
        }
        assert_eq!(parse("1.5"), Err("has a part of a byte"));
        assert_eq!(parse("0"), Err("is no room at all"));
        assert_eq!(parse("0.0G"), Err("is no room at all"));
        for text in ["99999999999999999999", "99999999T", "99999999.5T"] {
            assert_eq!(parse(text), Err("is more than there can be"), "{text:?}");
        }
    }
}
