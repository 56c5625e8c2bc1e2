//! JSON, written.

use crate::number::{append_decimal, append_int};

/// Writer appends one JSON object to a buffer that it keeps. Keys are written as they come, in their order.
///
/// ```ignore
/// w.reset();
/// w.text("device", device);
/// w.float("rms", rms, 4);
/// out.set_payload(w.bytes());
/// ```
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty one, for a constant too.
    pub const fn new() -> Self {
        Writer { bytes: Vec::new() }
    }

    /// Begins an object.
    pub fn reset(&mut self) {
        self.bytes.clear();
    }

    /// Writes a member that is a string.
    pub fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        append_string(&mut self.bytes, value);
    }

    /// Writes a member that is a number, with so many digits (0 to 9) after the point.
    pub fn float(&mut self, key: &str, value: f64, digits: u32) {
        self.key(key);
        append_decimal(&mut self.bytes, value, digits);
    }

    /// Writes a member that is an integer.
    pub fn int(&mut self, key: &str, value: i64) {
        self.key(key);
        append_int(&mut self.bytes, value);
    }

    /// Writes a member that is true or false.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.raw(key, if value { b"true" } else { b"false" });
    }

    /// Writes a member whose value is JSON already.
    pub fn raw(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.bytes.extend_from_slice(value);
    }

    fn key(&mut self, key: &str) {
        self.bytes.push(if self.bytes.is_empty() { b'{' } else { b',' });
        append_string(&mut self.bytes, key.as_bytes());
        self.bytes.push(b':');
    }

    /// The finished object, valid until `reset`.
    pub fn bytes(&mut self) -> &[u8] {
        if self.bytes.is_empty() {
            self.bytes.push(b'{');
        }
        self.bytes.push(b'}');
        &self.bytes
    }
}

/// Appends a JSON string. A byte that is no UTF-8 becomes the replacement character: labels are bytes, JSON is not.
pub fn append_string(dst: &mut Vec<u8>, text: &[u8]) {
    dst.push(b'"');
    let mut i = 0;
    while i < text.len() {
        let c = text[i];
        let n = valid(&text[i..]);
        match c {
            _ if n > 1 => dst.extend_from_slice(&text[i..i + n]),
            _ if n == 0 => dst.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' | b'\\' => dst.extend_from_slice(&[b'\\', c]),
            b'\n' => dst.extend_from_slice(b"\\n"),
            b'\r' => dst.extend_from_slice(b"\\r"),
            b'\t' => dst.extend_from_slice(b"\\t"),
            0..=0x1f => {
                let hex = b"0123456789abcdef";
                dst.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex[c as usize >> 4], hex[c as usize & 15]]);
            }
            _ => dst.push(c),
        }
        i += n.max(1);
    }
    dst.push(b'"');
}

/// The length of the UTF-8 of one character, 0 where the text does not begin with one.
fn valid(text: &[u8]) -> usize {
    let n = match text[0] {
        0..=0x7f => return 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 0,
    };
    match text.get(..n).map(std::str::from_utf8) {
        Some(Ok(_)) => n,
        _ => 0,
    }
}
