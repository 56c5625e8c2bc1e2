/* The same as main.go. */
#include "sluice.h"

SLUICE_MANIFEST("abi = 1\\nname = \\\"labels\\\"\\nlabels = [\\\"stable\\\", \\\"rpm\\\", \\\"axis\\\", \\\"device\\\"]\\n"
                "reasons = [\\\"not stable\\\"]\\n")

static const sluice_text names[] = {{0, 0}, {"rpm", 3}, {"axis", 4}, {"device", 6}};
static const sluice_text to[] = {{0, 0}, {"speed", 5}, {"direction", 9}, {"machine", 7}};

static const char *init(sluice_text config) {
    (void)config;
    return 0;
}

static int64_t process(const uint8_t *r) {
    if (!sluice_is(sluice_slot(r, 0), "true")) return sluice_drop(0);
    for (uint32_t i = 1; i < 4; i++) {
        if (sluice_slot(r, i).p) sluice_op(9, names[i], to[i]);
    }
    return sluice_emit();
}

SLUICE_MODULE(init, process)
