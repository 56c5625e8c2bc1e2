// The configuration: compact JSON that the host has written.
import { Text, NONE, bytes, is, length, start } from "./text";

/** The length of the value at p. */
function valueLength(p: usize, n: u32): u32 {
  let i: u32 = 0, depth = 0, quoted = false;
  for (; i < n; i++) {
    const c = <u32>load<u8>(p + i);
    if (quoted) {
      if (c == 0x5c) i++;
      else if (c == 0x22) quoted = false;
    } else if (c == 0x22) {
      quoted = true;
    } else if (c == 0x7b || c == 0x5b) {
      depth++;
    } else if (depth && (c == 0x7d || c == 0x5d)) {
      depth--;
    } else if (!depth && (c == 0x2c || c == 0x3a || c == 0x7d || c == 0x5d)) {
      break;
    }
  }
  return min(i, n);
}

let rest: Text = NONE;

/** Begins to go through the members of an object or the elements of an array: enter(config); while (next()) ... key, value */
export function enter(list: Text): void {
  rest = list;
}

/** What next has found: key is a JSON string, NONE of an element. */
export let key: Text = NONE;
export let value: Text = NONE;

export function next(): bool {
  let p = start(rest), n = length(rest);
  if (n < 2) return false;
  const open = load<u8>(p), first = load<u8>(p + 1);
  if (open == 0x7d || open == 0x5d || first == 0x7d || first == 0x5d) return false;
  p++; // the opening brace, or the comma
  n--;
  let size = valueLength(p, n);
  key = NONE;
  value = bytes(p, size);
  p += size;
  n -= size;
  if (n && load<u8>(p) == 0x3a) {
    key = value;
    size = valueLength(p + 1, n - 1);
    value = bytes(p + 1, size);
    p += 1 + size;
    n -= 1 + size;
  }
  rest = bytes(p, n);
  return true;
}

/** A member of an object, NONE where it has none of that name. */
export function get(object: Text, name: string): Text {
  if (!length(object) || load<u8>(start(object)) != 0x7b) return NONE;
  enter(object);
  while (next()) if (is(bytes(start(key) + 1, length(key) - 2), name)) return value;
  return NONE;
}

/** What a JSON string says, in memory that is never given back; NONE: it is no string. */
export function unquote(j: Text): Text {
  const n = length(j), p = start(j);
  if (n < 2 || load<u8>(p) != 0x22) return NONE;
  const dst = heap.alloc(n);
  let to = dst;
  for (let i: u32 = 1; i + 1 < n; i++) {
    let c = <u32>load<u8>(p + i);
    if (c == 0x5c && i + 2 < n) {
      c = load<u8>(p + ++i);
      if (c == 0x75 && i + 5 < n) {
        let r = hex4(p + i + 1), low: u32 = 0;
        i += 4;
        if (r >> 10 == 0x36 && i + 7 < n && load<u16>(p + i + 1) == 0x755c) low = hex4(p + i + 3);
        if (low >> 10 == 0x37) {
          r = 0x10000 + ((r & 0x3ff) << 10) + (low & 0x3ff);
          i += 6;
        } else if (r >> 11 == 0x1b) {
          r = 0xfffd; // half of a pair
        }
        to += utf8(to, r);
        continue;
      }
      c = c == 0x6e ? 10 : c == 0x74 ? 9 : c == 0x72 ? 13 : c == 0x62 ? 8 : c == 0x66 ? 12 : c;
    }
    store<u8>(to++, c);
  }
  return bytes(dst, <u32>(to - dst));
}

function hex4(p: usize): u32 {
  let v: u32 = 0;
  for (let i = 0; i < 4; i++) {
    const c = <u32>load<u8>(p + i);
    v = v << 4 | (c <= 0x39 ? c - 0x30 : (c | 0x20) - 0x61 + 10);
  }
  return v;
}

/** Writes a character and returns its length. */
function utf8(dst: usize, r: u32): u32 {
  const size: u32 = r < 0x80 ? 1 : r < 0x800 ? 2 : r < 0x10000 ? 3 : 4;
  if (size == 1) {
    store<u8>(dst, r);
    return 1;
  }
  for (let i = size - 1; i > 0; i--, r >>= 6) store<u8>(dst + i, 0x80 | (r & 63));
  store<u8>(dst, (size == 2 ? 0xc0 : size == 3 ? 0xe0 : 0xf0) | r);
  return size;
}
