/* Uses everything that the SDK offers, as a record's label do says. The samples of all SDKs give the same answers, byte for byte, to the records
 * of ../../conformance. */
#include "sluice.h"

SLUICE_MANIFEST(
    "abi = 1\\n"
    "name = \\\"sample\\\"\\n"
    "version = \\\"1.0.0\\\"\\n"
    "about = \\\"uses everything that the SDK offers, as the label do says\\\"\\n"
    "labels = [\\\"do\\\", \\\"value\\\", \\\"device\\\"]\\n"
    "payload = \\\"full\\\"\\n"
    "outputs_max = 4\\n"
    "state = \\\"explicit\\\"\\n"
    "state_version = 1\\n"
    "reasons = [\\\"low\\\", \\\"no number\\\"]\\n"
    "[[config]]\\nname = \\\"min\\\"\\ntype = \\\"float\\\"\\ndefault = 600.0\\n"
    "[[config]]\\nname = \\\"unit\\\"\\ntype = \\\"string\\\"\\ndefault = \\\"g\\\"\\n")

enum { DO, VALUE, DEVICE };
enum { LOW, NO_NUMBER };

static double least;
static char unit_bytes[256];
static sluice_text unit;

static struct {
    uint64_t count;
    double sum;
} seen; /* the state */

static bool told; /* that flush has something to say */

static const char *init(sluice_text config) {
    sluice_text text = sluice_get(config, "unit");
    sluice_float(sluice_get(config, "min"), &least);
    if (least < 0) return "min: want 0 or more";
    if (text.n > sizeof unit_bytes) return "unit: too long";
    unit = sluice_string(text, unit_bytes);
    return 0;
}

static uint32_t save(uint8_t *dst, uint32_t cap) {
    if (cap < sizeof seen) return 0;
    __builtin_memcpy(dst, &seen, sizeof seen);
    return sizeof seen;
}

static const char *load(sluice_text state) {
    if (state.n && state.n != sizeof seen) return "state: want 16 bytes";
    seen.count = 0, seen.sum = 0;
    __builtin_memcpy(&seen, state.p, state.n);
    return 0;
}

static int64_t patch(const uint8_t *r) {
    sluice_set_label(sluice_str("speed"), sluice_slot(r, VALUE));
    sluice_set_label(sluice_str("note"), sluice_str(""));
    sluice_delete_label(sluice_str("seq"));
    sluice_rename_label(sluice_str("device"), sluice_str("machine"));
    sluice_set_topic(sluice_entry(r));
    sluice_set_type(sluice_str("text/plain"));
    sluice_set_payload(sluice_str("changed"));
    sluice_set_time(sluice_time(r) + 1000000);
    return sluice_emit();
}

static int64_t split(void) {
    sluice_output();
    sluice_set_label(sluice_str("part"), sluice_str("1"));
    sluice_output();
    sluice_set_label(sluice_str("part"), sluice_str("2"));
    return sluice_emit();
}

static int64_t json(const uint8_t *r, double value) {
    sluice_json();
    sluice_json_text("device", sluice_slot(r, DEVICE));
    sluice_json_text("type", sluice_type(r));
    sluice_json_text("unit \"1\"", unit);
    sluice_json_float("min", least, 1);
    sluice_json_float("d0", value, 0);
    sluice_json_float("d1", value, 1);
    sluice_json_float("d3", value, 3);
    sluice_json_float("d9", value, 9);
    sluice_json_int("time", sluice_time(r));
    sluice_json_int("size", sluice_payload_len(r));
    sluice_json_bool("late", sluice_flags(r) & SLUICE_LATE);
    sluice_json_raw("list", sluice_str("[1,null]"));
    sluice_json_end();
    sluice_set_type(sluice_str("application/json"));
    return sluice_emit();
}

static int64_t wave(const uint8_t *r) {
    uint32_t n;
    const float *values = sluice_f32(r, &n);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)values[i];
    sluice_json();
    sluice_json_int("n", n);
    sluice_json_float("mean", sum / n, 6);
    sluice_json_end();
    return sluice_emit();
}

