//! my-filter lets records pass that were made fast enough, under the label that the far end knows.

use sluice::{Error, Filter, Json, Out, Record, Verdict};

const MANIFEST: &str = r#"abi = 1
name = "my-filter"
version = "0.1.0"
labels = ["rpm"]
payload = "none"
reasons = ["slow"]

[[config]]
name = "min"
type = "float"
default = 600.0
help = "lowest number of revolutions a minute"
"#;

// The manifest's reasons.
const SLOW: u16 = 0;

struct MyFilter {
    min: f64,
}

impl Filter for MyFilter {
    /// Takes the configuration, once and before all else.
    fn init(config: Json) -> Result<Self, Error> {
        let min = config.get("min").float().unwrap_or(0.0);
        if min < 0.0 {
            return Err(Error::new("min: want 0 or more"));
        }
        Ok(MyFilter { min })
    }

    /// Decides on one record. An error sets it aside with its text.
    fn process(&mut self, r: &Record, out: &mut Out) -> Result<Verdict, Error> {
        let rpm = r.float(0).ok_or("rpm: want a number")?; // the first of labels
        if rpm < self.min {
            return Ok(Verdict::drop(SLOW));
        }
        out.rename_label(b"rpm", b"speed");
        Ok(out.emit())
    }
}

sluice::module!(MyFilter, MANIFEST);
