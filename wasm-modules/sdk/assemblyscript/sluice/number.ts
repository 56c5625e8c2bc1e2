// Numbers in texts.
import { Text, length, start } from "./text";

/** Writes an integer in decimal and returns its length, at most 20. */
export function whole(dst: usize, v: u64): u32 {
  let n: u32 = 1;
  for (let rest = v; rest >= 10; rest /= 10) n++;
  return padded(dst, v, n);
}

/** Writes the last digits of v, with zeros before them. */
function padded(dst: usize, v: u64, digits: u32): u32 {
  for (let i = digits; i-- > 0; v /= 10) store<u8>(dst + i, 0x30 + <u8>(v % 10));
  return digits;
}

const parts: usize = memory.data(4 * 48, 8); // of large numbers

/** Writes v << shift for shifts up to 971, in parts of nine digits. */
function large(dst: usize, v: u64, shift: u32): u32 {
  let n: u32 = 0;
  for (; v; v /= 1000000000) store<u32>(parts + 4 * n++, <u32>(v % 1000000000));
  while (shift) {
    const by = min<u32>(shift, 20);
    let carry: u64 = 0;
    for (let i: u32 = 0; i < n; i++, carry /= 1000000000) {
      carry += (<u64>load<u32>(parts + 4 * i)) << by;
      store<u32>(parts + 4 * i, <u32>(carry % 1000000000));
    }
    if (carry) store<u32>(parts + 4 * n++, <u32>carry);
    shift -= by;
  }
  let at = whole(dst, load<u32>(parts + 4 * --n));
  while (n-- > 0) at += padded(dst + at, load<u32>(parts + 4 * n), 9);
  return at;
}

/** Writes a number with so many digits (0 to 9) after the point, rounded from its exact value, halves to even, and returns its length, at most
 * 330. What JSON has no number for becomes null. */
export function decimal(dst: usize, v: f64, digits: u32): u32 {
  const bits = reinterpret<u64>(v), power = <i32>(bits >> 52 & 0x7ff);
  let mantissa = bits & 0xfffffffffffff | (power ? 0x10000000000000 : 0);
  const shift = 1075 - max(power, 1); // magnitude = mantissa / 2^shift
  let n: u32 = 0, unit: u64 = 1, wholes: u64 = 0, fraction: u64 = 0, rest: u64 = 0, half: u64 = 1;
  if (power == 0x7ff) {
    store<u32>(dst, 0x6c6c756e);
    return 4;
  }
  if (bits >> 63) store<u8>(dst + n++, 0x2d);
  for (let i: u32 = 0; i < digits; i++) unit *= 10;
  if (shift <= 0) {
    n += large(dst + n, mantissa, -shift);
  } else {
    if (shift < 53) {
      wholes = mantissa >> shift;
      mantissa &= ((<u64>1) << shift) - 1;
    }
    let low = (mantissa & 0xffffffff) * unit;
    const high = (mantissa >> 32) * unit + (low >> 32); // of 96 bits
    low &= 0xffffffff;
    if (shift <= 32) {
      fraction = high << (32 - shift) | low >> shift;
      rest = low & ((<u64>1) << shift) - 1;
      half = (<u64>1) << (shift - 1);
    } else if (shift < 96) {
      fraction = high >> (shift - 32);
      rest = (high & ((<u64>1) << (shift - 32)) - 1) << 1 | <u64>(low != 0);
      half = (<u64>1) << (shift - 32);
    }
    if (rest > half || (rest == half && ((digits ? fraction : wholes) & 1))) fraction++;
    if (fraction == unit) {
      wholes++;
      fraction = 0;
    }
    n += whole(dst + n, wholes);
  }
  if (!digits) return n;
  store<u8>(dst + n++, 0x2e);
  return n + padded(dst + n, fraction, digits);
}

