//! The module inside one WebAssembly instance: what stands behind the exports.

use std::cell::UnsafeCell;

use crate::{host, Error, Filter, Flusher, Json, Level, Out, Record, Stateful};

/// Global holds the one module of a library. An export has no receiver: what it works on cannot be but global. An instance is called by
/// one caller at a time and has no threads.
pub struct Global<F>(UnsafeCell<Guest<F>>);

unsafe impl<F> Sync for Global<F> {}

impl<F> Global<F> {
    /// An empty one; `init` fills it.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Global(UnsafeCell::new(Guest { filter: None, buffer: Vec::new(), out: Out::new(), state: Vec::new(), text: Vec::new() }))
    }

    /// The module. No export calls another, so there is one reference at a time.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub fn guest(&self) -> &mut Guest<F> {
        unsafe { &mut *self.0.get() }
    }
}

/// Block is a part of the input buffer, aligned as the host wants it.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Block([u8; 16]);

/// Guest is a filter and the buffers that it and the host share.
pub struct Guest<F> {
    filter: Option<F>,
    buffer: Vec<Block>, // the input buffer
    out: Out,
    state: Vec<u8>,
    text: Vec<u8>, // zero-terminated, of the last refusal
}

/// An answer that the host handles like a trap.
const FAILED: i64 = -1;

impl<F: Filter> Guest<F> {
    /// A buffer of so many bytes for the host to write into.
    pub fn input(&mut self, size: usize) -> *mut u8 {
        let units = size / 16 + 1;
        if units > self.buffer.len() {
            self.buffer = Vec::new(); // given back first: the old one's bytes are of no more use
            self.buffer.resize(units, Block([0; 16]));
        }
        self.buffer.as_mut_ptr() as *mut u8
    }

    #[inline(always)]
    fn bytes(&self, n: usize) -> &'static [u8] {
        unsafe { std::slice::from_raw_parts(self.buffer.as_ptr() as *const u8, n) }
    }

    /// Hands the configuration over. The result is 0 where it was taken, else a text.
    pub fn init(&mut self, n: usize) -> *const u8 {
        std::panic::set_hook(Box::new(|p| host::log(Level::Error, p.to_string())));
        match F::init(Json::new(self.bytes(n))) {
            Ok(filter) => {
                self.filter = Some(filter);
                std::ptr::null()
            }
            Err(e) => self.refuse(e),
        }
    }

    fn refuse(&mut self, e: Error) -> *const u8 {
        self.text.clear();
        self.text.extend_from_slice(if e.text().is_empty() { "refused" } else { e.text() }.as_bytes());
        self.text.push(0);
        self.text.as_ptr()
    }

    /// Decides on the record in the input buffer.
    #[inline(always)]
    pub fn process(&mut self, n: usize) -> i64 {
        let r = Record::new(self.bytes(n));
        self.out.reset();
        let filter = match &mut self.filter {
            Some(filter) => filter,
            None => return FAILED, // sluice_init comes first
        };
        match filter.process(&r, &mut self.out) {
            Ok(v) => v.0,
            Err(e) => self.out.park(e.text()).0,
        }
    }
}

impl<F: Stateful> Guest<F> {
    /// The state.
    pub fn save(&mut self) -> i64 {
        self.state.clear();
        match &self.filter {
            Some(filter) => filter.save(&mut self.state),
            None => return FAILED,
        }
        (self.state.as_ptr() as i64) << 32 | self.state.len() as i64
    }

    /// Hands a state over. The result is 0 where it was taken, else a text.
    pub fn load(&mut self, n: usize) -> *const u8 {
        let state = self.bytes(n);
        match self.filter.as_mut().map_or(Ok(()), |filter| filter.load(state)) {
            Ok(()) => std::ptr::null(),
            Err(e) => self.refuse(e),
        }
    }
}

impl<F: Flusher> Guest<F> {
    /// Ends a batch.
    pub fn flush(&mut self) -> i64 {
        self.out.reset();
        match &mut self.filter {
            Some(filter) => filter.flush(&mut self.out).0,
            None => FAILED,
        }
    }
}

/// A text as the bytes of a section.
pub const fn section<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        out[i] = text.as_bytes()[i];
        i += 1;
    }
    out
}
