// The same as main.go.
import * as sluice from "../../../../wasm-modules/sdk/assemblyscript/sluice";
export { sluice_abi_1, sluice_describe, sluice_in, sluice_init, sluice_process } from "../../../../wasm-modules/sdk/assemblyscript/sluice";

const MANIFEST = `
abi = 1
name = "labels"
labels = ["stable", "rpm", "axis", "device"]
reasons = ["not stable"]
`;

const NAMES: StaticArray<sluice.Text> = [sluice.NONE, sluice.text("rpm"), sluice.text("axis"), sluice.text("device")];
const TO: StaticArray<sluice.Text> = [sluice.NONE, sluice.text("speed"), sluice.text("direction"), sluice.text("machine")];

function init(_config: sluice.Text): string | null {
  return null;
}

function process(): i64 {
  if (!sluice.is(sluice.slot(0), "true")) return sluice.drop(0);
  for (let i = 1; i < 4; i++) {
    if (sluice.slot(i)) sluice.renameLabel(unchecked(NAMES[i]), unchecked(TO[i]));
  }
  return sluice.emit();
}

sluice.register(MANIFEST, init, process);
