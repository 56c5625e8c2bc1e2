// Texts: bytes in memory.

/** Bytes in memory: address << 32 | length. NONE is not the same as an empty text. */
export type Text = u64;
export const NONE: Text = 0;

// @ts-ignore: decorator
@inline
export function bytes(p: usize, n: u32): Text {
  return (<u64>p) << 32 | n;
}

// @ts-ignore: decorator
@inline
export function start(t: Text): usize {
  return <usize>(t >> 32);
}

// @ts-ignore: decorator
@inline
export function length(t: Text): u32 {
  return <u32>t;
}

/** The UTF-8 of a string, in memory that is never given back: for constants. */
export function text(s: string): Text {
  const n = <u32>String.UTF8.byteLength(s);
  const p = heap.alloc(n);
  String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, p);
  return bytes(p, n);
}

export function equal(a: Text, b: Text): bool {
  const n = length(a), p = start(a), q = start(b);
  if (n != length(b)) return false;
  let i: u32 = 0;
  for (; i + 8 <= n; i += 8) if (load<u64>(p + i) != load<u64>(q + i)) return false;
  for (; i < n; i++) if (load<u8>(p + i) != load<u8>(q + i)) return false;
  return true;
}

/** Whether a text says what a string of ASCII says. No memory is used. */
export function is(t: Text, ascii: string): bool {
  const n = length(t), p = start(t), q = changetype<usize>(ascii);
  if (n != <u32>ascii.length) return false;
  for (let i: u32 = 0; i < n; i++) if (<u16>load<u8>(p + i) != load<u16>(q + 2 * i)) return false;
  return true;
}

/** A string of the text, which costs memory and time: not for every record. */
export function toString(t: Text): string {
  return String.UTF8.decodeUnsafe(start(t), length(t));
}
