/* The same as main.go. */
#include "sluice.h"

SLUICE_MANIFEST("abi = 1\\nname = \\\"wave\\\"\\npayload = \\\"full\\\"\\n")

static const char *init(sluice_text config) {
    (void)config;
    return 0;
}

static int64_t process(const uint8_t *r) {
    uint32_t n;
    const float *wave = sluice_f32(r, &n);
    double sum = 0, fourth = 0;
    uint32_t top = 0;
    for (uint32_t i = 0; i < n; i++) {
        double q = (double)wave[i] * wave[i];
        uint32_t bits;
        sum += q;
        fourth += q * q;
        __builtin_memcpy(&bits, &wave[i], 4);
        bits &= 0x7fffffff;
        if (bits > top) top = bits;
    }
    float peak;
    __builtin_memcpy(&peak, &top, 4);
    double features[3] = {__builtin_sqrt(sum / n), peak, fourth * n / (sum * sum)};
    sluice_text payload = {(const char *)features, sizeof features};
    sluice_set_payload(payload);
    return sluice_emit();
}

SLUICE_MODULE(init, process)
