// Uses everything that the SDK offers, as a record's label do says. The samples of all SDKs give the same answers, byte for byte, to the records
// of ../../conformance.
import * as sluice from "../sluice";
export {
  sluice_abi_1, sluice_describe, sluice_in, sluice_init, sluice_process, sluice_save, sluice_load, sluice_flush,
} from "../sluice";

const MANIFEST = `abi = 1
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
`;

// The manifest's labels and reasons.
const DO = 0, VALUE = 1, DEVICE = 2;
const LOW: u16 = 0, NO_NUMBER: u16 = 1;

const COPY = sluice.text("copy"), COUNT = sluice.text("count"), NOW = sluice.text("now"), SEQ = sluice.text("seq"), SUM = sluice.text("sum");
const SPEED = sluice.text("speed"), NOTE = sluice.text("note"), NAME = sluice.text("device"), MACHINE = sluice.text("machine");
const PLAIN = sluice.text("text/plain"), JSON = sluice.text("application/json"), CHANGED = sluice.text("changed"), ONLY = sluice.text("only");
const PART = sluice.text("part"), ONE = sluice.text("1"), TWO = sluice.text("2"), TOLD = sluice.text("told"), VALUE_NAME = sluice.text("value");
const TYPE = sluice.text("type"), UNIT = sluice.text('unit "1"'), MIN = sluice.text("min"), D0 = sluice.text("d0"), D1 = sluice.text("d1");
const D3 = sluice.text("d3"), D9 = sluice.text("d9"), TIME = sluice.text("time"), SIZE = sluice.text("size"), LATE = sluice.text("late");
const LIST = sluice.text("list"), ONE_NULL = sluice.text("[1,null]"), N = sluice.text("n"), MEAN = sluice.text("mean"), RMS = sluice.text("rms");
const LEAST = sluice.text("least"), MOST = sluice.text("most"), PEAK = sluice.text("peak"), CREST = sluice.text("crest"), KURTOSIS = sluice.text("kurtosis");
const NO_WAVEFORM = sluice.text("no waveform"), TOLD_TO_FAIL = sluice.text("told to fail"), NOTHING = sluice.text("do: nothing of that name");

const ROOM: u32 = 64 << 10;
const room = heap.alloc(ROOM);

let least: f64 = 0;
let unit: sluice.Text = sluice.NONE;
let told = false; // that flush has something to say
let seen: u64 = 0; // the state
let sum: f64 = 0;

function init(config: sluice.Text): string | null {
  least = sluice.float(sluice.get(config, "min"));
  if (least < 0) return "min: want 0 or more";
  unit = sluice.unquote(sluice.get(config, "unit"));
  return null;
}

function save(dst: usize, _room: u32): u32 {
  store<u64>(dst, seen);
  store<f64>(dst, sum, 8);
  return 16;
}

function restore(state: sluice.Text): string | null {
  const n = sluice.length(state);
  if (n && n != 16) return "state: want 16 bytes";
  seen = n ? load<u64>(sluice.start(state)) : 0;
  sum = n ? load<f64>(sluice.start(state), 8) : 0;
  return null;
}

function process(): i64 {
  const what = sluice.slot(DO), number = sluice.float(sluice.slot(VALUE)), device = sluice.slot(DEVICE);
  seen++;
  if (!isNaN(number)) sum += number;
  if (!sluice.length(what) || sluice.is(what, "pass")) return sluice.PASS;
  if (sluice.is(what, "empty")) return sluice.emit();
  if (sluice.is(what, "drop")) return isNaN(number) ? sluice.drop(NO_NUMBER) : number < least ? sluice.drop(LOW) : sluice.PASS;
  if (sluice.is(what, "keep")) return sluice.keep(1 << VALUE | 1 << DEVICE);
  if (sluice.is(what, "absorb")) return sluice.ABSORB;
  if (sluice.is(what, "flush")) {
    told = true;
    return sluice.ABSORB;
  }
  if (sluice.is(what, "retry")) return sluice.RETRY;
  if (sluice.is(what, "retry because")) return sluice.retry(device);
  if (sluice.is(what, "park")) return sluice.park(device);
  if (sluice.is(what, "fail")) return sluice.park(TOLD_TO_FAIL);
  if (sluice.is(what, "crash")) throw new Error("told to crash");
  if (sluice.is(what, "tell")) {
    sluice.log(sluice.INFO, device);
    sluice.count(TOLD, 2);
    sluice.observe(VALUE_NAME, number);
    return sluice.PASS;
  }
  if (sluice.is(what, "label")) {
    const got = sluice.label(SEQ, room, ROOM);
    if (!got) return sluice.drop(NO_NUMBER);
    sluice.setLabel(COPY, got);
    return sluice.emit();
  }
  if (sluice.is(what, "stats") && !sluice.stats(sluice.F32)) return sluice.park(NO_WAVEFORM);
  return make(what, number) ? sluice.emit() : sluice.park(NOTHING);
}