const POWERS: StaticArray<f64> = [
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/** Reads a decimal number such as "1450.5" or "-2e3", of at most 400 bytes; NaN: it is none. It is the nearest one for up to 19 digits. */
export function float(t: Text): f64 {
  const p = start(t), n = length(t);
  let i: u32 = 0, digits: u32 = 0, scale = 0, exponent = 0, v: u64 = 0, c: u32 = 0;
  let negative = false, point = false, any = false, small = false;
  if (!n || n > 400) return NaN;
  c = load<u8>(p);
  if (c == 0x2d || c == 0x2b) {
    negative = c == 0x2d;
    i++;
  }
  for (; i < n; i++) {
    c = load<u8>(p + i);
    if (c == 0x2e && !point) {
      point = true;
      continue;
    }
    if (c < 0x30 || c > 0x39) break;
    any = true;
    if (digits < 19) { // as many as 64 bits hold
      v = v * 10 + (c - 0x30);
      if (v) digits++;
      if (point) scale--;
    } else if (!point) {
      scale++;
    }
  }
  if (any && i < n && (c | 0x20) == 0x65) {
    if (++i == n) return NaN;
    c = load<u8>(p + i);
    if (c == 0x2d || c == 0x2b) {
      small = c == 0x2d;
      if (++i == n) return NaN;
    }
    for (; i < n; i++) {
      c = load<u8>(p + i);
      if (c < 0x30 || c > 0x39) break;
      if (exponent < 10000) exponent = exponent * 10 + <i32>(c - 0x30);
    }
  }
  if (!any || i < n) return NaN;
  scale += small ? -exponent : exponent;
  let d: f64;
  if (v >> 53 || scale < -22 || scale > 22) {
    d = scaled(v, scale);
    if (d == Infinity) return NaN;
  } else if (scale < 0) {
    d = <f64>v / unchecked(POWERS[-scale]); // both exact, so it is rounded once
  } else {
    d = <f64>v * unchecked(POWERS[scale]);
  }
  return negative ? -d : d;
}

/** v * 10^scale, correctly rounded. It goes by integers of many words. */
function scaled(v: u64, scale: i32): f64 {
  if (!v || scale < -400) return 0;
  if (scale > 310) return Infinity;
  const at: u32 = scale < 0 ? (-scale * 10) / 3 / 32 + 3 : 0; // so many words of zeros leave a quotient of 64 bits or more
  let n = at + 2, rest: u64 = 0;
  memory.fill(parts, 0, 4 * 48);
  store<u64>(parts + 4 * at, v);
  for (let left = abs(scale), step = 0; left; left -= step) {
    let power: u64 = 1, carry: u64 = 0;
    for (step = 0; step < left && step < 9; step++) power *= 10;
    if (scale < 0) {
      for (let i = n; i-- > 0; carry %= power) {
        carry = carry << 32 | load<u32>(parts + 4 * i);
        store<u32>(parts + 4 * i, <u32>(carry / power));
      }
      rest |= carry;
    } else {
      for (let i: u32 = 0; i < n; i++, carry >>= 32) {
        carry += (<u64>load<u32>(parts + 4 * i)) * power;
        store<u32>(parts + 4 * i, <u32>carry);
      }
      if (carry) store<u32>(parts + 4 * n++, <u32>carry);
    }
  }
  return rounded(n, 32 * -(<i32>at), rest);
}

/** The nearest float to parts[0:n] * 2^exponent, with something behind it where rest is not 0. */
function rounded(n: u32, exponent: i32, rest: u64): f64 {
  while (!load<u32>(parts + 4 * (n - 1))) n--;
  const lead = <u32>clz(load<u32>(parts + 4 * (n - 1)));
  let top: u64 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const word = <u64>load<u32>(parts + 4 * (n - 1 - i));
    if (i < 2) {
      top |= word << (32 - 32 * i) << lead;
      if (i == 1 && n == 2) break;
    } else if (i == 2 && lead) {
      top |= word >> (32 - lead);
      rest |= word & ((<u64>1) << (32 - lead)) - 1;
    } else {
      rest |= word;
    }
  }
  exponent += 32 * <i32>n - 64 - <i32>lead; // of the top 64 bits
  const drop = exponent < -1085 ? -1074 - exponent : 11; // bits that a float has no room for
  if (drop > 64) return 0;
  const half = (<u64>1) << (drop - 1), lost = top & (half | half - 1);
  let kept: u64 = drop == 64 ? 0 : top >> drop;
  if (lost > half || (lost == half && (rest || kept & 1))) kept++;
  let d = <f64>kept;
  exponent += drop;
  for (; exponent > 0 && d != Infinity; exponent--) d *= 2;
  for (; exponent < 0; exponent++) d /= 2; // exact: the bits fit
  return d;
}
