// A payload of JSON: one object, written where the host will read it.
//
//     sluice.json();
//     sluice.jsonText(DEVICE, sluice.slot(1)); // DEVICE = sluice.text("device")
//     sluice.jsonFloat(RMS, rms, 4);
//     sluice.jsonEnd(); // before anything else is said of this output
import { Text, bytes, length, start, text } from "./text";
import { append, appendByte, beginPayload, endPayload, size } from "./out";
import { decimal, whole } from "./number";

const scratch: usize = memory.data(336, 8); // of a number that is being written

let jsonAt: u32 = 0; // where the open object begins

export function json(): void {
  jsonAt = beginPayload();
  appendByte(0x7b);
}

/** Writes a member that is a string. */
export function jsonText(key: Text, value: Text): void {
  member(key);
  appendString(value);
}

/** Writes a member that is a number, with so many digits (0 to 9) after the point. */
export function jsonFloat(key: Text, value: f64, digits: u32): void {
  member(key);
  append(bytes(scratch, decimal(scratch, value, digits)));
}

/** Writes a member that is an integer. */
export function jsonInt(key: Text, value: i64): void {
  member(key);
  if (value < 0) appendByte(0x2d);
  append(bytes(scratch, whole(scratch, value < 0 ? -(<u64>value) : <u64>value)));
}

/** Writes a member that is true or false. */
export function jsonBool(key: Text, value: bool): void {
  jsonRaw(key, value ? TRUE : FALSE);
}

const TRUE = text("true");
const FALSE = text("false");

/** Writes a member whose value is JSON already. */
export function jsonRaw(key: Text, value: Text): void {
  member(key);
  append(value);
}

export function jsonEnd(): void {
  appendByte(0x7d);
  endPayload(jsonAt);
}

function member(key: Text): void {
  if (size() > jsonAt + 1) appendByte(0x2c);
  appendString(key);
  appendByte(0x3a);
}

const REPLACEMENT = text("\uFFFD");
const HEX = text("0123456789abcdef");

/** Appends a JSON string. A byte that is no UTF-8 becomes the replacement character: labels are bytes, JSON is not. */
function appendString(t: Text): void {
  const n = length(t);
  appendByte(0x22);
  for (let i: u32 = 0; i < n; ) {
    const p = start(t) + i, size = valid(p, n - i);
    const c = <u32>load<u8>(p);
    if (size > 1) {
      append(bytes(p, size));
    } else if (!size) {
      append(REPLACEMENT);
    } else if (c == 0x22 || c == 0x5c) {
      appendByte(0x5c);
      appendByte(c);
    } else if (c >= 0x20) {
      appendByte(c);
    } else {
      appendControl(c);
    }
    i += max<u32>(size, 1);
  }
  appendByte(0x22);
}

function appendControl(c: u32): void {
  appendByte(0x5c);
  if (c == 10) {
    appendByte(0x6e);
  } else if (c == 13) {
    appendByte(0x72);
  } else if (c == 9) {
    appendByte(0x74);
  } else {
    appendByte(0x75);
    appendByte(0x30);
    appendByte(0x30);
    appendByte(load<u8>(start(HEX) + (c >> 4)));
    appendByte(load<u8>(start(HEX) + (c & 15)));
  }
}

/** The length of the UTF-8 of one character, 0 where there is none at p. */
function valid(p: usize, n: u32): u32 {
  const c = <u32>load<u8>(p);
  if (c < 0x80) return 1;
  const size: u32 = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (!size || size > n) return 0;
  let low: u32 = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80; // no shorter form, no half of a pair, nothing above 10FFFF
  let high: u32 = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  for (let i: u32 = 1; i < size; i++, low = 0x80, high = 0xbf) {
    const next = <u32>load<u8>(p + i);
    if (next < low || next > high) return 0;
  }
  return size;
}
