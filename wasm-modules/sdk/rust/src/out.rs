//! The answer to a record.

/// Verdict is what `process` returns: one of the constants, [`Verdict::drop`], [`Verdict::keep`], or what a method of [`Out`] returns.
#[derive(Clone, Copy)]
pub struct Verdict(pub(crate) i64);

const SHORT: i64 = 1 << 62;

impl Verdict {
    /// Publish it unchanged.
    pub const PASS: Verdict = Verdict(SHORT);
    /// Taken into the state; nothing is published.
    pub const ABSORB: Verdict = Verdict(SHORT | 3 << 48);
    /// The whole batch again later.
    pub const RETRY: Verdict = Verdict(SHORT | 5 << 48);

    /// Gives a record up for a reason: a number of the manifest's reasons, from 0.
    pub const fn drop(reason: u16) -> Verdict {
        Verdict(SHORT | 2 << 48 | (reason as i64) << 32)
    }

    /// Publishes a record with only those labels whose slot's bit is set.
    pub const fn keep(slots: u32) -> Verdict {
        Verdict(SHORT | 1 << 48 | slots as i64)
    }
}

const HEAD: usize = 8; // bytes of the head of an answer, of an output and of an op
const MAX_NAME: usize = 0xffff;
const MAX_TEXT: usize = 4 << 10;
const EMIT: u8 = 1;
const PARK: u8 = 4;
const RETRY: u8 = 5;

/// Out takes the outputs of one record, in a buffer that it keeps. [`Out::output`] begins one, at first equal to the record; the other methods change
/// it, and begin one where there is none; [`Out::emit`] ends the answer.
pub struct Out {
    bytes: Vec<u8>,
    output: usize, // where the open output begins
    ops: u16,      // of the open output
    outputs: u16,
    named: bool, // a label's name was too long
}

impl Out {
    pub(crate) const fn new() -> Self {
        Out { bytes: Vec::new(), output: 0, ops: 0, outputs: 0, named: false }
    }

    #[inline(always)]
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
        self.outputs = 0;
        self.named = false;
    }

    /// Makes room for n more bytes and returns where they begin; they are not zeroed.
    #[inline(always)]
    fn space(&mut self, n: usize) -> *mut u8 {
        self.bytes.reserve(n);
        let at = self.bytes.len();
        unsafe {
            self.bytes.set_len(at + n);
            self.bytes.as_mut_ptr().add(at)
        }
    }

    /// Writes a head that space has made room for.
    #[inline(always)]
    fn put(&mut self, at: usize, v: u64) {
        debug_assert!(at + HEAD <= self.bytes.len());
        unsafe { (self.bytes.as_mut_ptr().add(at) as *mut u64).write_unaligned(v) }
    }

    /// Begins the next output.
    #[inline]
    pub fn output(&mut self) {
        self.close();
        if self.outputs == 0 {
            self.space(HEAD); // of the answer; heads are written when what they are of ends
        }
        self.output = self.bytes.len();
        self.space(HEAD);
        self.ops = 0;
        self.outputs += 1;
    }

    /// Makes the open output end where the buffer ends.
    #[inline(always)]
    fn close(&mut self) {
        if self.outputs > 0 {
            self.put(self.output, (self.bytes.len() - self.output - HEAD) as u64 | (self.ops as u64) << 32);
        }
    }

    #[inline(always)]
    fn op(&mut self, code: u8, key: &[u8], value: &[u8]) {
        if self.outputs == 0 {
            self.output();
        }
        if key.len() > MAX_NAME {
            self.named = true;
            return;
        }
        let head = code as u64 | (key.len() as u64) << 16 | (value.len() as u64) << 32;
        unsafe {
            let at = self.space(HEAD + key.len() + value.len());
            (at as *mut u64).write_unaligned(head);
            copy(at.add(HEAD), key);
            copy(at.add(HEAD + key.len()), value);
        }
        self.ops += 1;
    }

    /// Replaces a label where it stands, or adds it after the others.
    pub fn set_label(&mut self, name: &[u8], value: &[u8]) {
        self.op(1, name, value)
    }

    pub fn delete_label(&mut self, name: &[u8]) {
        self.op(2, name, b"")
    }

    /// Gives a label another name; nothing where it is absent.
    pub fn rename_label(&mut self, name: &[u8], to: &[u8]) {
        self.op(9, name, to)
    }

    pub fn clear_labels(&mut self) {
        self.op(3, b"", b"")
    }

    /// What is put after the remote's topic.
    pub fn set_topic(&mut self, suffix: &[u8]) {
        self.op(4, b"", suffix)
    }

    pub fn set_type(&mut self, content_type: &[u8]) {
        self.op(5, b"", content_type)
    }

    pub fn set_payload(&mut self, payload: &[u8]) {
        self.op(6, b"", payload)
    }

    pub fn set_time(&mut self, microseconds: i64) {
        self.op(7, b"", &microseconds.to_le_bytes())
    }

    /// Keeps only a part of the record's payload, which need not be here.
    pub fn cut_payload(&mut self, off: u32, n: u32) {
        self.op(8, b"", &(off as u64 | (n as u64) << 32).to_le_bytes())
    }

    /// Publishes the outputs in the record's place. Without one it is [`Verdict::PASS`].
    #[inline(always)]
    pub fn emit(&mut self) -> Verdict {
        if self.named {
            return self.park("a label's name is longer than 65535 bytes");
        }
        if self.outputs == 0 {
            return Verdict::PASS;
        }
        self.close();
        self.decided(EMIT, self.outputs)
    }

    /// Sets the record aside with a text for a person.
    pub fn park(&mut self, why: impl AsRef<[u8]>) -> Verdict {
        self.say(PARK, why.as_ref())
    }

    /// Asks for the batch again later and says why.
    pub fn retry(&mut self, why: impl AsRef<[u8]>) -> Verdict {
        self.say(RETRY, why.as_ref())
    }

    fn say(&mut self, verdict: u8, why: &[u8]) -> Verdict {
        self.reset();
        self.space(HEAD);
        self.bytes.extend_from_slice(&why[..why.len().min(MAX_TEXT)]);
        self.decided(verdict, 0)
    }

    fn decided(&mut self, verdict: u8, reason: u16) -> Verdict {
        self.put(0, verdict as u64 | (reason as u64) << 16 | ((self.bytes.len() - HEAD) as u64) << 32);
        Verdict((self.bytes.as_ptr() as i64) << 32 | self.bytes.len() as i64)
    }
}

/// Copies a text, which is short: two moves that overlap cost less than an instruction for any length.
#[inline(always)]
unsafe fn copy(dst: *mut u8, text: &[u8]) {
    let (src, n) = (text.as_ptr(), text.len());
    if n > 16 {
        std::ptr::copy_nonoverlapping(src, dst, n);
    } else if n >= 8 {
        let (first, last) = ((src as *const u64).read_unaligned(), (src.add(n - 8) as *const u64).read_unaligned());
        (dst as *mut u64).write_unaligned(first);
        (dst.add(n - 8) as *mut u64).write_unaligned(last);
    } else if n >= 4 {
        let (first, last) = ((src as *const u32).read_unaligned(), (src.add(n - 4) as *const u32).read_unaligned());
        (dst as *mut u32).write_unaligned(first);
        (dst.add(n - 4) as *mut u32).write_unaligned(last);
    } else if n > 0 {
        let (first, middle, last) = (*src, *src.add(n / 2), *src.add(n - 1));
        *dst = first;
        *dst.add(n / 2) = middle;
        *dst.add(n - 1) = last;
    }
}
