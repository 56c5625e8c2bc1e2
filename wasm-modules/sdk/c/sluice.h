/* sluice.h: write Sluice modules in C, without a libc. The bytes are described in runtime/abi/ABI.md.
 *
 *     #include "sluice.h"
 *
 *     SLUICE_MANIFEST("abi = 1\\n"
 *                     "name = \\\"fast-only\\\"\\n"
 *                     "labels = [\\\"rpm\\\"]\\n"
 *                     "reasons = [\\\"slow\\\"]\\n")
 *
 *     static const char *init(sluice_text config) { return 0; }      // or a text that says what is wrong with it
 *
 *     static int64_t process(const uint8_t *record) {
 *         double rpm;
 *         if (!sluice_float(sluice_slot(record, 0), &rpm) || rpm < 600) return sluice_drop(0);
 *         return SLUICE_PASS;
 *     }
 *
 *     SLUICE_MODULE(init, process)
 *
 *     make c-module SRC=fast-only.c OUT=fast-only.wasm      // at the top of the repository; the flags are in wasm-modules/modules.mk
 *
 * Nothing here allocates. What a module is given are views of the input buffer, valid until process returns.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SLUICE_MANIFEST puts a TOML text into the custom section sluice.manifest. It goes through the assembler, so what is \n and \" in the
 * manifest is \\n and \\\" here. */
#define SLUICE_MANIFEST(text) \
    __asm__(".section .custom_section.sluice.manifest,\"\",@\n.ascii \"" text "\"\n.text\n");

#define SLUICE_EXPORT(name) __attribute__((export_name(#name)))
#define SLUICE_IMPORT(name) __attribute__((import_module("sluice1"), import_name(#name)))

/* An answer's longest, and the longest state; change them before including this file. The memory is touched only where it is used. */
#ifndef SLUICE_OUT_MAX
#define SLUICE_OUT_MAX (256 << 10)
#endif
#ifndef SLUICE_STATE_MAX
#define SLUICE_STATE_MAX (64 << 10)
#endif

/* ---- texts ---- */

/* sluice_text is bytes in memory. p = 0: there are none, which is not the same as an empty text. */
typedef struct {
    const char *p;
    uint32_t n;
} sluice_text;

#ifndef __wasi__ /* whose libc has faster ones */
/* What a compiler makes of loops and of struct copies where bulk memory is not switched on. */
__attribute__((weak, no_builtin("memcpy"))) void *memcpy(void *restrict dst, const void *restrict src, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)dst)[i] = ((const char *)src)[i];
    return dst;
}

__attribute__((weak, no_builtin("memset"))) void *memset(void *dst, int c, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)dst)[i] = (char)c;
    return dst;
}
#endif

static inline uint64_t sluice_load8(const char *p) {
    uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return v;
}

