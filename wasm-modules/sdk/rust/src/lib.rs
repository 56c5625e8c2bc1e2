//! For writing Sluice modules in Rust: one type that is a [`Filter`], named in a macro.
//!
//! ```ignore
//! use sluice::{Error, Filter, Json, Out, Record, Verdict};
//!
//! const MANIFEST: &str = r#"
//! abi = 1
//! name = "fast-only"
//! labels = ["rpm"]
//! reasons = ["slow"]
//! "#;
//!
//! struct FastOnly;
//!
//! impl Filter for FastOnly {
//!     fn init(_config: Json) -> Result<Self, Error> {
//!         Ok(FastOnly)
//!     }
//!
//!     fn process(&mut self, r: &Record, _out: &mut Out) -> Result<Verdict, Error> {
//!         match r.float(0) { // the first of labels; None where the record has none, or no number
//!             Some(rpm) if rpm >= 600.0 => Ok(Verdict::PASS),
//!             _ => Ok(Verdict::drop(0)), // the first of reasons, under which it is counted
//!         }
//!     }
//! }
//!
//! sluice::module!(FastOnly, MANIFEST);
//! ```
//!
//! The crate owns everything that crosses the border to the host; the bytes are described in runtime/abi/ABI.md. What a filter is given are views of
//! the input buffer, valid until `process` returns. Nothing here allocates on the way of a record, but for what [`Out`] and
//! [`Writer`] keep from record to record. An `Err` sets the record aside with its text; a panic is told to the host's log and ends the instance.
//!
//! There are no dependencies, and nothing that rustc 1.63 lacks.

mod guest;
mod host;
mod json;
mod number;
mod out;
mod record;
mod writer;

pub use guest::{section, Global, Guest};
pub use host::{count, label, log, now, observe, pull, stats, Format, Level, Stats};
pub use json::Json;
pub use number::{append_decimal, float};
pub use out::{Out, Verdict};
pub use record::{Record, LAST_OF_BATCH, LATE, REPLAYED, SHADOW};
pub use writer::{append_string, Writer};

use std::borrow::Cow;

/// Filter decides on records. One instance serves one stream at a time, its records in their order; when the host turns to another
/// stream, it says so by [`Stateful::load`].
pub trait Filter: Sized {
    /// Takes the configuration, an object, once and before all else. An `Err` refuses it, and the module with it.
    fn init(config: Json) -> Result<Self, Error>;

    /// Decides on one record. An `Err` sets it aside with its text, for a person.
    fn process(&mut self, r: &Record, out: &mut Out) -> Result<Verdict, Error>;
}

/// Stateful is a filter that remembers something of a stream. Its manifest says `state = "explicit"`; see [`state!`].
pub trait Stateful: Filter {
    /// Appends the state to `dst`. It is called at the end of a batch and stored with what the batch became.
    fn save(&self, dst: &mut Vec<u8>);

    /// Begins with a stored state, or anew where it is empty. An `Err` refuses it.
    fn load(&mut self, state: &[u8]) -> Result<(), Error>;
}

/// Flusher is a filter with something to say at the end of a batch; see [`flush!`].
pub trait Flusher: Filter {
    /// [`Verdict::PASS`] for nothing, or what [`Out::emit`] returns: the outputs belong to the last record.
    fn flush(&mut self, out: &mut Out) -> Verdict;
}

/// Error is a text for a person. Whatever can be displayed becomes one by `?`.
pub struct Error(Cow<'static, str>);

impl Error {
    /// An error that says `text`.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Error(text.into())
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<E: std::fmt::Display> From<E> for Error {
    fn from(e: E) -> Self {
        Error(Cow::Owned(e.to_string()))
    }
}

/// Makes a type the module of this library: `module!(Filter, MANIFEST)`.
#[macro_export]
macro_rules! module {
    ($filter:ty, $manifest:expr) => {
        static SLUICE: $crate::Global<$filter> = $crate::Global::new();

        #[used]
        #[link_section = "sluice.manifest"]
        static SLUICE_MANIFEST: [u8; $manifest.len()] = $crate::section($manifest);

        #[no_mangle]
        pub extern "C" fn sluice_abi_1() {}

        #[no_mangle]
        pub extern "C" fn sluice_in(size: u32) -> *mut u8 {
            SLUICE.guest().input(size as usize)
        }

        #[no_mangle]
        pub extern "C" fn sluice_init(n: u32) -> *const u8 {
            SLUICE.guest().init(n as usize)
        }

        #[no_mangle]
        pub extern "C" fn sluice_process(_records: u32, n: u32) -> i64 {
            SLUICE.guest().process(n as usize)
        }
    };
}

/// For manifests with `state = "explicit"`, behind [`module!`]: the filter is [`Stateful`].
#[macro_export]
macro_rules! state {
    () => {
        #[no_mangle]
        pub extern "C" fn sluice_save() -> i64 {
            SLUICE.guest().save()
        }

        #[no_mangle]
        pub extern "C" fn sluice_load(n: u32) -> *const u8 {
            SLUICE.guest().load(n as usize)
        }
    };
}

/// For modules with something to say at the end of a batch, behind [`module!`]: the filter is a [`Flusher`].
#[macro_export]
macro_rules! flush {
    () => {
        #[no_mangle]
        pub extern "C" fn sluice_flush(_reason: i32) -> i64 {
            SLUICE.guest().flush()
        }
    };
}
