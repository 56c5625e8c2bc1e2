//! JSON, read: the configuration, which the host has written, and payloads that are trusted to be JSON.

use crate::number;

/// Json is one JSON value, as it was written: a view. It is empty where there is no value, and all methods take that. A text that is no JSON
/// makes values of no meaning, but nothing worse.
#[derive(Clone, Copy)]
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// A view of a text, the space around it left out.
    pub fn new(text: &'a [u8]) -> Self {
        let (mut from, mut to) = (0, text.len());
        while from < to && text[from] <= b' ' {
            from += 1;
        }
        while from < to && text[to - 1] <= b' ' {
            to -= 1;
        }
        Json(&text[from..to])
    }

    /// The value as it was written.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// Whether there is a value.
    pub fn exists(&self) -> bool {
        !self.0.is_empty()
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Json<'a> {
        self.members().find(|(key, _)| key.text().as_deref() == Some(name)).map_or(Json(b""), |(_, value)| value)
    }

    /// The members of an object: keys, which are strings, and values.
    pub fn members(&self) -> impl Iterator<Item = (Json<'a>, Json<'a>)> {
        let mut rest = self.inside(b'{');
        std::iter::from_fn(move || {
            let key = next(&mut rest)?;
            Some((key, next(&mut rest)?))
        })
    }

    /// The elements of an array.
    pub fn elements(&self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = self.inside(b'[');
        std::iter::from_fn(move || next(&mut rest))
    }

    fn inside(&self, open: u8) -> &'a [u8] {
        match self.0 {
            [first, inside @ .., _] if *first == open => inside,
            _ => b"",
        }
    }

    /// A number.
    pub fn float(&self) -> Option<f64> {
        number::float(self.0)
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// What a string says.
    pub fn text(&self) -> Option<String> {
        let inside = match self.0 {
            [b'"', inside @ .., b'"'] => String::from_utf8_lossy(inside),
            _ => return None,
        };
        let mut out = String::new();
        let mut rest = inside.chars();
        while let Some(c) = rest.next() {
            out.push(if c == '\\' { escaped(&mut rest)? } else { c });
        }
        Some(out)
    }
}

/// Takes the next value off rest, and the comma or colon behind it.
fn next<'a>(rest: &mut &'a [u8]) -> Option<Json<'a>> {
    let (mut depth, mut quoted, mut i) = (0, false, 0);
    while i < rest.len() {
        match rest[i] {
            b'\\' if quoted => i += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' | b':' if depth == 0 => break,
            _ => {}
        }
        i += 1;
    }
    let value = Json::new(&rest[..i.min(rest.len())]);
    *rest = rest.get(i + 1..).unwrap_or(b"");
    value.exists().then(|| value)
}

/// The character that an escape stands for, the backslash already taken.
fn escaped(rest: &mut std::str::Chars) -> Option<char> {
    Some(match rest.next()? {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = hex4(rest)?;
            let mut ahead = rest.clone();
            if first >> 10 == 0x36 && ahead.next() == Some('\\') && ahead.next() == Some('u') {
                let low = hex4(&mut ahead)?;
                if low >> 10 == 0x37 {
                    *rest = ahead;
                    return char::from_u32(0x10000 + ((first & 0x3ff) << 10) + (low & 0x3ff));
                }
            }
            char::from_u32(first).unwrap_or('\u{fffd}') // half of a pair
        }
        c => c,
    })
}

fn hex4(rest: &mut std::str::Chars) -> Option<u32> {
    let mut v = 0;
    for _ in 0..4 {
        v = v << 4 | rest.next()?.to_digit(16)?;
    }
    Some(v)
}