static inline uint32_t sluice_load4(const char *p) {
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

/* sluice_copy is memcpy for texts, which are short: two moves that overlap cost less than an instruction for any length. */
static inline void sluice_copy(void *to, const void *from, uint32_t n) {
    char *dst = to;
    const char *src = from;
    if (n > 16) {
        __builtin_memcpy(dst, src, n);
    } else if (n >= 8) {
        uint64_t first = sluice_load8(src), last = sluice_load8(src + n - 8);
        __builtin_memcpy(dst, &first, 8), __builtin_memcpy(dst + n - 8, &last, 8);
    } else if (n >= 4) {
        uint32_t first = sluice_load4(src), last = sluice_load4(src + n - 4);
        __builtin_memcpy(dst, &first, 4), __builtin_memcpy(dst + n - 4, &last, 4);
    } else if (n) {
        char first = src[0], middle = src[n / 2], last = src[n - 1];
        dst[0] = first, dst[n / 2] = middle, dst[n - 1] = last;
    }
}

__attribute__((weak, no_builtin("strlen"))) size_t strlen(const char *zero_terminated) {
    size_t n = 0;
    while (zero_terminated[n]) n++;
    return n;
}

/* sluice_str is the text of a zero-terminated string. A macro: of a literal the compiler then knows the length. */
#define sluice_str(zero_terminated) ((sluice_text){(zero_terminated), (uint32_t)__builtin_strlen(zero_terminated)})

static inline bool sluice_equal(sluice_text a, sluice_text b) {
    uint32_t n = a.n;
    if (n != b.n || !a.p != !b.p) return false;
    for (; n > 16; n -= 8, a.p += 8, b.p += 8)
        if (sluice_load8(a.p) != sluice_load8(b.p)) return false;
    if (n >= 8) return sluice_load8(a.p) == sluice_load8(b.p) && sluice_load8(a.p + n - 8) == sluice_load8(b.p + n - 8);
    if (n >= 4) return sluice_load4(a.p) == sluice_load4(b.p) && sluice_load4(a.p + n - 4) == sluice_load4(b.p + n - 4);
    return !n || (a.p[0] == b.p[0] && a.p[n / 2] == b.p[n / 2] && a.p[n - 1] == b.p[n - 1]);
}

/* sluice_is compares with a string. */
#define sluice_is(text, zero_terminated) sluice_equal((text), sluice_str(zero_terminated))

/* sluice_scaled is v * 10^scale, correctly rounded. It goes by integers of many words. */
static inline double sluice_scaled(uint64_t v, int32_t scale) {
    uint32_t words[48] = {0}, n = 0, at = 0;
    uint64_t top = 0, carry, power, rest = 0;
    if (!v || scale < -400) return 0;
    if (scale > 310) return __builtin_inf();
    if (scale < 0) at = (uint32_t)(-scale * 10 / 3) / 32 + 3; /* so many words of zeros leave a quotient of 64 bits or more */
    words[at] = (uint32_t)v, words[at + 1] = (uint32_t)(v >> 32), n = at + 2;
    for (int32_t left = scale < 0 ? -scale : scale, step; left; left -= step) {
        for (power = 1, step = 0; step < left && step < 9; step++) power *= 10;
        carry = 0;
        for (uint32_t i = n; scale < 0 && i-- > 0; carry %= power) {
            carry = carry << 32 | words[i];
            words[i] = (uint32_t)(carry / power);
        }
        for (uint32_t i = 0; scale > 0 && i < n; i++, carry >>= 32) {
            carry += words[i] * power;
            words[i] = (uint32_t)carry;
        }
        if (scale < 0) rest |= carry;
        if (scale > 0 && carry) words[n++] = (uint32_t)carry;
    }
    while (!words[n - 1]) n--;
    int32_t exponent = 32 * (int32_t)(n - at) - 64; /* of the top 64 bits */
    uint32_t lead = (uint32_t)__builtin_clz(words[n - 1]);
    for (uint32_t i = 0; i < 3; i++) { /* 96 bits, of which the first are zeros */
        uint64_t word = n > i ? words[n - 1 - i] : 0;
        if (i < 2) top = top << 32 | word;
        else if (lead) top = top << lead | word >> (32 - lead), rest |= word & ((1ull << (32 - lead)) - 1);
        else rest |= word;
    }
    for (uint32_t i = 0; i + 3 < n; i++) rest |= words[i];
    exponent -= (int32_t)lead;
    int32_t drop = exponent < -1085 ? -1074 - exponent : 11; /* bits that a double has no room for */
    if (drop > 64) return 0;
    uint64_t kept = drop == 64 ? 0 : top >> drop, half = 1ull << (drop - 1), lost = top & (half | (half - 1));
    kept += lost > half || (lost == half && (rest || kept & 1));
    double d = (double)kept;
    for (exponent += drop; exponent > 0 && d - d == 0; exponent--) d *= 2;
    for (; exponent < 0; exponent++) d /= 2; /* exact: the bits fit */
    return d;
}

/* sluice_float reads a decimal number such as "1450.5" or "-2e3", of at most 400 bytes; false: it is none. It is the nearest one for up to 19 digits. */
static inline bool sluice_float(sluice_text t, double *value) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint32_t i = 0, digits = 0;
    int32_t scale = 0, exponent = 0;
    bool negative = false, point = false, any = false, small = false;
    uint64_t v = 0;
    if (t.n > 400) return false;
    if (i < t.n && (t.p[i] == '-' || t.p[i] == '+')) negative = t.p[i++] == '-';
    for (; i < t.n && ((t.p[i] >= '0' && t.p[i] <= '9') || (t.p[i] == '.' && !point)); i++) {
        if (t.p[i] == '.') {
            point = true;
            continue;
        }
        any = true;
        if (digits < 19) { /* as many as 64 bits hold */
            v = v * 10 + (uint64_t)(t.p[i] - '0');
            if (v) digits++;
            if (point) scale--;
        } else if (!point) {
            scale++;
        }
    }
    if (any && i < t.n && (t.p[i] | 0x20) == 'e') {
        i++;
        if (i < t.n && (t.p[i] == '-' || t.p[i] == '+')) small = t.p[i++] == '-';
        if (i == t.n) return false;
        for (; i < t.n && t.p[i] >= '0' && t.p[i] <= '9'; i++)
            if (exponent < 10000) exponent = exponent * 10 + (t.p[i] - '0');
    }
    if (!any || i < t.n) return false;
    scale += small ? -exponent : exponent;
    double d;
    if (v >> 53 || scale < -22 || scale > 22) d = sluice_scaled(v, scale);
    else d = scale < 0 ? (double)v / powers[-scale] : (double)v * powers[scale]; /* both exact, so it is rounded once */
    *value = negative ? -d : d;
    return d - d == 0; /* not infinite */
}

