/* The record as a script sees it. Nothing is made of it before the script looks: labels are found in the input buffer, the payload is asked of
 * the host. One object serves all records, so it cannot be written to; it is not to be kept. */

static JSValue record_object;
static JSClassID record_class, labels_class;

/* ---- labels ---- */

/* A name that a script has asked for, with the slot where it was last: the next record mostly has it there too. */
typedef struct {
    JSAtom atom; /* 0 = free */
    char *text;
    uint32_t len, at;
    JSValue last; /* the value that was made last: labels mostly are what they were */
} known_name;

#define NAMES 64
static known_name names[NAMES];
static uint32_t names_len, names_next;

/* declared is the script's list of labels, in the order of the slots; none: slots are pairs of name and value. */
static known_name *declared;
static uint32_t declared_len;

/* same compares by words: names and values are short, and every turn of a loop is metered. */
static inline bool same(const char *a, const char *b, uint32_t n) {
    uint64_t x, y;
    for (; n >= 8; n -= 8, a += 8, b += 8) {
        memcpy(&x, a, 8), memcpy(&y, b, 8);
        if (x != y) return false;
    }
    switch (n) {
    case 7: if (a[6] != b[6]) return false; /* fall through */
    case 6: if (a[5] != b[5]) return false; /* fall through */
    case 5: if (a[4] != b[4]) return false; /* fall through */
    case 4: if (a[3] != b[3]) return false; /* fall through */
    case 3: if (a[2] != b[2]) return false; /* fall through */
    case 2: if (a[1] != b[1]) return false; /* fall through */
    case 1: if (a[0] != b[0]) return false;
    }
    return true;
}

static bool is_named(uint32_t slot, const known_name *k) {
    sluice_text t = sluice_slot(record, slot);
    return t.p && t.n == k->len && same(t.p, k->text, k->len);
}

/* known returns what is known of a name; 0 with an exception where there is no memory, or without one for a symbol. */
static known_name *known(JSAtom atom) {
    for (uint32_t i = 0; i < names_len; i++)
        if (names[i].atom == atom) return &names[i];
    if (JS_AtomGetKind(js, atom) != JS_ATOM_KIND_STRING) return 0;
    size_t n;
    const char *s = JS_AtomToCStringLen(js, &n, atom);
    if (!s) return 0;
    char *text = js_malloc(js, n + 1);
    if (text) memcpy(text, s, n);
    JS_FreeCString(js, s);
    if (!text) return 0;
    known_name *k = &names[names_next++ % NAMES];
    if (names_len < NAMES) names_len++;
    if (k->atom) JS_FreeAtom(js, k->atom), js_free(js, k->text), JS_FreeValue(js, k->last);
    *k = (known_name){JS_DupAtom(js, atom), text, (uint32_t)n, 0, JS_UNDEFINED};
    return k;
}

/* find returns the label of a name and puts its value into t: p = 0 where the record has none. 0, with an exception or not: it cannot have one. */
static known_name *find(JSAtom atom, sluice_text *t) {
    *t = sluice_none;
    if (!record) return 0;
    if (declared) {
        for (uint32_t i = 0; i < declared_len; i++)
            if (declared[i].atom == atom) return *t = sluice_slot(record, i), &declared[i];
        return 0;
    }
    known_name *k = known(atom);
    if (!k) return 0;
    uint32_t slots = sluice_slots(record), i = k->at;
    if (!is_named(i, k))
        for (i = 0; i < slots && !is_named(i, k);) i += 2;
    if (i < slots) *t = sluice_slot(record, i + 1), k->at = i;
    return k;
}

/* value_of is a label's value. Where it is the last one again, that is used: what is as long as its text and narrow is plain ASCII. */
static JSValue value_of(known_name *k, sluice_text t) {
    if (JS_VALUE_GET_TAG(k->last) == JS_TAG_STRING) {
        JSString *s = JS_VALUE_GET_STRING(k->last);
        if (s->len == t.n && !s->is_wide_char && same(t.p, (const char *)str8(s), t.n)) return JS_DupValue(js, k->last);
    }
    JSValue v = JS_NewStringLen(js, t.p, t.n);
    JS_FreeValue(js, k->last);
    bool plain = JS_VALUE_GET_TAG(v) == JS_TAG_STRING && JS_VALUE_GET_STRING(v)->len == t.n;
    k->last = plain ? JS_DupValue(js, v) : JS_UNDEFINED;
    return v;
}

static JSValue labels_get(JSContext *ctx, JSValueConst self, JSAtom name, JSValueConst receiver) {
    (void)self, (void)receiver;
    sluice_text t;
    known_name *k = find(name, &t);
    if (t.p) return value_of(k, t);
    return JS_HasException(ctx) ? JS_EXCEPTION : JS_UNDEFINED;
}

