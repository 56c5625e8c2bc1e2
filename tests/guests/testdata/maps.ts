// Does what a filter should not, on every record: it makes a map of the labels and strings of them.
import * as sluice from "../../../wasm-modules/sdk/assemblyscript/sluice";
export { sluice_abi_1, sluice_describe, sluice_in, sluice_init, sluice_process } from "../../../wasm-modules/sdk/assemblyscript/sluice";

const SPEED = sluice.text("speed");

function init(_config: sluice.Text): string | null {
  return null;
}

function process(): i64 {
  const labels = new Map<string, string>();
  for (let i: u32 = 0; i + 1 < sluice.slots(); i += 2) labels.set(sluice.toString(sluice.slot(i)), sluice.toString(sluice.slot(i + 1)));
  if (labels.get("stable") != "true") return sluice.drop(0);
  const rpm = String.UTF8.encode(labels.get("rpm"));
  sluice.setLabel(SPEED, sluice.bytes(changetype<usize>(rpm), rpm.byteLength));
  return sluice.emit();
}

sluice.register('abi = 1\nname = "maps"\nlabels = ["*"]\n', init, process);
