// The answer to a record.
import { Text, NONE, bytes, length, start, text } from "./text";

/** Longest answer. */
const OUT_MAX: u32 = 256 << 10;
const out: usize = heap.alloc(OUT_MAX);
const eight: usize = memory.data(8, 8); // bytes of a value

/** Publish it unchanged. */
export const PASS: i64 = 0x4000000000000000;
/** Taken into the state; nothing is published. */
export const ABSORB: i64 = 0x4003000000000000;
/** The whole batch again later. */
export const RETRY: i64 = 0x4005000000000000;

/** Gives a record up for a reason: a number of the manifest's reasons, from 0. */
export function drop(reason: u16): i64 {
  return 0x4002000000000000 | (<i64>reason) << 32;
}

/** Publishes a record with only those labels whose slot's bit is set. */
export function keep(slots: u32): i64 {
  return 0x4001000000000000 | <i64>slots;
}

let outSize: u32 = 0;
let outputAt: u32 = 0; // where the open output begins
let outputs: u32 = 0;
let full: bool = false; // no room was left
let named: bool = false; // a label's name was too long

// @ts-ignore: decorator
@inline
export function begin(): void {
  outSize = 8;
  outputs = 0;
  full = named = false;
}

/** Makes room in the answer and returns where; 0 = it is full, and will be parked. */
function space(n: u32): usize {
  const at = outSize;
  if (n > OUT_MAX - at) {
    full = true;
    return 0;
  }
  outSize = at + n;
  return out + at;
}

/** Begins the next output: at first it is the record itself. */
export function output(): void {
  const p = space(8);
  if (!p) return;
  store<u64>(p, 0);
  outputAt = <u32>(p - out);
  outputs++;
}

/** Makes the open output end where the answer ends. */
// @ts-ignore: decorator
@inline
function close(): void {
  store<u32>(out + outputAt, outSize - outputAt - 8);
}

// @ts-ignore: decorator
@inline
function copy(dst: usize, t: Text): void {
  let n = length(t), p = start(t);
  if (n > 32) {
    memory.copy(dst, p, n);
    return;
  }
  for (; n >= 8; n -= 8, p += 8, dst += 8) store<u64>(dst, load<u64>(p)); // short ones cost less so
  for (; n; n--, p++, dst++) store<u8>(dst, load<u8>(p));
}

function op(code: u32, key: Text, value: Text): void {
  if (!outputs) output();
  if (length(key) > 0xffff) {
    named = true;
    return;
  }
  const p = space(8 + length(key) + length(value));
  if (!p) return;
  store<u32>(p, code | length(key) << 16);
  store<u32>(p, length(value), 4);
  copy(p + 8, key);
  copy(p + 8 + length(key), value);
  const head = out + outputAt;
  store<u16>(head, load<u16>(head, 4) + 1, 4);
  close();
}

/** Replaces a label where it stands, or adds it after the others. */
export function setLabel(name: Text, value: Text): void {
  op(1, name, value);
}

export function deleteLabel(name: Text): void {
  op(2, name, NONE);
}

/** Gives a label another name; nothing where it is absent. */
export function renameLabel(name: Text, to: Text): void {
  op(9, name, to);
}

export function clearLabels(): void {
  op(3, NONE, NONE);
}

/** What is put after the remote's topic. */
export function setTopic(suffix: Text): void {
  op(4, NONE, suffix);
}

export function setType(type: Text): void {
  op(5, NONE, type);
}

export function setPayload(bytes: Text): void {
  op(6, NONE, bytes);
}

export function setTime(microseconds: i64): void {
  store<i64>(eight, microseconds);
  op(7, NONE, bytes(eight, 8));
}

/** Keeps only a part of the record's payload, which need not be here. */
export function cutPayload(off: u32, n: u32): void {
  store<u32>(eight, off);
  store<u32>(eight, n, 4);
  op(8, NONE, bytes(eight, 8));
}

/** Publishes the outputs in the record's place; without one it is PASS. */
export function emit(): i64 {
  if (named) return decided(4, TOO_LONG);
  if (full) return decided(4, FULL);
  if (!outputs) return PASS;
  store<u32>(out, 1 | outputs << 16);
  store<u32>(out, outSize - 8, 4);
  return (<i64>out) << 32 | outSize;
}

const TOO_LONG = text("a label's name is longer than 65535 bytes");
const FULL = text("the answer is longer than the SDK's OUT_MAX");

/** Sets the record aside with a text for a person. */
export function park(why: Text): i64 {
  return decided(4, why);
}

/** Asks for the batch again later and says why. */
export function retry(why: Text): i64 {
  return decided(5, why);
}

function decided(verdict: u32, why: Text): i64 {
  const n = min<u32>(length(why), 4096);
  store<u32>(out, verdict);
  store<u32>(out, n, 4);
  memory.copy(out + 8, start(why), n);
  return (<i64>out) << 32 | (8 + n);
}

/** Begins a payload that is appended to, and returns where. */
export function beginPayload(): u32 {
  op(6, NONE, NONE);
  return outSize;
}

/** Ends the payload that began there. */
export function endPayload(at: u32): void {
  if (full) return;
  store<u32>(out + at - 4, outSize - at);
  close();
}

/** Bytes of the answer so far. */
export function size(): u32 {
  return outSize;
}

export function append(t: Text): void {
  const p = space(length(t));
  if (p) copy(p, t);
}

export function appendByte(c: u32): void {
  const p = space(1);
  if (p) store<u8>(p, c);
}