static int labels_own(JSContext *ctx, JSPropertyDescriptor *d, JSValueConst self, JSAtom name) {
    (void)self;
    sluice_text t;
    known_name *k = find(name, &t);
    if (!t.p && JS_HasException(ctx)) return -1;
    if (!t.p || !d) return t.p != 0;
    d->flags = JS_PROP_C_W_E; /* what is not fixed may change, and it does with each record */
    d->getter = d->setter = JS_UNDEFINED;
    d->value = value_of(k, t);
    return JS_IsException(d->value) ? -1 : 1;
}

static int labels_names(JSContext *ctx, JSPropertyEnum **list, uint32_t *len, JSValueConst self) {
    (void)self;
    uint32_t slots = record ? sluice_slots(record) : 0, n = 0;
    JSPropertyEnum *to = js_mallocz(ctx, (slots + 1) * sizeof *to);
    if (!to) return -1;
    for (uint32_t i = 0; i < slots; i++) {
        sluice_text t = sluice_slot(record, i);
        if (!declared && i % 2) continue;
        if (!t.p) continue;
        JSAtom atom = declared ? JS_DupAtom(ctx, declared[i].atom) : JS_NewAtomLen(ctx, t.p, t.n);
        if (atom == JS_ATOM_NULL) {
            JS_FreePropertyEnum(ctx, to, n);
            return -1;
        }
        to[n++].atom = atom;
    }
    *list = to, *len = n;
    return 0;
}

static int read_only(JSContext *ctx) {
    JS_ThrowTypeError(ctx, "labels cannot be written to: return { labels: { name: value } }, null to delete one");
    return -1;
}

static int labels_delete(JSContext *ctx, JSValueConst self, JSAtom name) {
    (void)self, (void)name;
    return read_only(ctx);
}

static int labels_define(JSContext *ctx, JSValueConst self, JSAtom name, JSValueConst value, JSValueConst getter, JSValueConst setter, int flags) {
    (void)self, (void)name, (void)value, (void)getter, (void)setter, (void)flags;
    return read_only(ctx);
}

static int labels_set(JSContext *ctx, JSValueConst self, JSAtom name, JSValueConst value, JSValueConst receiver, int flags) {
    (void)self, (void)name, (void)value, (void)receiver, (void)flags;
    return read_only(ctx);
}

static JSClassExoticMethods labels_methods = {
    .get_own_property = labels_own,
    .get_own_property_names = labels_names,
    .delete_property = labels_delete,
    .define_own_property = labels_define,
    .get_property = labels_get,
    .set_property = labels_set,
};

/* ---- the rest ---- */

static JSValue text_value(sluice_text t) { return JS_NewStringLen(js, t.p, t.n); }

enum { FIELD_ENTRY, FIELD_TYPE, FIELD_TIME, FIELD_SIZE };

static JSValue record_field(JSContext *ctx, JSValueConst self, int field) {
    (void)self;
    if (!record) return JS_UNDEFINED;
    switch (field) {
    case FIELD_ENTRY: return text_value(sluice_entry(record));
    case FIELD_TYPE: return text_value(sluice_type(record));
    case FIELD_TIME: return JS_NewInt64(ctx, sluice_time(record));
    default: return JS_NewUint32(ctx, sluice_payload_len(record));
    }
}

/* record_flags is a list of names, those of record files. */
static JSValue record_flags(JSContext *ctx, JSValueConst self) {
    static const char *const flag[] = {"replayed", "shadow", "late", "last_of_batch"};
    (void)self;
    JSValue list = JS_NewArray(ctx);
    uint32_t n = 0;
    for (uint32_t i = 0; record && i < 4 && !JS_IsException(list); i++)
        if (sluice_flags(record) >> i & 1) JS_SetPropertyUint32(ctx, list, n++, JS_NewString(ctx, flag[i]));
    return list;
}

/* pulled is a part of the payload, js_malloced with a zero behind it; 0 with an exception. */
static uint8_t *pulled(uint32_t from, uint32_t *len) {
    uint32_t whole = record ? sluice_payload_len(record) : 0;
    if (from > whole) from = whole;
    if (*len > whole - from) *len = whole - from;
    uint8_t *b = js_malloc(js, (size_t)*len + 1);
    if (!b) return 0;
    int32_t got = *len ? sluice_import_payload(0, from, b, *len) : 0;
    *len = got > 0 ? (uint32_t)got : 0;
    b[*len] = 0;
    return b;
}

static JSValue record_text(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int as_json) {
    (void)self, (void)argc, (void)argv;
    uint32_t n = UINT32_MAX;
    uint8_t *b = pulled(0, &n);
    if (!b) return JS_EXCEPTION;
    JSValue v = as_json ? JS_ParseJSON(ctx, (char *)b, n, "payload") : JS_NewStringLen(ctx, (char *)b, n);
    js_free(ctx, b);
    return v;
}