/** Makes the outputs that are only a few lines each; false: there is none of that name. */
function make(what: sluice.Text, number: f64): bool {
  if (sluice.is(what, "patch")) {
    sluice.setLabel(SPEED, sluice.slot(VALUE));
    sluice.setLabel(NOTE, sluice.NONE);
    sluice.deleteLabel(SEQ);
    sluice.renameLabel(NAME, MACHINE);
    sluice.setTopic(sluice.entry());
    sluice.setType(PLAIN);
    sluice.setPayload(CHANGED);
    sluice.setTime(sluice.time() + 1000000);
  } else if (sluice.is(what, "same")) {
    sluice.output();
  } else if (sluice.is(what, "split")) {
    sluice.output();
    sluice.setLabel(PART, ONE);
    sluice.output();
    sluice.setLabel(PART, TWO);
  } else if (sluice.is(what, "cut")) {
    sluice.cutPayload(4, 8);
  } else if (sluice.is(what, "clear")) {
    sluice.clearLabels();
    sluice.setLabel(ONLY, sluice.slot(DEVICE));
  } else if (sluice.is(what, "name")) {
    sluice.setLabel(sluice.payload(), ONE);
  } else if (sluice.is(what, "pull")) {
    sluice.setPayload(sluice.pull(0, room, ROOM));
  } else if (sluice.is(what, "json")) {
    record(number);
    sluice.setType(JSON);
  } else if (sluice.is(what, "wave")) {
    wave();
  } else if (sluice.is(what, "stats")) {
    stats();
  } else if (sluice.is(what, "state")) {
    sluice.json();
    sluice.jsonInt(COUNT, seen);
    sluice.jsonFloat(SUM, sum, 3);
    sluice.jsonInt(NOW, sluice.now());
    sluice.jsonEnd();
  } else {
    return false;
  }
  return true;
}

/** Writes everything about a record. */
function record(number: f64): void {
  sluice.json();
  sluice.jsonText(NAME, sluice.slot(DEVICE));
  sluice.jsonText(TYPE, sluice.contentType());
  sluice.jsonText(UNIT, unit);
  sluice.jsonFloat(MIN, least, 1);
  sluice.jsonFloat(D0, number, 0);
  sluice.jsonFloat(D1, number, 1);
  sluice.jsonFloat(D3, number, 3);
  sluice.jsonFloat(D9, number, 9);
  sluice.jsonInt(TIME, sluice.time());
  sluice.jsonInt(SIZE, sluice.payloadLength());
  sluice.jsonBool(LATE, (sluice.flags() & sluice.LATE) != 0);
  sluice.jsonRaw(LIST, ONE_NULL);
  sluice.jsonEnd();
}

function wave(): void {
  const n = sluice.f32Length();
  let total: f64 = 0;
  for (let i: u32 = 0; i < n; i++) total += <f64>sluice.f32At(i);
  sluice.json();
  sluice.jsonInt(N, n);
  sluice.jsonFloat(MEAN, total / <f64>n, 6);
  sluice.jsonEnd();
}

function stats(): void {
  sluice.json();
  sluice.jsonFloat(COUNT, sluice.STATS[sluice.COUNT], 0);
  sluice.jsonFloat(MEAN, sluice.STATS[sluice.MEAN], 4);
  sluice.jsonFloat(RMS, sluice.STATS[sluice.RMS], 4);
  sluice.jsonFloat(LEAST, sluice.STATS[sluice.LEAST], 4);
  sluice.jsonFloat(MOST, sluice.STATS[sluice.MOST], 4);
  sluice.jsonFloat(PEAK, sluice.STATS[sluice.PEAK], 4);
  sluice.jsonFloat(CREST, sluice.STATS[sluice.CREST], 4);
  sluice.jsonFloat(KURTOSIS, sluice.STATS[sluice.KURTOSIS], 4);
  sluice.jsonEnd();
}

/** Says how many records there were, once for each do = "flush". */
function flush(): i64 {
  if (!told) return sluice.PASS;
  told = false;
  sluice.json();
  sluice.jsonInt(COUNT, seen);
  sluice.jsonEnd();
  return sluice.emit();
}

sluice.register(MANIFEST, init, process);
sluice.registerState(save, restore);
sluice.registerFlush(flush);
