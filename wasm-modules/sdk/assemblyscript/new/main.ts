// my-filter lets records pass that were made fast enough, under the label that the far end knows.
import * as sluice from "./sluice";
export { sluice_abi_1, sluice_describe, sluice_in, sluice_init, sluice_process } from "./sluice";

const MANIFEST = `abi = 1
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
`;

// The manifest's labels and reasons.
const RPM = 0;
const SLOW: u16 = 0;

// Texts are made once, outside of functions.
const FROM = sluice.text("rpm");
const TO = sluice.text("speed");
const NO_NUMBER = sluice.text("rpm: want a number");

let least: f64 = 0;

/** Takes the configuration, once and before all else; a text refuses it. */
function init(config: sluice.Text): string | null {
  least = sluice.float(sluice.get(config, "min"));
  return least < 0 ? "min: want 0 or more" : null;
}

/** Decides on one record. */
function process(): i64 {
  const rpm = sluice.float(sluice.slot(RPM));
  if (isNaN(rpm)) return sluice.park(NO_NUMBER);
  if (rpm < least) return sluice.drop(SLOW);
  sluice.renameLabel(FROM, TO);
  return sluice.emit();
}

sluice.register(MANIFEST, init, process);