static int64_t stats(void) {
    sluice_stats_t s;
    if (!sluice_stats(SLUICE_F32, &s)) return sluice_park(sluice_str("no waveform"));
    sluice_json();
    sluice_json_float("count", s.count, 0);
    sluice_json_float("mean", s.mean, 4);
    sluice_json_float("rms", s.rms, 4);
    sluice_json_float("least", s.least, 4);
    sluice_json_float("most", s.most, 4);
    sluice_json_float("peak", s.peak, 4);
    sluice_json_float("crest", s.crest, 4);
    sluice_json_float("kurtosis", s.kurtosis, 4);
    sluice_json_end();
    return sluice_emit();
}

static int64_t ask(const uint8_t *r, bool label) {
    static char bytes[64 << 10];
    sluice_text got = label ? sluice_label(sluice_str("seq"), bytes, sizeof bytes) : sluice_pull(0, bytes, sizeof bytes);
    (void)r;
    if (!got.p) return sluice_drop(NO_NUMBER);
    if (label) {
        sluice_set_label(sluice_str("copy"), got);
    } else {
        sluice_set_payload(got);
    }
    return sluice_emit();
}

static int64_t tell(const uint8_t *r, double value) {
    sluice_log(SLUICE_INFO, sluice_slot(r, DEVICE));
    sluice_count(sluice_str("told"), 2);
    sluice_observe(sluice_str("value"), value);
    return SLUICE_PASS;
}

static int64_t state(void) {
    sluice_json();
    sluice_json_int("count", (int64_t)seen.count);
    sluice_json_float("sum", seen.sum, 3);
    sluice_json_int("now", sluice_now());
    sluice_json_end();
    return sluice_emit();
}

/* others is what process has no more room for. */
static int64_t others(const uint8_t *r, sluice_text what) {
    if (sluice_is(what, "cut")) {
        sluice_cut_payload(4, 8);
        return sluice_emit();
    }
    if (sluice_is(what, "clear")) {
        sluice_clear_labels();
        sluice_set_label(sluice_str("only"), sluice_slot(r, DEVICE));
        return sluice_emit();
    }
    if (sluice_is(what, "name")) {
        sluice_set_label(sluice_payload(r), sluice_str("1"));
        return sluice_emit();
    }
    if (sluice_is(what, "same")) {
        sluice_output();
        return sluice_emit();
    }
    if (sluice_is(what, "crash")) __builtin_trap();
    return sluice_park(sluice_str("do: nothing of that name"));
}

static int64_t process(const uint8_t *r) {
    sluice_text what = sluice_slot(r, DO);
    double value = 0;
    bool number = sluice_float(sluice_slot(r, VALUE), &value);
    if (!number) value = __builtin_nan("");
    seen.count++;
    if (number) seen.sum += value;
    if (!what.n || sluice_is(what, "pass")) return SLUICE_PASS;
    if (sluice_is(what, "drop")) return !number ? sluice_drop(NO_NUMBER) : value < least ? sluice_drop(LOW) : SLUICE_PASS;
    if (sluice_is(what, "keep")) return sluice_keep(1 << VALUE | 1 << DEVICE);
    if (sluice_is(what, "absorb")) return SLUICE_ABSORB;
    if (sluice_is(what, "retry")) return SLUICE_RETRY;
    if (sluice_is(what, "retry because")) return sluice_retry(sluice_slot(r, DEVICE));
    if (sluice_is(what, "park")) return sluice_park(sluice_slot(r, DEVICE));
    if (sluice_is(what, "fail")) return sluice_park(sluice_str("told to fail"));
    if (sluice_is(what, "empty")) return sluice_emit();
    if (sluice_is(what, "patch")) return patch(r);
    if (sluice_is(what, "split")) return split();
    if (sluice_is(what, "json")) return json(r, value);
    if (sluice_is(what, "wave")) return wave(r);
    if (sluice_is(what, "stats")) return stats();
    if (sluice_is(what, "label") || sluice_is(what, "pull")) return ask(r, what.n == 5);
    if (sluice_is(what, "tell")) return tell(r, value);
    if (sluice_is(what, "state")) return state();
    told |= sluice_is(what, "flush");
    return sluice_is(what, "flush") ? SLUICE_ABSORB : others(r, what);
}

/* flush says how many records there were, once for each do = "flush". */
static int64_t flush(void) {
    if (!told) return SLUICE_PASS;
    told = false;
    sluice_json();
    sluice_json_int("count", (int64_t)seen.count);
    sluice_json_end();
    return sluice_emit();
}

SLUICE_MODULE(init, process)
SLUICE_STATE(save, load)
SLUICE_FLUSH(flush)
