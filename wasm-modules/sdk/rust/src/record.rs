//! A record, as it lies in the input buffer.

use crate::number;

/// Flags of a record.
pub const REPLAYED: u16 = 1;
pub const SHADOW: u16 = 2;
pub const LATE: u16 = 4;
pub const LAST_OF_BATCH: u16 = 8;

const HEAD: usize = 32;

/// Record is a view of one record. The host has written it, so its offsets are trusted.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    b: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn new(b: &'a [u8]) -> Self {
        debug_assert!(b.len() >= HEAD);
        Record { b }
    }

    #[inline(always)]
    fn get<T: Copy>(&self, at: usize) -> T {
        unsafe { (self.b.as_ptr().add(at) as *const T).read_unaligned() } // both sides are little-endian
    }

    #[inline(always)]
    fn part(&self, off: usize, n: usize) -> &'a [u8] {
        unsafe { std::slice::from_raw_parts(self.b.as_ptr().add(off), n) }
    }

    /// The bytes that the reference at `at` names, `None` where it names none.
    #[inline(always)]
    fn reference(&self, at: usize) -> Option<&'a [u8]> {
        let r: u32 = self.get(at);
        match (r & 0xffff) as usize {
            0 => None,
            off => Some(self.part(off, (r >> 16) as usize)),
        }
    }

    /// Microseconds since the Unix epoch.
    pub fn time(&self) -> i64 {
        self.get(8)
    }

    /// A set of [`REPLAYED`], [`SHADOW`], [`LATE`] and [`LAST_OF_BATCH`].
    pub fn flags(&self) -> u16 {
        self.get(4)
    }

    /// Its content type, empty where it has none.
    pub fn content_type(&self) -> &'a [u8] {
        self.reference(24).unwrap_or(b"")
    }

    /// Its entry in its bucket.
    pub fn entry(&self) -> &'a [u8] {
        self.reference(28).unwrap_or(b"")
    }

    /// The number of slots: the declared labels, or twice the number of labels with `labels = ["*"]`.
    pub fn slots(&self) -> usize {
        self.get::<u16>(6) as usize
    }

    /// The value of a declared label, `None` where the record does not have it. With `labels = ["*"]`: name, value, name, value.
    #[inline(always)]
    pub fn slot(&self, i: usize) -> Option<&'a [u8]> {
        if i < self.slots() {
            self.reference(HEAD + 4 * i)
        } else {
            None
        }
    }

    /// The value of a declared label as a number, `None` where it is none.
    pub fn float(&self, i: usize) -> Option<f64> {
        number::float(self.slot(i)?)
    }

    /// The length of the whole payload, be it here or not.
    pub fn payload_len(&self) -> usize {
        self.get::<u32>(16) as usize
    }

    /// The part of the payload that is here.
    pub fn payload(&self) -> &'a [u8] {
        match self.get::<u32>(20) as usize {
            0 => b"",
            off => self.part(off, self.get::<u32>(0) as usize - off),
        }
    }

    /// The payload as `f32` values, where it lies; bytes beyond the last whole value are left out.
    pub fn f32(&self) -> &'a [f32] {
        let p = self.payload();
        if p.len() < 4 {
            return &[];
        }
        assert!(p.as_ptr() as usize % 4 == 0, "a payload that is not aligned");
        unsafe { std::slice::from_raw_parts(p.as_ptr() as *const f32, p.len() / 4) }
    }
}