/* array hands memory from js_malloc over to a new typed array. */
static JSValue array(JSContext *ctx, uint8_t *b, uint32_t n, JSTypedArrayEnum type) {
    if (!b) return JS_EXCEPTION;
    JSValue buffer = JS_NewArrayBufferCopy(ctx, b, n);
    js_free(ctx, b);
    if (JS_IsException(buffer)) return buffer;
    JSValue made = JS_NewTypedArray(ctx, 1, (JSValueConst *)&buffer, type);
    JS_FreeValue(ctx, buffer);
    return made;
}

static JSValue record_bytes(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    uint32_t from = 0, to = UINT32_MAX;
    if (argc > 0 && !JS_IsUndefined(argv[0]) && JS_ToUint32(ctx, &from, argv[0])) return JS_EXCEPTION;
    if (argc > 1 && !JS_IsUndefined(argv[1]) && JS_ToUint32(ctx, &to, argv[1])) return JS_EXCEPTION;
    uint32_t n = to > from ? to - from : 0;
    return array(ctx, pulled(from, &n), n, JS_TYPED_ARRAY_UINT8);
}

static JSValue record_float32(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self, (void)argc, (void)argv;
    uint32_t n = UINT32_MAX, whole = record ? sluice_payload_len(record) : 0;
    if (whole % 4) return JS_ThrowRangeError(ctx, "payload of %u bytes, want a multiple of 4 for float32", whole);
    uint8_t *b = pulled(0, &n);
    return array(ctx, b, n, JS_TYPED_ARRAY_FLOAT32);
}

/* record_stats has the host look at the payload as numbers, where it lies. */
static JSValue record_stats(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    static const char *const formats[] = {"f32", "f64", "i16", "i32"};
    static const char *const field[] = {"count", "mean", "rms", "min", "max", "peak", "crest", "kurtosis"};
    (void)self;
    const char *name = argc ? JS_ToCString(ctx, argv[0]) : 0;
    int32_t format = 0;
    double value[8];
    if (argc && !name) return JS_EXCEPTION;
    while (name && format < 4 && strcmp(name, formats[format])) format++;
    JS_FreeCString(ctx, name);
    if (format == 4) return JS_ThrowTypeError(ctx, "stats: want \"f32\", \"f64\", \"i16\" or \"i32\"");
    if (sluice_import_dsp(0, 1, format, value, sizeof value) != sizeof value)
        return JS_ThrowRangeError(ctx, "payload of %u bytes is not numbers of %s", record ? sluice_payload_len(record) : 0, formats[format]);
    JSValue made = JS_NewObject(ctx);
    for (uint32_t i = 0; i < 8 && !JS_IsException(made); i++)
        if (JS_DefinePropertyValueStr(ctx, made, field[i], JS_NewFloat64(ctx, value[i]), JS_PROP_C_W_E) < 0) return JS_FreeValue(ctx, made), JS_EXCEPTION;
    return made;
}

static const JSCFunctionListEntry record_members[] = {
    JS_CGETSET_MAGIC_DEF("entry", record_field, NULL, FIELD_ENTRY),
    JS_CGETSET_MAGIC_DEF("contentType", record_field, NULL, FIELD_TYPE),
    JS_CGETSET_MAGIC_DEF("time", record_field, NULL, FIELD_TIME),
    JS_CGETSET_MAGIC_DEF("size", record_field, NULL, FIELD_SIZE),
    JS_CGETSET_DEF("flags", record_flags, NULL),
    JS_CFUNC_MAGIC_DEF("text", 0, record_text, false),
    JS_CFUNC_MAGIC_DEF("json", 0, record_text, true),
    JS_CFUNC_DEF("bytes", 2, record_bytes),
    JS_CFUNC_DEF("float32", 0, record_float32),
    JS_CFUNC_DEF("stats", 1, record_stats),
};

static bool make_record(void) {
    JSClassDef labels_def = {"Labels", .exotic = &labels_methods}, record_def = {.class_name = "Record"};
    JS_NewClassID(rt, &labels_class), JS_NewClassID(rt, &record_class);
    if (JS_NewClass(rt, labels_class, &labels_def) || JS_NewClass(rt, record_class, &record_def)) return false;
    JSValue methods = JS_NewObject(js);
    JS_SetPropertyFunctionList(js, methods, record_members, countof(record_members));
    record_object = JS_NewObjectProtoClass(js, methods, record_class);
    JS_DefinePropertyValueStr(js, record_object, "labels", JS_NewObjectProtoClass(js, JS_NULL, labels_class), JS_PROP_ENUMERABLE);
    JS_FreezeObject(js, methods);
    JS_FreeValue(js, methods);
    return JS_PreventExtensions(js, record_object) >= 0;
}
