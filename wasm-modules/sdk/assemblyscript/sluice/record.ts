// The record, as it lies in the input buffer.
import { Text, NONE, bytes, length } from "./text";

let buffer: usize = 0; // the input buffer, which is the record in process
let size: u32 = 0;

/** A buffer of so many bytes for the host to write into. */
export function input(want: u32): usize {
  if (want > size) {
    if (buffer) heap.free(buffer);
    buffer = heap.alloc(want);
    size = want;
  }
  return buffer;
}

/** The first n bytes of the input buffer. */
export function given(n: u32): Text {
  return bytes(buffer, n);
}

export const REPLAYED: u32 = 1;
export const SHADOW: u32 = 2;
export const LATE: u32 = 4;
export const LAST_OF_BATCH: u32 = 8;

// @ts-ignore: decorator
@inline
function reference(at: usize): Text {
  const r = load<u32>(buffer + at);
  return r & 0xffff ? bytes(buffer + (r & 0xffff), r >> 16) : NONE;
}

/** A declared label, NONE where the record does not have it. With labels = ["*"]: name, value, name, value. */
// @ts-ignore: decorator
@inline
export function slot(i: u32): Text {
  return i < slots() ? reference(32 + 4 * i) : NONE;
}

/** The number of slots: the declared labels, or twice the number of labels with labels = ["*"]. */
// @ts-ignore: decorator
@inline
export function slots(): u32 {
  return load<u16>(buffer, 6);
}

/** Microseconds since the Unix epoch. */
export function time(): i64 {
  return load<i64>(buffer, 8);
}

/** A set of REPLAYED, SHADOW, LATE and LAST_OF_BATCH. */
export function flags(): u32 {
  return load<u16>(buffer, 4);
}

export function contentType(): Text {
  return reference(24);
}

/** Its entry in its bucket. */
export function entry(): Text {
  return reference(28);
}

/** The length of the whole payload, be it here or not. */
export function payloadLength(): u32 {
  return load<u32>(buffer, 16);
}

/** The part of the payload that is here. */
export function payload(): Text {
  const off = load<u32>(buffer, 20);
  return off ? bytes(buffer + off, load<u32>(buffer) - off) : NONE;
}

/** How many float32 values the payload has; bytes beyond the last whole one are left out. */
export function f32Length(): u32 {
  return length(payload()) >> 2;
}

/** Value i of the payload, where it lies. */
// @ts-ignore: decorator
@inline
export function f32At(i: u32): f32 {
  return load<f32>(buffer + load<u32>(buffer, 20) + ((<usize>i) << 2));
}
