/* my-filter lets records pass that were made fast enough, under the label that the far end knows. */
#include "sluice.h"

SLUICE_MANIFEST(
    "abi = 1\\n"
    "name = \\\"my-filter\\\"\\n"
    "version = \\\"0.1.0\\\"\\n"
    "labels = [\\\"rpm\\\"]\\n"
    "payload = \\\"none\\\"\\n"
    "reasons = [\\\"slow\\\"]\\n"
    "[[config]]\\n"
    "name = \\\"min\\\"\\n"
    "type = \\\"float\\\"\\n"
    "default = 600.0\\n"
    "help = \\\"lowest number of revolutions a minute\\\"\\n")

enum { RPM };  /* the manifest's labels */
enum { SLOW }; /* and its reasons */

static double least;

/* init takes the configuration, once and before all else. */
static const char *init(sluice_text config) {
    sluice_float(sluice_get(config, "min"), &least);
    return least < 0 ? "min: want 0 or more" : 0;
}

/* process decides on one record. */
static int64_t process(const uint8_t *record) {
    double rpm;
    if (!sluice_float(sluice_slot(record, RPM), &rpm)) return sluice_park(sluice_str("rpm: want a number"));
    if (rpm < least) return sluice_drop(SLOW);
    sluice_rename_label(sluice_str("rpm"), sluice_str("speed"));
    return sluice_emit();
}

SLUICE_MODULE(init, process)
