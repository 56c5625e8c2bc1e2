// What the host does for a module.
import { Text, NONE, bytes, length, start, text } from "./text";

export const DEBUG = 0;
export const INFO = 1;
export const WARN = 2;
export const ERROR = 3;

// @ts-ignore: decorator
@external("sluice1", "log")
declare function importLog(level: i32, p: usize, n: u32): void;

// @ts-ignore: decorator
@external("sluice1", "count")
declare function importCount(p: usize, n: u32, by: i64): void;

// @ts-ignore: decorator
@external("sluice1", "observe")
declare function importObserve(p: usize, n: u32, value: f64): void;

// @ts-ignore: decorator
@external("sluice1", "payload")
declare function importPayload(record: i32, off: u32, dst: usize, n: u32): i32;

// @ts-ignore: decorator
@external("sluice1", "label")
declare function importLabel(record: i32, key: usize, keyLength: u32, dst: usize, room: u32): i32;

// @ts-ignore: decorator
@external("sluice1", "now")
declare function importNow(): i64;

// @ts-ignore: decorator
@external("sluice1", "dsp")
declare function importDSP(record: i32, kind: i32, format: i32, dst: usize, room: u32): i32;

/** Writes a line into the host's log. */
export function log(level: i32, t: Text): void {
  importLog(level, start(t), length(t));
}

/** Adds to the module's counter of that name. */
export function count(name: Text, by: i64): void {
  importCount(start(name), length(name), by);
}

/** Adds a value to the module's distribution of that name. */
export function observe(name: Text, value: f64): void {
  importObserve(start(name), length(name), value);
}

/** The time of the record in microseconds, also where there is no record at hand; 0 before the first. */
export function now(): i64 {
  return importNow();
}

/** Copies a part of the record's payload, for manifests with payload = "pull". */
export function pull(off: u32, dst: usize, n: u32): Text {
  return bytes(dst, <u32>max(importPayload(0, off, dst, n), 0));
}

/** Copies the value of any label, declared or not, at the price of a call of the host. NONE: the record has none, or it is longer than room. */
export function label(name: Text, dst: usize, room: u32): Text {
  const n = importLabel(0, start(name), length(name), dst, room);
  return n < 0 || <u32>n > room ? NONE : bytes(dst, n);
}

/** Formats of a payload of numbers. */
export const F32 = 0;
export const F64 = 1;
export const I16 = 2;
export const I32 = 3;

/** What the host knows of a payload of numbers without copying it to the module; stats() fills it. */
export const STATS: StaticArray<f64> = new StaticArray<f64>(8);
export const COUNT = 0;
export const MEAN = 1;
export const RMS = 2;
export const LEAST = 3;
export const MOST = 4;
export const PEAK = 5;
export const CREST = 6;
export const KURTOSIS = 7;

/** Asks the host; false: the payload is no whole number of such values. */
export function stats(format: i32): bool {
  return importDSP(0, 1, format, changetype<usize>(STATS), 64) == 64;
}
