/* Uses what label-remap-c does not: slots, numbers, waveforms, state, flush, every verdict. */
#include "sluice.h"

SLUICE_MANIFEST(
    "abi = 1\\n"
    "name = \\\"header\\\"\\n"
    "labels = [\\\"do\\\", \\\"number\\\"]\\n"
    "payload = \\\"full\\\"\\n"
    "state = \\\"explicit\\\"\\n"
    "reasons = [\\\"first\\\", \\\"second\\\"]\\n")

static uint8_t count;

static const char *init(sluice_text config) { return sluice_get(config, "refuse").p ? "told to refuse" : 0; }

static uint32_t save(uint8_t *dst, uint32_t cap) {
    if (!cap) return 0;
    dst[0] = count;
    return 1;
}

static const char *load(sluice_text state) {
    if (state.n > 1) return "a state of another layout";
    count = state.n ? (uint8_t)state.p[0] : 0;
    return 0;
}

/* mean writes the mean of the waveform, the number label and the count, each as a decimal. */
static int64_t mean(const uint8_t *record) {
    static char text[3 * SLUICE_DECIMAL_MAX];
    uint32_t n, at = 0;
    const float *wave = sluice_f32(record, &n);
    double sum = 0, number = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)wave[i];
    if (!sluice_float(sluice_slot(record, 1), &number)) number = 0.0 / 0.0;
    at += sluice_decimal(text, sum / n, 3);
    text[at++] = ' ';
    at += sluice_decimal(text + at, number, 2);
    text[at++] = ' ';
    at += sluice_decimal(text + at, count, 0);
    sluice_output();
    sluice_set_type(sluice_str("text/plain"));
    sluice_set_topic(sluice_entry(record));
    sluice_set_payload((sluice_text){text, at});
    return sluice_emit();
}

static int64_t process(const uint8_t *record) {
    sluice_text what = sluice_slot(record, 0);
    count++;
    if (!what.p) return sluice_park(sluice_str("nothing to do"));
    if (sluice_is(what, "pass")) return SLUICE_PASS;
    if (sluice_is(what, "drop")) return sluice_drop(1);
    if (sluice_is(what, "absorb")) return SLUICE_ABSORB;
    if (sluice_is(what, "keep")) return sluice_keep(2);
    if (sluice_is(what, "retry")) return sluice_retry(sluice_str("not now"));
    if (sluice_is(what, "mean")) return mean(record);
    if (sluice_is(what, "name")) {
        sluice_set_label(sluice_payload(record), sluice_str("1"));
        return sluice_emit();
    }
    if (sluice_is(what, "full")) {
        for (int i = 0; i < 100; i++) sluice_set_payload(sluice_payload(record));
        return sluice_emit();
    }
    sluice_log(SLUICE_WARN, what);
    __builtin_trap();
}

/* flush says how many records there were, on every fifth. */
static int64_t flush(void) {
    char text[8];
    if (count % 5) return SLUICE_PASS;
    sluice_set_payload((sluice_text){text, sluice_decimal(text, count, 0)});
    return sluice_emit();
}

SLUICE_MODULE(init, process)
SLUICE_STATE(save, load)
SLUICE_FLUSH(flush)