/* sluice_whole writes an integer in decimal and returns its length, at most 20. */
static inline uint32_t sluice_whole(char *dst, uint64_t v) {
    uint32_t n = 1;
    for (uint64_t rest = v; rest >= 10; rest /= 10) n++;
    for (uint32_t i = n; i-- > 0; v /= 10) dst[i] = (char)('0' + v % 10);
    return n;
}

/* sluice_padded writes the last digits of v, with zeros before them. */
static inline uint32_t sluice_padded(char *dst, uint64_t v, uint32_t digits) {
    for (uint32_t i = digits; i-- > 0; v /= 10) dst[i] = (char)('0' + v % 10);
    return digits;
}

/* sluice_large writes v << shift for shifts up to 971, in parts of nine digits. */
static inline uint32_t sluice_large(char *dst, uint64_t v, uint32_t shift) {
    uint32_t parts[36], n = 0, at;
    for (; v; v /= 1000000000) parts[n++] = (uint32_t)(v % 1000000000);
    while (shift) {
        uint32_t by = shift < 20 ? shift : 20;
        uint64_t carry = 0;
        for (uint32_t i = 0; i < n; i++, carry /= 1000000000) {
            carry += (uint64_t)parts[i] << by;
            parts[i] = (uint32_t)(carry % 1000000000);
        }
        if (carry) parts[n++] = (uint32_t)carry;
        shift -= by;
    }
    at = sluice_whole(dst, parts[--n]);
    while (n-- > 0) at += sluice_padded(dst + at, parts[n], 9);
    return at;
}

enum { SLUICE_DECIMAL_MAX = 330 };

/* sluice_decimal writes a number with so many digits (0 to 9) after the point, rounded from its exact value, halves to even, and returns its
 * length, at most SLUICE_DECIMAL_MAX. What JSON has no number for becomes null. */
static inline uint32_t sluice_decimal(char *dst, double v, uint32_t digits) {
    uint64_t bits, unit = 1, whole = 0, fraction = 0, rest = 0, half = 1;
    uint32_t n = 0;
    __builtin_memcpy(&bits, &v, 8);
    uint32_t power = bits >> 52 & 0x7ff;
    uint64_t mantissa = (bits & 0xfffffffffffff) | (power ? 1ull << 52 : 0);
    int32_t shift = 1075 - (int32_t)(power ? power : 1); /* magnitude = mantissa / 2^shift */
    if (power == 0x7ff) {
        __builtin_memcpy(dst, "null", 4);
        return 4;
    }
    if (bits >> 63) dst[n++] = '-';
    for (uint32_t i = 0; i < digits; i++) unit *= 10;
    if (shift <= 0) {
        n += sluice_large(dst + n, mantissa, (uint32_t)-shift);
    } else {
        if (shift < 53) whole = mantissa >> shift, mantissa &= (1ull << shift) - 1;
        uint64_t low = (mantissa & 0xffffffff) * unit, high = (mantissa >> 32) * unit + (low >> 32); /* of 96 bits */
        low &= 0xffffffff;
        if (shift <= 32) {
            fraction = shift == 32 ? high : high << (32 - shift) | low >> shift;
            rest = low & ((1ull << shift) - 1), half = 1ull << (shift - 1);
        } else if (shift < 96) {
            fraction = high >> (shift - 32);
            rest = (high & ((1ull << (shift - 32)) - 1)) << 1 | (low != 0), half = 1ull << (shift - 32);
        }
        fraction += rest > half || (rest == half && (digits ? fraction & 1 : whole & 1));
        if (fraction == unit) whole++, fraction = 0;
        n += sluice_whole(dst + n, whole);
    }
    if (!digits) return n;
    dst[n++] = '.';
    return n + sluice_padded(dst + n, fraction, digits);
}

