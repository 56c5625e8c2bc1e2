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

/* What a compiler makes of loops and of struct copies where bulk memory is not switched on. */
__attribute__((weak, no_builtin("memcpy"))) void *memcpy(void *restrict dst, const void *restrict src, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)dst)[i] = ((const char *)src)[i];
    return dst;
}

__attribute__((weak, no_builtin("memset"))) void *memset(void *dst, int c, size_t n) {
    for (size_t i = 0; i < n; i++) ((char *)dst)[i] = (char)c;
    return dst;
}

static inline sluice_text sluice_str(const char *zero_terminated) {
    sluice_text t = {zero_terminated, 0};
    while (zero_terminated[t.n]) t.n++;
    return t;
}

static inline bool sluice_equal(sluice_text a, sluice_text b) {
    if (a.n != b.n || !a.p != !b.p) return false;
    for (uint32_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i]) return false;
    return true;
}

static inline bool sluice_is(sluice_text a, const char *zero_terminated) { return sluice_equal(a, sluice_str(zero_terminated)); }

/* sluice_float reads a decimal number such as "1450.5" or "-2e3"; false: it is none. */
static inline bool sluice_float(sluice_text t, double *value) {
    uint32_t i = 0, digits = 0;
    bool negative = false, point = false;
    double v = 0, scale = 1;
    if (i < t.n && (t.p[i] == '-' || t.p[i] == '+')) negative = t.p[i++] == '-';
    for (; i < t.n && ((t.p[i] >= '0' && t.p[i] <= '9') || (t.p[i] == '.' && !point)); i++) {
        if (t.p[i] == '.') {
            point = true;
            continue;
        }
        v = v * 10 + (t.p[i] - '0');
        if (point) scale *= 10;
        digits++;
    }
    int exponent = 0;
    bool small = false;
    if (digits && i < t.n && (t.p[i] | 0x20) == 'e') {
        i++;
        if (i < t.n && (t.p[i] == '-' || t.p[i] == '+')) small = t.p[i++] == '-';
        if (i == t.n) return false;
        for (; i < t.n && t.p[i] >= '0' && t.p[i] <= '9' && exponent < 400; i++) exponent = exponent * 10 + (t.p[i] - '0');
    }
    if (!digits || i < t.n) return false;
    v /= scale;
    while (exponent-- > 0) v = small ? v / 10 : v * 10;
    *value = negative ? -v : v;
    return v - v == 0; /* not infinite */
}

/* sluice_decimal writes a number with so many digits (0 to 9) after the point, rounded half away from 0, and returns its length, at most 32.
 * What JSON has no number for, or does not fit, becomes null. */
static inline uint32_t sluice_decimal(char *dst, double v, uint32_t digits) {
    uint64_t unit = 1, scaled;
    uint32_t n = 0, from;
    for (uint32_t i = 0; i < digits; i++) unit *= 10;
    double magnitude = v < 0 ? -v : v;
    if (!(magnitude * (double)unit < 9e18)) {
        for (const char *s = "null"; *s; s++) dst[n++] = *s;
        return n;
    }
    scaled = (uint64_t)(magnitude * (double)unit + 0.5);
    if (v < 0 && scaled) dst[n++] = '-';
    from = n;
    for (uint32_t i = 0; scaled || i <= digits; i++, scaled /= 10) {
        if (i == digits && digits) dst[n++] = '.';
        dst[n++] = (char)('0' + scaled % 10);
    }
    for (uint32_t a = from, b = n - 1; a < b; a++, b--) { /* written from its end */
        char c = dst[a];
        dst[a] = dst[b];
        dst[b] = c;
    }
    return n;
}

/* ---- the record ---- */

static inline uint32_t sluice_u16(const uint8_t *b) { return b[0] | (uint32_t)b[1] << 8; }
static inline uint32_t sluice_u32(const uint8_t *b) { return sluice_u16(b) | sluice_u16(b + 2) << 16; }

static inline sluice_text sluice_ref(const uint8_t *r, uint32_t at) {
    sluice_text t = {(const char *)r + sluice_u16(r + at), sluice_u16(r + at + 2)};
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
    uint32_t n, output, outputs;
    bool full;
    uint8_t bytes[SLUICE_OUT_MAX];
} sluice_out;

