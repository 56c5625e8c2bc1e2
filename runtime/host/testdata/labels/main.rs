// The same as main.go.
use sluice::{Error, Filter, Json, Out, Record, Verdict};

const MANIFEST: &str = r#"
abi = 1
name = "labels"
labels = ["stable", "rpm", "axis", "device"]
reasons = ["not stable"]
"#;

const NAMES: [(&[u8], &[u8]); 4] = [(b"", b""), (b"rpm", b"speed"), (b"axis", b"direction"), (b"device", b"machine")];

struct Labels;

impl Filter for Labels {
    fn init(_: Json) -> Result<Self, Error> {
        Ok(Labels)
    }

    fn process(&mut self, r: &Record, out: &mut Out) -> Result<Verdict, Error> {
        if r.slot(0) != Some(b"true") {
            return Ok(Verdict::drop(0));
        }
        for i in 1..NAMES.len() {
            if r.slot(i).is_some() {
                out.rename_label(NAMES[i].0, NAMES[i].1);
            }
        }
        Ok(out.emit())
    }
}

sluice::module!(Labels, MANIFEST);
