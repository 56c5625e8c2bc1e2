//! Uses everything that the SDK offers, as a record's label do says. The samples of all SDKs give the same answers, byte for byte, to the records
//! of ../../conformance.

use sluice::{Error, Filter, Flusher, Format, Json, Level, Out, Record, Stateful, Verdict, Writer};

const MANIFEST: &str = r#"abi = 1
name = "sample"
version = "1.0.0"
about = "uses everything that the SDK offers, as the label do says"
labels = ["do", "value", "device"]
payload = "full"
outputs_max = 4
state = "explicit"
state_version = 1
reasons = ["low", "no number"]
[[config]]
name = "min"
type = "float"
default = 600.0
[[config]]
name = "unit"
type = "string"
default = "g"
"#;

// The manifest's labels and reasons.
const DO: usize = 0;
const VALUE: usize = 1;
const DEVICE: usize = 2;
const LOW: u16 = 0;
const NO_NUMBER: u16 = 1;

struct Sample {
    least: f64,
    unit: String,
    json: Writer,
    bytes: Vec<u8>,
    told: bool, // that flush has something to say
    count: u64, // the state
    sum: f64,
}

impl Filter for Sample {
    fn init(config: Json) -> Result<Self, Error> {
        let least = config.get("min").float().unwrap_or(0.0);
        if least < 0.0 {
            return Err(Error::new("min: want 0 or more"));
        }
        let unit = config.get("unit").text().unwrap_or_default();
        Ok(Sample { least, unit, json: Writer::new(), bytes: Vec::new(), told: false, count: 0, sum: 0.0 })
    }

    fn process(&mut self, r: &Record, out: &mut Out) -> Result<Verdict, Error> {
        let number = r.float(VALUE);
        let device = r.slot(DEVICE).unwrap_or(b"");
        self.count += 1;
        self.sum += number.unwrap_or(0.0);
        Ok(match r.slot(DO).unwrap_or(b"") {
            b"" | b"pass" => Verdict::PASS,
            b"empty" => out.emit(),
            b"drop" => match number {
                None => Verdict::drop(NO_NUMBER),
                Some(n) if n < self.least => Verdict::drop(LOW),
                _ => Verdict::PASS,
            },
            b"keep" => Verdict::keep(1 << VALUE | 1 << DEVICE),
            b"absorb" => Verdict::ABSORB,
            b"flush" => {
                self.told = true;
                Verdict::ABSORB
            }
            b"retry" => Verdict::RETRY,
            b"retry because" => out.retry(device),
            b"park" => out.park(device),
            b"fail" => return Err(Error::new("told to fail")),
            b"crash" => panic!("told to crash"),
            b"tell" => {
                sluice::log(Level::Info, device);
                sluice::count("told", 2);
                sluice::observe("value", number.unwrap_or(f64::NAN));
                Verdict::PASS
            }
            b"label" => {
                if !sluice::label("seq", &mut self.bytes) {
                    return Ok(Verdict::drop(NO_NUMBER));
                }
                out.set_label(b"copy", &self.bytes);
                out.emit()
            }
            b"pull" => {
                sluice::pull(r, &mut self.bytes);
                out.set_payload(&self.bytes);
                out.emit()
            }
            b"stats" => self.stats(out)?,
            what => self.emit(what, r, out, number.unwrap_or(f64::NAN))?,
        })
    }
}

impl Sample {
    /// Makes the outputs that are only a few lines each.
    fn emit(&mut self, what: &[u8], r: &Record, out: &mut Out, number: f64) -> Result<Verdict, Error> {
        match what {
            b"patch" => {
                out.set_label(b"speed", r.slot(VALUE).unwrap_or(b""));
                out.set_label(b"note", b"");
                out.delete_label(b"seq");
                out.rename_label(b"device", b"machine");
                out.set_topic(r.entry());
                out.set_type(b"text/plain");
                out.set_payload(b"changed");
                out.set_time(r.time() + 1_000_000);
            }
            b"same" => out.output(),
            b"split" => {
                out.output();
                out.set_label(b"part", b"1");
                out.output();
                out.set_label(b"part", b"2");
            }
            b"cut" => out.cut_payload(4, 8),
            b"clear" => {
                out.clear_labels();
                out.set_label(b"only", r.slot(DEVICE).unwrap_or(b""));
            }
            b"name" => out.set_label(r.payload(), b"1"),
            b"json" => {
                self.record(r, number);
                out.set_payload(self.json.bytes());
                out.set_type(b"application/json");
            }
            b"wave" => {
                let values = r.f32();
                let mut sum = 0.0;
                for v in values {
                    sum += *v as f64;
                }
                self.json.reset();
                self.json.int("n", values.len() as i64);
                self.json.float("mean", sum / values.len() as f64, 6);
                out.set_payload(self.json.bytes());
            }
            b"state" => {
                self.json.reset();
                self.json.int("count", self.count as i64);
                self.json.float("sum", self.sum, 3);
                self.json.int("now", sluice::now());
                out.set_payload(self.json.bytes());
            }
            _ => return Err(Error::new("do: nothing of that name")),
        }
        Ok(out.emit())
    }

    /// Writes everything about a record.
    fn record(&mut self, r: &Record, number: f64) {
        self.json.reset();
        self.json.text("device", r.slot(DEVICE).unwrap_or(b""));
        self.json.text("type", r.content_type());
        self.json.text("unit \"1\"", self.unit.as_bytes());
        self.json.float("min", self.least, 1);
        self.json.float("d0", number, 0);
        self.json.float("d1", number, 1);
        self.json.float("d3", number, 3);
        self.json.float("d9", number, 9);
        self.json.int("time", r.time());
        self.json.int("size", r.payload_len() as i64);
        self.json.bool("late", r.flags() & sluice::LATE != 0);
        self.json.raw("list", b"[1,null]");
    }

    fn stats(&mut self, out: &mut Out) -> Result<Verdict, Error> {
        let s = sluice::stats(Format::F32).ok_or("no waveform")?;
        self.json.reset();
        self.json.float("count", s.count, 0);
        self.json.float("mean", s.mean, 4);
        self.json.float("rms", s.rms, 4);
        self.json.float("least", s.least, 4);
        self.json.float("most", s.most, 4);
        self.json.float("peak", s.peak, 4);
        self.json.float("crest", s.crest, 4);
        self.json.float("kurtosis", s.kurtosis, 4);
        out.set_payload(self.json.bytes());
        Ok(out.emit())
    }
}

impl Stateful for Sample {
    fn save(&self, dst: &mut Vec<u8>) {
        dst.extend_from_slice(&self.count.to_le_bytes());
        dst.extend_from_slice(&self.sum.to_le_bytes());
    }

    fn load(&mut self, state: &[u8]) -> Result<(), Error> {
        let (count, sum) = match state.len() {
            0 => (0, 0.0),
            16 => (u64::from_le_bytes(state[..8].try_into()?), f64::from_le_bytes(state[8..].try_into()?)),
            _ => return Err(Error::new("state: want 16 bytes")),
        };
        self.count = count;
        self.sum = sum;
        Ok(())
    }
}

impl Flusher for Sample {
    /// Says how many records there were, once for each do = "flush".
    fn flush(&mut self, out: &mut Out) -> Verdict {
        if !self.told {
            return Verdict::PASS;
        }
        self.told = false;
        self.json.reset();
        self.json.int("count", self.count as i64);
        out.set_payload(self.json.bytes());
        out.emit()
    }
}

sluice::module!(Sample, MANIFEST);
sluice::state!();
sluice::flush!();