static inline void sluice_put32(uint8_t *b, uint32_t v) {
    b[0] = (uint8_t)v, b[1] = (uint8_t)(v >> 8), b[2] = (uint8_t)(v >> 16), b[3] = (uint8_t)(v >> 24);
}

/* sluice_space makes room in the answer, zeroed; 0: it is full, and will be parked. */
static inline uint8_t *sluice_space(uint32_t n) {
    if (n > SLUICE_OUT_MAX - sluice_out.n) {
        sluice_out.full = true;
        return 0;
    }
    uint8_t *at = sluice_out.bytes + sluice_out.n;
    __builtin_memset(at, 0, n);
    sluice_out.n += n;
    return at;
}

/* sluice_begin begins an answer; SLUICE_MODULE does it before each call of process. */
static inline void sluice_begin(void) {
    sluice_out.n = sluice_out.output = sluice_out.outputs = 0;
    sluice_out.full = false;
    sluice_space(8);
}

/* sluice_output begins the next output: at first it is the record itself. */
static inline void sluice_output(void) {
    sluice_out.output = sluice_out.n;
    sluice_out.outputs++;
    sluice_space(8);
}

static inline void sluice_op(uint8_t code, sluice_text key, sluice_text value) {
    if (!sluice_out.outputs) sluice_output();
    if (key.n > 0xffff) { /* its length would be cut to 16 bits */
        sluice_out.full = true;
        return;
    }
    uint32_t n = 8 + key.n + value.n; /* both lie in the memory, so this is below 2 GiB */
    uint8_t *at = sluice_space(n);
    if (!at) return;
    at[0] = code;
    at[2] = (uint8_t)key.n, at[3] = (uint8_t)(key.n >> 8);
    sluice_put32(at + 4, value.n);
    __builtin_memcpy(at + 8, key.p, key.n);
    __builtin_memcpy(at + 8 + key.n, value.p, value.n);
    uint8_t *head = sluice_out.bytes + sluice_out.output;
    uint32_t ops = sluice_u16(head + 4) + 1;
    sluice_put32(head, sluice_out.n - sluice_out.output - 8);
    head[4] = (uint8_t)ops, head[5] = (uint8_t)(ops >> 8);
}

static const sluice_text sluice_none = {0, 0};

static inline void sluice_set_label(sluice_text name, sluice_text value) { sluice_op(1, name, value); }
static inline void sluice_delete_label(sluice_text name) { sluice_op(2, name, sluice_none); }
static inline void sluice_clear_labels(void) { sluice_op(3, sluice_none, sluice_none); }
static inline void sluice_set_topic(sluice_text suffix) { sluice_op(4, sluice_none, suffix); }
static inline void sluice_set_type(sluice_text type) { sluice_op(5, sluice_none, type); }
static inline void sluice_set_payload(sluice_text payload) { sluice_op(6, sluice_none, payload); }

static inline int64_t sluice_long(const void *p, uint32_t n) { return (int64_t)((uint64_t)(uintptr_t)p << 32 | n); }

static inline int64_t sluice_decided(uint8_t verdict, sluice_text why) {
    sluice_begin();
    uint8_t *at = sluice_space(why.n < 4096 ? why.n : 4096);
    __builtin_memcpy(at, why.p, why.n < 4096 ? why.n : 4096);
    sluice_out.bytes[0] = verdict;
    sluice_put32(sluice_out.bytes + 4, sluice_out.n - 8);
    return sluice_long(sluice_out.bytes, sluice_out.n);
}

/* sluice_park sets the record aside with a text for a person, sluice_retry asks for the batch again later. */
static inline int64_t sluice_park(sluice_text why) { return sluice_decided(4, why); }
static inline int64_t sluice_retry(sluice_text why) { return sluice_decided(5, why); }

/* sluice_emit publishes the outputs in the record's place; without one it is PASS. */
static inline int64_t sluice_emit(void) {
    if (sluice_out.full) return sluice_park(sluice_str("answer longer than SLUICE_OUT_MAX, or a label's name longer than 65,535 bytes"));
    if (!sluice_out.outputs) return SLUICE_PASS;
    sluice_out.bytes[0] = 1;
    sluice_out.bytes[2] = (uint8_t)sluice_out.outputs, sluice_out.bytes[3] = (uint8_t)(sluice_out.outputs >> 8);
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

static inline void sluice_log(int32_t level, sluice_text t) { sluice_import_log(level, t.p, t.n); }

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