/* ---- the record ---- */

static inline uint32_t sluice_u16(const uint8_t *b) {
    uint16_t v;
    __builtin_memcpy(&v, b, 2);
    return v;
}

static inline uint32_t sluice_u32(const uint8_t *b) {
    uint32_t v;
    __builtin_memcpy(&v, b, 4);
    return v;
}

static inline sluice_text sluice_ref(const uint8_t *r, uint32_t at) {
    uint32_t ref = sluice_u32(r + at);
    sluice_text t = {(const char *)r + (ref & 0xffff), ref >> 16};
    return t;
}

enum { SLUICE_REPLAYED = 1, SLUICE_SHADOW = 2, SLUICE_LATE = 4, SLUICE_LAST_OF_BATCH = 8 };

static inline uint32_t sluice_flags(const uint8_t *r) { return sluice_u16(r + 4); }
static inline int64_t sluice_time(const uint8_t *r) { return (int64_t)((uint64_t)sluice_u32(r + 12) << 32 | sluice_u32(r + 8)); }
static inline sluice_text sluice_type(const uint8_t *r) { return sluice_ref(r, 24); }
static inline sluice_text sluice_entry(const uint8_t *r) { return sluice_ref(r, 28); }
static inline uint32_t sluice_slots(const uint8_t *r) { return sluice_u16(r + 6); }

/* sluice_slot is a declared label, p = 0 where the record does not have it. With labels = ["*"]: name, value, name, value. */
static inline sluice_text sluice_slot(const uint8_t *r, uint32_t i) {
    sluice_text absent = {0, 0};
    return i < sluice_slots(r) && sluice_u16(r + 32 + 4 * i) ? sluice_ref(r, 32 + 4 * i) : absent;
}

/* sluice_payload_len is the length of the whole payload, be it here or not. */
static inline uint32_t sluice_payload_len(const uint8_t *r) { return sluice_u32(r + 16); }

static inline sluice_text sluice_payload(const uint8_t *r) {
    sluice_text t = {0, 0};
    uint32_t off = sluice_u32(r + 20);
    if (off) t.p = (const char *)r + off, t.n = sluice_u32(r) - off;
    return t;
}

/* sluice_f32 is the payload as n float values; it lies aligned for them. */
static inline const float *sluice_f32(const uint8_t *r, uint32_t *n) {
    sluice_text t = sluice_payload(r);
    *n = t.n / 4;
    return (const float *)(const void *)t.p;
}

/* ---- the answer ---- */

#define SLUICE_PASS ((int64_t)0x4000000000000000)
#define SLUICE_ABSORB ((int64_t)0x4003000000000000)
#define SLUICE_RETRY ((int64_t)0x4005000000000000)

static inline int64_t sluice_drop(uint16_t reason) { return (int64_t)(0x4002000000000000u | (uint64_t)reason << 32); }

/* sluice_keep publishes the record with only those labels whose slot's bit is set. */
static inline int64_t sluice_keep(uint32_t mask) { return (int64_t)(0x4001000000000000u | mask); }

static struct {
    uint32_t n, output, outputs, json; /* where the open output begins, and the open payload of JSON */
    bool full, named;                  /* no room was left; a label's name was too long */
    uint8_t bytes[SLUICE_OUT_MAX];
} sluice_out;

static inline void sluice_put32(uint8_t *b, uint32_t v) { __builtin_memcpy(b, &v, 4); }

/* sluice_space makes room in the answer; 0: it is full, and will be parked. */
static inline uint8_t *sluice_space(uint32_t n) {
    if (n > SLUICE_OUT_MAX - sluice_out.n) {
        sluice_out.full = true;
        return 0;
    }
    uint8_t *at = sluice_out.bytes + sluice_out.n;
    sluice_out.n += n;
    return at;
}

/* sluice_begin begins an answer; SLUICE_MODULE does it before each call of process. */
static inline void sluice_begin(void) {
    sluice_out.output = sluice_out.outputs = sluice_out.json = 0;
    sluice_out.full = sluice_out.named = false;
    sluice_out.n = 8; /* the head is written at the end */
}

/* sluice_output begins the next output: at first it is the record itself. */
static inline void sluice_output(void) {
    uint8_t *at = sluice_space(8);
    if (!at) return;
    sluice_put32(at, 0), sluice_put32(at + 4, 0);
    sluice_out.output = sluice_out.n - 8;
    sluice_out.outputs++;
}

