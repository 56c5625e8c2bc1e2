/* The script engine: a guest that runs filters written in JavaScript. QuickJS-ng does the work; this is what stands between it and ABI 1.
 * README.md says what a script may do, runtime/abi/ABI.md what an engine must.
 *
 * QuickJS is included, not linked: its stack check and its interrupt counter have no setting that works under WASI, labels are looked up by the
 * numbers of its atoms, and patches are read where its objects keep them.
 */
#include "quickjs.c"

#include "sluice.h"

#define SLUICE_TEXT_MAX 4096    /* bytes that the host keeps of a text for people */
#define STACK_MARGIN (128 << 10) /* of the C stack, left for what runs while a script's own calls are refused */
#define POLL_EVERY 100           /* turns of a script's loops and calls of its functions between two looks at the budget */
#define COLLECT_LEAST (256 << 10) /* bytes between two collections */
#define COLLECT_COST 12          /* units of a collection for each piece of memory in use */
#define RESERVE 200000           /* units kept back, so that a script over its budget can still say where it was: more than pass between two looks */

/* Units left of the running call: the host's budget is the script's. */
SLUICE_IMPORT(units) int64_t sluice_import_units(void);
SLUICE_IMPORT(dsp) int32_t sluice_import_dsp(int32_t record, int32_t kind, int32_t format, void *dst, uint32_t cap);

extern uint8_t __data_end, __heap_base; /* of the linker: with --stack-first the stack ends at 0 and grows down from where data begins */

static JSRuntime *rt;
static JSContext *js;
static uint8_t *input;
static uint32_t input_len;
static const uint8_t *record; /* being processed; 0 otherwise */
static bool stopped;          /* the budget of the running call has come to its end */

static struct {
    char file[256];
    JSValue process, state; /* state: undefined where the script exports none */
    JSValue fresh;          /* JSON of the state that it begins with */
    JSAtom reasons[256];
    uint32_t reasons_len;
    uint32_t output_max;
    int64_t reserve;
    bool all_labels;
} script;

/* settle runs what promises have left over; false: with an exception. */
static bool settle(void) {
    JSContext *at;
    int did = 1;
    while (JS_IsJobPending(rt) && did > 0) did = JS_ExecutePendingJob(rt, &at);
    return did >= 0;
}

#include "failure.c"
#include "record.c"
#include "answer.c"
#include "globals.c"
#include "load.c"

/* Reference counts free most of what a script lets go; circles need a collection, whose cost grows with all that the script holds. So it is begun
 * here, where it is known what the budget has left, and not wherever an object is made. */
static size_t collect_at;

static bool collect(int64_t units) {
    if (rt->malloc_state.malloc_size < collect_at) return true;
    if (units - script.reserve < (int64_t)rt->malloc_state.malloc_count * COLLECT_COST) return false;
    JS_RunGC(rt);
    collect_at = rt->malloc_state.malloc_size / 2 * 3 + COLLECT_LEAST;
    return true;
}

static int poll(JSRuntime *r, void *unused) {
    (void)r, (void)unused;
    js->interrupt_counter = POLL_EVERY;
    int64_t units = sluice_import_units();
    if (units < script.reserve || !collect(units)) stopped = true;
    return stopped;
}

/* begin sets what belongs to one call. */
static void begin(uint64_t seed) {
    stopped = false;
    js->interrupt_counter = POLL_EVERY;
    js->random_state = (seed + 1) * 0x9E3779B97F4A7C15u | 1; /* the same numbers when the record comes again */
    if (rt->malloc_state.malloc_size >= collect_at) collect(sluice_import_units());
}

/* The runtime is made in _initialize, which has a budget of its own. */
__attribute__((constructor)) static void start(void) {
    rt = JS_NewRuntime();
    js = rt ? JS_NewContext(rt) : 0;
    if (!js || !make_record() || !make_globals()) __builtin_trap();
    rt->stack_limit = STACK_MARGIN;
    JS_SetGCThreshold(rt, (size_t)-1);
    collect_at = rt->malloc_state.malloc_size + COLLECT_LEAST;
    script.process = script.state = script.fresh = JS_UNDEFINED;
    JS_SetInterruptHandler(rt, poll, 0);
}

SLUICE_EXPORT(sluice_abi_1) void sluice_abi_1(void) {}

SLUICE_EXPORT(sluice_in) uint8_t *sluice_in(uint32_t size) {
    free(input);
    input = aligned_alloc(16, (size + 16 + 15) & ~15u); /* a zero behind it for what reads texts */
    input_len = input ? size : 0;
    return input;
}

SLUICE_EXPORT(sluice_script) const char *sluice_script(uint32_t n) {
    begin(0);
    if (!load(n)) return failure_text();
    return 0;
}

SLUICE_EXPORT(sluice_describe) int64_t sluice_describe(void) { return describe(); }

SLUICE_EXPORT(sluice_process) int64_t sluice_process(int32_t records, uint32_t n) {
    (void)records, (void)n;
    record = input;
    begin((uint64_t)sluice_time(record));
    JSValue got = JS_Call(js, script.process, JS_UNDEFINED, 1, (JSValueConst *)&record_object);
    int64_t answer;
    if (JS_IsException(got) || !settle()) {
        JS_FreeValue(js, got);
        answer = failed();
    } else {
        answer = answer_of(got);
    }
    record = 0;
    return answer;
}

SLUICE_EXPORT(sluice_save) int64_t sluice_save(void) {
    begin(0);
    return save();
}

SLUICE_EXPORT(sluice_load) const char *sluice_load(uint32_t n) {
    begin(0);
    return restore(n) ? 0 : failure_text();
}
