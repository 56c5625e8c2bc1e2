//! Numbers in texts.

/// Reads a decimal number such as a label's value: a sign, digits with a point, an exponent; at most 400 bytes. No words, no hex, nothing infinite.
pub fn float(text: &[u8]) -> Option<f64> {
    let mut mantissa = 0u64;
    let (mut digits, mut scale, mut at) = (0, 0, 0);
    let negative = text.first() == Some(&b'-');
    if negative || text.first() == Some(&b'+') {
        at = 1;
    }
    let mut point = false;
    while at < text.len() {
        match text[at] {
            b'.' if !point => point = true,
            c @ b'0'..=b'9' if digits < 15 => {
                mantissa = 10 * mantissa + (c - b'0') as u64;
                digits += 1;
                scale += point as usize;
            }
            _ => return slow(text), // an exponent, more digits than a float takes exactly, or no number
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    let value = mantissa as f64 / POWERS[scale]; // both exact, so the quotient is rounded once
    Some(if negative { -value } else { value })
}

const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

fn slow(text: &[u8]) -> Option<f64> {
    let plain = |c: &u8| c.is_ascii_digit() || b".+-eE".contains(c);
    if text.len() > 400 || !text.iter().all(plain) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then(|| value)
}

/// Appends a number with so many digits (0 to 9) after the point, rounded from its exact value, halves to even. What JSON has no number for
/// becomes null.
pub fn append_decimal(dst: &mut Vec<u8>, value: f64, digits: u32) {
    if !value.is_finite() {
        return dst.extend_from_slice(b"null");
    }
    let bits = value.to_bits();
    let power = (bits >> 52 & 0x7ff) as i32;
    let mantissa = bits & ((1 << 52) - 1) | (power.min(1) as u64) << 52;
    let shift = 1075 - power.max(1); // magnitude = mantissa / 2^shift
    if bits >> 63 != 0 {
        dst.push(b'-');
    }
    let unit = 10u128.pow(digits);
    let mut scaled = 0; // magnitude * unit, rounded
    if shift <= 0 {
        dst.extend_from_slice(format!("{:.0}", value.abs()).as_bytes()); // whole: there is nothing to round
    } else {
        if shift < 100 {
            let exact = mantissa as u128 * unit;
            let (rest, half) = (exact & ((1 << shift) - 1), 1 << (shift - 1));
            scaled = exact >> shift;
            if rest > half || rest == half && scaled & 1 != 0 {
                scaled += 1;
            }
        }
        append_uint(dst, (scaled / unit) as u64, 1);
    }
    if digits > 0 {
        dst.push(b'.');
        append_uint(dst, (scaled % unit) as u64, digits as usize);
    }
}

/// Appends an integer.
pub(crate) fn append_int(dst: &mut Vec<u8>, v: i64) {
    if v < 0 {
        dst.push(b'-');
    }
    append_uint(dst, v.unsigned_abs(), 1);
}

/// Appends an integer of so many digits at least.
fn append_uint(dst: &mut Vec<u8>, mut v: u64, least: usize) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while v > 0 {
        at -= 1;
        text[at] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    dst.extend_from_slice(&text[at.min(text.len() - least)..]);
}
