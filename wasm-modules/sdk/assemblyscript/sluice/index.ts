// For writing Sluice modules in AssemblyScript.
//
//     import * as sluice from "./sluice";
//     export { sluice_abi_1, sluice_describe, sluice_in, sluice_init, sluice_process } from "./sluice";
//
//     const MANIFEST = `
//     abi = 1
//     name = "fast-only"
//     labels = ["rpm"]
//     reasons = ["slow"]
//     `;
//
//     function init(config: sluice.Text): string | null {
//       return null; // or what is wrong with it
//     }
//
//     function process(): i64 {
//       const rpm = sluice.float(sluice.slot(0)); // the first of labels; NaN where the record has none, or no number
//       return rpm >= 600 ? sluice.PASS : sluice.drop(0); // the first of reasons, under which it is counted
//     }
//
//     sluice.register(MANIFEST, init, process);
//
// What crosses the border to the host is bytes, described in runtime/abi/ABI.md, and so are the texts here: a Text is where they lie and how many there are.
// They are views of the input buffer, valid until process returns. An AssemblyScript string costs ten times as much, so there is none on the way of a
// record: make a Text of it once, by text(), outside of functions.
import { NONE, Text, start, text } from "./text";
import { given, input } from "./record";
import { PASS, begin } from "./out";
import { log } from "./host";

export * from "./text";
export * from "./record";
export * from "./out";
export * from "./writer";
export * from "./number";
export * from "./config";
export * from "./host";

export type Init = (config: Text) => string | null;
export type Process = () => i64;
export type Save = (dst: usize, room: u32) => u32;
export type Load = (state: Text) => string | null;

/** Longest state. */
const STATE_MAX: u32 = 64 << 10;
const state: usize = heap.alloc(STATE_MAX);

let manifest: Text = NONE;
let initFn: Init = refused;
let processFn: Process = nothing;
let saveFn: Save = saveNothing;
let loadFn: Load = refused;
let flushFn: Process = nothing;

function refused(_: Text): string | null {
  return "nothing is registered for this";
}

function nothing(): i64 {
  return PASS;
}

function saveNothing(_dst: usize, _room: u32): u32 {
  return 0;
}

/** Makes two functions the module. init gets the configuration, an object; what it returns refuses it. */
export function register(toml: string, init: Init, process: Process): void {
  manifest = text(toml);
  initFn = init;
  processFn = process;
}

/** For manifests with state = "explicit": save writes the state to dst and returns its length; load begins with a stored one, or anew where it is
 * empty. Also export { sluice_save, sluice_load }. */
export function registerState(save: Save, load: Load): void {
  saveFn = save;
  loadFn = load;
}

/** For modules with something to say at the end of a batch: PASS for nothing, or emit(); the outputs belong to the last record. Also export
 * { sluice_flush }. */
export function registerFlush(flush: Process): void {
  flushFn = flush;
}

export function sluice_abi_1(): void {}

export function sluice_describe(): i64 {
  return <i64>manifest;
}

export function sluice_in(size: u32): usize {
  return input(size);
}

export function sluice_init(n: u32): usize {
  return status(initFn(given(n)));
}

export function sluice_process(_records: i32, _n: u32): i64 {
  begin();
  return processFn();
}

export function sluice_save(): i64 {
  return (<i64>state) << 32 | saveFn(state, STATE_MAX);
}

export function sluice_load(n: u32): usize {
  return status(loadFn(given(n)));
}

export function sluice_flush(_reason: i32): i64 {
  begin();
  return flushFn();
}

function status(refusal: string | null): usize {
  return refusal == null ? 0 : start(text(refusal + "\0"));
}

/** Takes the place of AssemblyScript's abort: what was thrown is told to the host's log, and the instance ends. */
export function abort(message: string | null, file: string | null, line: u32, _column: u32): void {
  log(3 /* ERROR; its name may not be known here yet */, text(message! + " at " + file! + ":" + line.toString()));
  unreachable();
}