/* sluice_close makes the open output end where the answer ends. */
static inline void sluice_close(void) {
    sluice_put32(sluice_out.bytes + sluice_out.output, sluice_out.n - sluice_out.output - 8);
}

static inline void sluice_op(uint8_t code, sluice_text key, sluice_text value) {
    if (!sluice_out.outputs) sluice_output();
    if (key.n > 0xffff) { /* its length would be cut to 16 bits */
        sluice_out.named = true;
        return;
    }
    uint32_t n = 8 + key.n + value.n; /* both lie in the memory, so this is below 2 GiB */
    uint8_t *at = sluice_space(n);
    if (!at) return;
    sluice_put32(at, code | key.n << 16);
    sluice_put32(at + 4, value.n);
    sluice_copy(at + 8, key.p, key.n);
    sluice_copy(at + 8 + key.n, value.p, value.n);
    uint8_t *head = sluice_out.bytes + sluice_out.output;
    sluice_put32(head + 4, (sluice_u32(head + 4) + 1) & 0xffff);
    sluice_close();
}

static const sluice_text sluice_none = {0, 0};

static inline void sluice_set_label(sluice_text name, sluice_text value) { sluice_op(1, name, value); }
static inline void sluice_delete_label(sluice_text name) { sluice_op(2, name, sluice_none); }
static inline void sluice_clear_labels(void) { sluice_op(3, sluice_none, sluice_none); }
static inline void sluice_set_topic(sluice_text suffix) { sluice_op(4, sluice_none, suffix); }
static inline void sluice_set_type(sluice_text type) { sluice_op(5, sluice_none, type); }
static inline void sluice_set_payload(sluice_text payload) { sluice_op(6, sluice_none, payload); }
static inline void sluice_rename_label(sluice_text name, sluice_text to) { sluice_op(9, name, to); }

static inline void sluice_set_time(int64_t microseconds) {
    sluice_op(7, sluice_none, (sluice_text){(const char *)&microseconds, 8});
}

/* sluice_cut_payload keeps only a part of the record's payload, which need not be here. */
static inline void sluice_cut_payload(uint32_t off, uint32_t n) {
    uint32_t part[2] = {off, n};
    sluice_op(8, sluice_none, (sluice_text){(const char *)part, 8});
}

/* ---- a payload of JSON: one object, written where the host will read it ----
 *
 *     sluice_json();
 *     sluice_json_text("device", sluice_slot(record, 1));
 *     sluice_json_float("rms", rms, 4);
 *     sluice_json_end();                                     // before anything else is said of this output
 */

static inline void sluice_append(const char *p, uint32_t n) {
    uint8_t *at = sluice_space(n);
    if (at) sluice_copy(at, p, n);
}

static inline void sluice_append_byte(char c) { sluice_append(&c, 1); }

/* sluice_valid is the length of the UTF-8 of one character, 0 where there is none at p. */
static inline uint32_t sluice_valid(const uint8_t *p, uint32_t n) {
    uint8_t low = 0x80, high = 0xBF;
    uint32_t length = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    if (length > n) return 0;
    if (p[0] == 0xE0) low = 0xA0; /* no shorter form, no half of a pair, nothing above 10FFFF */
    if (p[0] == 0xED) high = 0x9F;
    if (p[0] == 0xF0) low = 0x90;
    if (p[0] == 0xF4) high = 0x8F;
    for (uint32_t i = 1; i < length; i++, low = 0x80, high = 0xBF)
        if (p[i] < low || p[i] > high) return 0;
    return length;
}

