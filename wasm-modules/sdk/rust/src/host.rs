//! What the host does for a module. Outside a host, in tests, there is nobody to tell and nothing to ask for.

use crate::Record;

/// Level of a line in the host's log.
#[derive(Clone, Copy)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Format of a payload of numbers.
#[derive(Clone, Copy)]
pub enum Format {
    F32,
    F64,
    I16,
    I32,
}

/// Stats is what the host knows of a payload of numbers without copying it to the module. A constant signal has neither crest nor kurtosis: they are 0.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Stats {
    pub count: f64,
    pub mean: f64,
    pub rms: f64,
    pub least: f64,
    pub most: f64,
    pub peak: f64,
    pub crest: f64,
    pub kurtosis: f64,
}

/// Writes a line into the host's log.
pub fn log(level: Level, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    unsafe { import::log(level as i32, text.as_ptr(), text.len()) }
}

/// Adds to the module's counter of that name.
pub fn count(name: &str, by: i64) {
    unsafe { import::count(name.as_ptr(), name.len(), by) }
}

/// Adds a value to the module's distribution of that name.
pub fn observe(name: &str, value: f64) {
    unsafe { import::observe(name.as_ptr(), name.len(), value) }
}

/// The time of the record in microseconds, also where there is no record at hand; 0 before the first.
pub fn now() -> i64 {
    unsafe { import::now() }
}

/// Copies the record's payload into `dst`, for manifests with `payload = "pull"`.
pub fn pull(r: &Record, dst: &mut Vec<u8>) {
    dst.resize(r.payload_len(), 0);
    let n = unsafe { import::payload(0, 0, dst.as_mut_ptr(), dst.len()) };
    dst.truncate(n.max(0) as usize);
}

/// Copies the value of any label of the record, declared or not, into `dst`; false: the record has none. A declared slot costs nothing; this
/// costs a call of the host.
pub fn label(name: &str, dst: &mut Vec<u8>) -> bool {
    dst.resize(dst.capacity().max(64), 0);
    loop {
        let n = unsafe { import::label(0, name.as_ptr(), name.len(), dst.as_mut_ptr(), dst.len()) };
        let fits = n <= dst.len() as i32;
        dst.resize(n.max(0) as usize, 0);
        if fits {
            return n >= 0;
        }
    }
}

/// Asks the host about the record's payload as numbers; `None` where it is no whole number of them.
pub fn stats(format: Format) -> Option<Stats> {
    const KIND: i32 = 1;
    let mut s = Stats::default();
    let size = std::mem::size_of::<Stats>();
    let n = unsafe { import::dsp(0, KIND, format as i32, &mut s, size) };
    (n == size as i32).then(|| s)
}

#[cfg(target_arch = "wasm32")]
mod import {
    #[link(wasm_import_module = "sluice1")]
    extern "C" {
        pub fn log(level: i32, p: *const u8, n: usize);
        pub fn count(p: *const u8, n: usize, by: i64);
        pub fn observe(p: *const u8, n: usize, value: f64);
        pub fn payload(record: i32, off: usize, dst: *mut u8, n: usize) -> i32;
        pub fn label(record: i32, key: *const u8, key_len: usize, dst: *mut u8, cap: usize) -> i32;
        pub fn now() -> i64;
        pub fn dsp(record: i32, kind: i32, format: i32, dst: *mut super::Stats, cap: usize) -> i32;
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod import {
    pub unsafe fn log(_: i32, _: *const u8, _: usize) {}
    pub unsafe fn count(_: *const u8, _: usize, _: i64) {}
    pub unsafe fn observe(_: *const u8, _: usize, _: f64) {}
    pub unsafe fn payload(_: i32, _: usize, _: *mut u8, _: usize) -> i32 {
        0
    }
    pub unsafe fn label(_: i32, _: *const u8, _: usize, _: *mut u8, _: usize) -> i32 {
        -1
    }
    pub unsafe fn now() -> i64 {
        0
    }
    pub unsafe fn dsp(_: i32, _: i32, _: i32, _: *mut super::Stats, _: usize) -> i32 {
        -1
    }
}