/* sluice_append_string appends a JSON string. A byte that is no UTF-8 becomes the replacement character: labels are bytes, JSON is not. */
static inline void sluice_append_string(sluice_text t) {
    sluice_append_byte('"');
    for (uint32_t i = 0; i < t.n;) {
        uint32_t n = sluice_valid((const uint8_t *)t.p + i, t.n - i);
        uint8_t c = (uint8_t)t.p[i];
        if (n > 1) {
            sluice_append(t.p + i, n);
        } else if (!n) {
            sluice_append("\xEF\xBF\xBD", 3);
        } else if (c == '"' || c == '\\') {
            sluice_append((char[]){'\\', (char)c}, 2);
        } else if (c >= 0x20) {
            sluice_append_byte((char)c);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            sluice_append((char[]){'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'}, 2);
        } else {
            sluice_append((char[]){'\\', 'u', '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]}, 6);
        }
        i += n ? n : 1;
    }
    sluice_append_byte('"');
}

static inline void sluice_json(void) {
    sluice_set_payload(sluice_none);
    sluice_out.json = sluice_out.n;
    sluice_append_byte('{');
}

static inline void sluice_member(sluice_text key) {
    if (sluice_out.n > sluice_out.json + 1) sluice_append_byte(',');
    sluice_append_string(key);
    sluice_append_byte(':');
}

static inline void sluice_member_raw(sluice_text key, sluice_text value) {
    sluice_member(key);
    sluice_append(value.p, value.n);
}

static inline void sluice_member_text(sluice_text key, sluice_text value) {
    sluice_member(key);
    sluice_append_string(value);
}

static inline void sluice_member_float(sluice_text key, double value, uint32_t digits) {
    char text[SLUICE_DECIMAL_MAX];
    sluice_member_raw(key, (sluice_text){text, sluice_decimal(text, value, digits)});
}

static inline void sluice_member_int(sluice_text key, int64_t value) {
    char text[21] = "-";
    uint32_t negative = value < 0, n = sluice_whole(text + negative, negative ? -(uint64_t)value : (uint64_t)value);
    sluice_member_raw(key, (sluice_text){text, n + negative});
}

/* A member of the object, its key a string. The value of raw is JSON already; a float has so many digits (0 to 9) after the point. */
#define sluice_json_raw(key, value) sluice_member_raw(sluice_str(key), (value))
#define sluice_json_text(key, value) sluice_member_text(sluice_str(key), (value))
#define sluice_json_float(key, value, digits) sluice_member_float(sluice_str(key), (value), (digits))
#define sluice_json_int(key, value) sluice_member_int(sluice_str(key), (value))
#define sluice_json_bool(key, value) sluice_member_raw(sluice_str(key), (value) ? sluice_str("true") : sluice_str("false"))

static inline void sluice_json_end(void) {
    sluice_append_byte('}');
    if (sluice_out.full) return;
    sluice_put32(sluice_out.bytes + sluice_out.json - 4, sluice_out.n - sluice_out.json);
    sluice_close();
}

static inline int64_t sluice_long(const void *p, uint32_t n) { return (int64_t)((uint64_t)(uintptr_t)p << 32 | n); }

static inline int64_t sluice_decided(uint8_t verdict, sluice_text why) {
    sluice_begin();
    sluice_append(why.p, why.n < 4096 ? why.n : 4096);
    sluice_put32(sluice_out.bytes, verdict);
    sluice_put32(sluice_out.bytes + 4, sluice_out.n - 8);
    return sluice_long(sluice_out.bytes, sluice_out.n);
}

/* sluice_park sets the record aside with a text for a person, sluice_retry asks for the batch again later. */
static inline int64_t sluice_park(sluice_text why) { return sluice_decided(4, why); }
static inline int64_t sluice_retry(sluice_text why) { return sluice_decided(5, why); }

/* sluice_emit publishes the outputs in the record's place; without one it is PASS. */
static inline int64_t sluice_emit(void) {
    if (sluice_out.named) return sluice_park(sluice_str("a label's name is longer than 65535 bytes"));
    if (sluice_out.full) return sluice_park(sluice_str("answer longer than SLUICE_OUT_MAX"));
    if (!sluice_out.outputs) return SLUICE_PASS;
    sluice_put32(sluice_out.bytes, 1 | sluice_out.outputs << 16);
    sluice_put32(sluice_out.bytes + 4, sluice_out.n - 8);
    return sluice_long(sluice_out.bytes, sluice_out.n);
}

/* ---- the configuration: compact JSON that the host has written ---- */

/* sluice_value goes behind the value at the start of j and returns its length. */
static inline uint32_t sluice_value(sluice_text j) {
    uint32_t i = 0, depth = 0;
    bool quoted = false;
    for (; i < j.n; i++) {
        char c = j.p[i];
        if (quoted) {
            if (c == '\\') i++;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth && (c == '}' || c == ']')) {
            depth--;
        } else if (!depth && (c == ',' || c == ':' || c == '}' || c == ']')) {
            break;
        }
    }
    return i < j.n ? i : j.n;
}

/* sluice_next takes the next member of an object, or element of an array, off rest, which begins as the whole value:
 *     for (sluice_text rest = object; sluice_next(&rest, &key, &value);) ...                */
static inline bool sluice_next(sluice_text *rest, sluice_text *key, sluice_text *value) {
    *key = sluice_none;
    if (rest->n < 2 || rest->p[0] == '}' || rest->p[0] == ']' || rest->p[1] == '}' || rest->p[1] == ']') return false;
    rest->p++, rest->n--; /* the opening brace, or the comma */
    value->p = rest->p, value->n = sluice_value(*rest);
    rest->p += value->n, rest->n -= value->n;
    if (rest->n && rest->p[0] == ':') {
        *key = *value;
        rest->p++, rest->n--;
        value->p = rest->p, value->n = sluice_value(*rest);
        rest->p += value->n, rest->n -= value->n;
    }
    return true;
}

/* sluice_get is a member of an object, p = 0 where it has none of that name. */
static inline sluice_text sluice_get(sluice_text object, const char *name) {
    sluice_text key, value, want = sluice_str(name);
    if (object.n && object.p[0] == '{')
        for (sluice_text rest = object; sluice_next(&rest, &key, &value);)
            if (key.n == want.n + 2 && sluice_equal((sluice_text){key.p + 1, key.n - 2}, want)) return value;
    return sluice_none;
}

static inline uint32_t sluice_hex4(const char *p) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

static inline char *sluice_utf8(char *dst, uint32_t r) {
    if (r < 0x80) return *dst = (char)r, dst + 1;
    if (r < 0x800) return dst[0] = (char)(0xC0 | r >> 6), dst[1] = (char)(0x80 | (r & 63)), dst + 2;
    if (r < 0x10000)
        return dst[0] = (char)(0xE0 | r >> 12), dst[1] = (char)(0x80 | (r >> 6 & 63)), dst[2] = (char)(0x80 | (r & 63)), dst + 3;
    return dst[0] = (char)(0xF0 | r >> 18), dst[1] = (char)(0x80 | (r >> 12 & 63)), dst[2] = (char)(0x80 | (r >> 6 & 63)),
           dst[3] = (char)(0x80 | (r & 63)), dst + 4;
}

/* sluice_string writes what a JSON string says to dst, which takes as many bytes as the string has; p = 0: it is no string. */
static inline sluice_text sluice_string(sluice_text j, char *dst) {
    if (j.n < 2 || j.p[0] != '"') return sluice_none;
    char *to = dst;
    for (uint32_t i = 1; i + 1 < j.n; i++) {
        char c = j.p[i];
        if (c != '\\' || i + 2 >= j.n) {
            *to++ = c;
            continue;
        }
        c = j.p[++i];
        if (c == 'u' && i + 5 < j.n) {
            uint32_t r = sluice_hex4(j.p + i + 1), low = 0;
            i += 4;
            if (r >> 10 == 0x36 && i + 7 < j.n && j.p[i + 1] == '\\' && j.p[i + 2] == 'u') low = sluice_hex4(j.p + i + 3);
            if (low >> 10 == 0x37) {
                r = 0x10000 + ((r & 0x3FF) << 10) + (low & 0x3FF);
                i += 6;
            } else if (r >> 11 == 0x1B) {
                r = 0xFFFD; /* half of a pair */
            }
            to = sluice_utf8(to, r);
            continue;
        }
        *to++ = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
    }
    return (sluice_text){dst, (uint32_t)(to - dst)};
}

/* ---- the host ---- */

enum { SLUICE_DEBUG, SLUICE_INFO, SLUICE_WARN, SLUICE_ERROR };

SLUICE_IMPORT(log) void sluice_import_log(int32_t level, const char *p, uint32_t n);
SLUICE_IMPORT(count) void sluice_import_count(const char *p, uint32_t n, int64_t by);
SLUICE_IMPORT(observe) void sluice_import_observe(const char *p, uint32_t n, double value);
SLUICE_IMPORT(payload) int32_t sluice_import_payload(int32_t record, uint32_t off, void *dst, uint32_t n);
SLUICE_IMPORT(label) int32_t sluice_import_label(int32_t record, const char *key, uint32_t key_len, void *dst, uint32_t cap);
SLUICE_IMPORT(now) int64_t sluice_import_now(void);
SLUICE_IMPORT(dsp) int32_t sluice_import_dsp(int32_t record, int32_t kind, int32_t format, void *dst, uint32_t cap);

static inline void sluice_log(int32_t level, sluice_text t) { sluice_import_log(level, t.p, t.n); }

/* sluice_count adds to the module's counter of that name, sluice_observe one value to its distribution of that name. */
static inline void sluice_count(sluice_text name, int64_t by) { sluice_import_count(name.p, name.n, by); }
static inline void sluice_observe(sluice_text name, double value) { sluice_import_observe(name.p, name.n, value); }

/* sluice_now is the time of the record, microseconds, also where there is no record at hand; 0 before the first. */
static inline int64_t sluice_now(void) { return sluice_import_now(); }

/* sluice_pull copies a part of the record's payload, for manifests with payload = "pull". */
static inline sluice_text sluice_pull(uint32_t off, void *dst, uint32_t n) {
    int32_t got = sluice_import_payload(0, off, dst, n);
    return (sluice_text){(const char *)dst, got < 0 ? 0 : (uint32_t)got};
}

/* sluice_label copies the value of any label, declared or not, at the price of a call of the host. p = 0: the record has none, or it is longer
 * than cap. */
static inline sluice_text sluice_label(sluice_text name, void *dst, uint32_t cap) {
    int32_t n = sluice_import_label(0, name.p, name.n, dst, cap);
    return n < 0 || (uint32_t)n > cap ? sluice_none : (sluice_text){(const char *)dst, (uint32_t)n};
}

enum { SLUICE_F32, SLUICE_F64, SLUICE_I16, SLUICE_I32 };

/* sluice_stats_t is what the host knows of a payload of numbers without copying it to the module. */
typedef struct {
    double count, mean, rms, least, most, peak, crest, kurtosis;
} sluice_stats_t;

/* sluice_stats asks the host; false: the payload is no whole number of such values. */
static inline bool sluice_stats(int32_t format, sluice_stats_t *into) {
    return sluice_import_dsp(0, 1, format, into, sizeof *into) == sizeof *into;
}

/* ---- the exports ---- */

static uint8_t *sluice_buffer;
static uint32_t sluice_buffer_len;

/* sluice_grow makes a larger input buffer of new pages; the old one is given up, which happens as often as records grow. */
static inline uint8_t *sluice_grow(uint32_t size) {
    if (size <= sluice_buffer_len) return sluice_buffer;
    uint32_t pages = (size >> 16) + 1;
    size_t before = __builtin_wasm_memory_grow(0, pages);
    if (before == (size_t)-1) return 0;
    sluice_buffer = (uint8_t *)(before << 16);
    sluice_buffer_len = pages << 16;
    return sluice_buffer;
}

#define SLUICE_MODULE(init, process)                                                                                    \
    SLUICE_EXPORT(sluice_abi_1) void sluice_abi_1(void) {}                                                              \
    SLUICE_EXPORT(sluice_in) uint8_t *sluice_in(uint32_t size) { return sluice_grow(size); }                            \
    SLUICE_EXPORT(sluice_init) const char *sluice_init(uint32_t n) {                                                    \
        return init((sluice_text){(const char *)sluice_buffer, n});                                                     \
    }                                                                                                                   \
    SLUICE_EXPORT(sluice_process) int64_t sluice_process(int32_t records, uint32_t n) {                                 \
        (void)records, (void)n;                                                                                         \
        sluice_begin();                                                                                                 \
        return process(sluice_buffer);                                                                                  \
    }

/* SLUICE_STATE is for manifests with state = "explicit". uint32_t save(uint8_t *dst, uint32_t cap) returns how much it wrote;
 * const char *load(sluice_text state) returns 0 or what is wrong with it; an empty state means to begin anew. */
#define SLUICE_STATE(save, load)                                                                                        \
    static uint8_t sluice_state[SLUICE_STATE_MAX];                                                                      \
    SLUICE_EXPORT(sluice_save) int64_t sluice_save(void) {                                                              \
        return sluice_long(sluice_state, save(sluice_state, SLUICE_STATE_MAX));                                         \
    }                                                                                                                   \
    SLUICE_EXPORT(sluice_load) const char *sluice_load(uint32_t n) {                                                    \
        return load((sluice_text){(const char *)sluice_buffer, n});                                                     \
    }

/* SLUICE_FLUSH is for modules with something to say at the end of a batch: int64_t flush(void) returns SLUICE_PASS or sluice_emit(). */
#define SLUICE_FLUSH(flush)                                                                                             \
    SLUICE_EXPORT(sluice_flush) int64_t sluice_flush(int32_t reason) {                                                  \
        (void)reason;                                                                                                   \
        sluice_begin();                                                                                                 \
        return flush();                                                                                                 \
    }

#endif
