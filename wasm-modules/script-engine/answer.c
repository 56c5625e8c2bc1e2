/* What a script returned becomes an answer: true, false, a patch, a list of outputs, or one of the decisions that drop, park, retry and absorb make. */

enum { VERDICT_EMIT = 1, VERDICT_DROP, VERDICT_ABSORB, VERDICT_PARK, VERDICT_RETRY, VERDICT_FAIL };
enum { OP_LABEL = 1, OP_UNLABEL, OP_TOPIC = 4, OP_TYPE, OP_PAYLOAD, OP_TIME, OP_RENAME = 9 };

#define REASON_OTHER 0xfffe /* beyond those that can be declared: counted as "other" */

/* ---- the bytes ---- */

static struct {
    uint8_t *b;
    uint32_t n, cap, output, outputs;
} out;

/* out_space makes room for n bytes; 0 with an exception. */
static uint8_t *out_space(size_t n) {
    if (n > out.cap - out.n) {
        size_t want = (out.n + n) * 2;
        if (out.n + n > script.output_max)
            return JS_ThrowRangeError(js, "answer of more than output = %u bytes", script.output_max), (uint8_t *)0;
        uint8_t *b = js_realloc(js, out.b, want);
        if (!b) return 0;
        out.b = b, out.cap = (uint32_t)want;
    }
    out.n += (uint32_t)n;
    return out.b + out.n - n;
}

static bool out_begin(void) {
    out.n = out.outputs = 0;
    return out_space(8);
}

static int64_t out_end(uint8_t verdict, uint16_t reason) {
    memset(out.b, 0, 8);
    out.b[0] = verdict, out.b[2] = (uint8_t)reason, out.b[3] = (uint8_t)(reason >> 8);
    sluice_put32(out.b + 4, out.n - 8);
    return sluice_long(out.b, out.n);
}

static bool out_output(void) {
    out.output = out.n;
    out.outputs++;
    uint8_t *head = out_space(8);
    if (head) memset(head, 0, 8);
    return head;
}

static bool out_op(uint8_t code, sluice_text key, sluice_text value) {
    uint8_t *at = out_space(8 + (size_t)key.n + value.n);
    if (!at) return false;
    at[0] = code, at[1] = 0, at[2] = (uint8_t)key.n, at[3] = (uint8_t)(key.n >> 8);
    sluice_put32(at + 4, value.n);
    sluice_copy(at + 8, key.p, key.n);
    sluice_copy(at + 8 + key.n, value.p, value.n);
    uint8_t *head = out.b + out.output;
    uint32_t ops = sluice_u16(head + 4) + 1;
    if (ops > 0xffff) return JS_ThrowRangeError(js, "more than 65,535 changes of one output"), false;
    sluice_put32(head, out.n - out.output - 8);
    head[4] = (uint8_t)ops, head[5] = (uint8_t)(ops >> 8);
    return true;
}

/* out_text answers with a text for a person. There is memory for it: the buffer was made at load. */
static int64_t out_text(uint8_t verdict, uint16_t reason, const char *text, size_t n) {
    if (n > SLUICE_TEXT_MAX) n = SLUICE_TEXT_MAX;
    out.n = 8;
    memcpy(out.b + 8, text, n);
    out.n += (uint32_t)n;
    return out_end(verdict, reason);
}

/* failed is the pending exception as an answer. A new instance is asked for where the next record might suffer: memory ran out, which is what the
 * script holds on to, or promises of this record are left. */
static int64_t failed(void) {
    note_exception();
    return out_text(VERDICT_FAIL, starved || JS_IsJobPending(rt), failure, strlen(failure));
}

/* ---- patches ---- */

enum { PART_RENAME, PART_LABELS, PART_TOPIC, PART_TYPE, PART_PAYLOAD, PART_TIME, PARTS };
static const char *const part_name[PARTS] = {"rename", "labels", "topic", "contentType", "payload", "time"};
static JSAtom part_atom[PARTS];

static bool is_plain(JSValueConst v) { return JS_IsObject(v) && JS_GetClassID(v) == JS_CLASS_OBJECT; }

/* each calls take with every member of a plain object. What it calls may run the script and change the object, so all is looked up anew. */
static bool each(JSValueConst object, bool (*take)(JSAtom name, JSValueConst value, void *to), void *to) {
    JSObject *p = JS_VALUE_GET_OBJ(object);
    for (int i = 0; i < p->shape->prop_count; i++) {
        JSShapeProperty *at = get_shape_prop(p->shape) + i;
        if (at->atom == JS_ATOM_NULL || !(at->flags & JS_PROP_ENUMERABLE) || JS_AtomGetKind(js, at->atom) != JS_ATOM_KIND_STRING) continue;
        JSAtom name = JS_DupAtom(js, at->atom);
        bool simple = (at->flags & JS_PROP_TMASK) == JS_PROP_NORMAL;
        JSValue v = simple ? JS_DupValue(js, p->prop[i].u.value) : JS_GetProperty(js, object, name);
        bool ok = !JS_IsException(v) && take(name, v, to);
        JS_FreeValue(js, v);
        JS_FreeAtom(js, name);
        if (!ok) return false;
    }
    return true;
}

static bool wrong(const char *what, JSAtom name, const char *want) {
    const char *s = JS_AtomToCString(js, name);
    JS_ThrowTypeError(js, "%s.%s: want %s", what, s ? s : "?", want);
    JS_FreeCString(js, s);
    return false;
}

/* op_of_texts adds an op whose key is an atom and whose value is what would be printed of a JavaScript value. */
static bool op_of_texts(uint8_t code, JSAtom name, JSValueConst value) {
    size_t key_len, value_len = 0;
    const char *key = JS_AtomToCStringLen(js, &key_len, name), *text = "";
    if (!key) return false;
    if (code != OP_UNLABEL) text = JS_ToCStringLen(js, &value_len, value);
    bool ok = text;
    if (ok && (key_len == 0 || key_len > 0xffff || value_len > 0xffff)) ok = wrong("labels", name, "a name and a value of at most 65,535 bytes");
    if (ok) ok = out_op(code, (sluice_text){key, (uint32_t)key_len}, (sluice_text){text, (uint32_t)value_len});
    if (code != OP_UNLABEL) JS_FreeCString(js, text);
    JS_FreeCString(js, key);
    return ok;
}

static bool take_label(JSAtom name, JSValueConst v, void *unused) {
    (void)unused;
    if (JS_IsUndefined(v)) return true;
    if (JS_IsNull(v)) return op_of_texts(OP_UNLABEL, name, v);
    if (JS_IsObject(v) || JS_IsSymbol(v)) return wrong("labels", name, "a text, a number, true or false, or null to delete it");
    return op_of_texts(OP_LABEL, name, v);
}

static bool take_name(JSAtom name, JSValueConst v, void *unused) {
    (void)unused;
    if (!JS_IsString(v)) return wrong("rename", name, "the new name");
    return op_of_texts(OP_RENAME, name, v);
}

static bool take_part(JSAtom name, JSValueConst v, void *parts) {
    for (int i = 0; i < PARTS; i++)
        if (part_atom[i] == name) {
            ((JSValue *)parts)[i] = JS_DupValue(js, v);
            return true;
        }
    const char *s = JS_AtomToCString(js, name);
    JS_ThrowTypeError(js, "returned an object with the key %s, want labels, rename, topic, contentType, payload, time", s ? s : "?");
    JS_FreeCString(js, s);
    return false;
}

static bool op_of_text(uint8_t code, JSValueConst v, const char *part) {
    size_t n;
    if (!JS_IsString(v)) return JS_ThrowTypeError(js, "%s: want a text", part), false;
    const char *s = JS_ToCStringLen(js, &n, v);
    bool ok = s && out_op(code, sluice_none, (sluice_text){s, (uint32_t)n});
    JS_FreeCString(js, s);
    return ok;
}

/* op_of_payload takes a text and bytes as they are and anything else as JSON, which says so where no content type is given. */
static bool op_of_payload(JSValueConst v, bool typed) {
    if (JS_IsString(v)) return op_of_text(OP_PAYLOAD, v, "payload");
    if (JS_IsNull(v)) return out_op(OP_PAYLOAD, sluice_none, sluice_none);
    size_t n = 0, from = 0;
    if (JS_IsArrayBuffer(v)) {
        uint8_t *b = JS_GetArrayBuffer(js, &n, v);
        return !JS_HasException(js) && out_op(OP_PAYLOAD, sluice_none, (sluice_text){(char *)b, (uint32_t)n});
    }
    if (JS_GetTypedArrayType(v) >= 0) {
        JSValue buffer = JS_GetTypedArrayBuffer(js, v, &from, &n, 0);
        size_t whole = 0;
        uint8_t *b = JS_IsException(buffer) ? 0 : JS_GetArrayBuffer(js, &whole, buffer);
        JS_FreeValue(js, buffer); /* v holds it */
        if (!JS_HasException(js) && from + n > whole) JS_ThrowTypeError(js, "payload: its buffer has shrunk");
        return !JS_HasException(js) && out_op(OP_PAYLOAD, sluice_none, (sluice_text){(char *)b + from, (uint32_t)n});
    }
    JSValue json = JS_JSONStringify(js, v, JS_UNDEFINED, JS_UNDEFINED);
    bool ok = !JS_IsException(json) && op_of_text(OP_PAYLOAD, json, "payload");
    JS_FreeValue(js, json);
    return ok && (typed || out_op(OP_TYPE, sluice_none, sluice_str("application/json")));
}

static bool op_of_time(JSValueConst v) {
    double t = 0;
    if (JS_IsNumber(v)) JS_ToFloat64(js, &t, v);
    if (!JS_IsNumber(v) || !(t > -9e15 && t < 9e15)) return JS_ThrowTypeError(js, "time: want a number of microseconds"), false;
    uint64_t us = (uint64_t)(int64_t)t;
    uint8_t b[8];
    sluice_put32(b, (uint32_t)us), sluice_put32(b + 4, (uint32_t)(us >> 32));
    return out_op(OP_TIME, sluice_none, (sluice_text){(char *)b, 8});
}

static bool op_of_members(JSValueConst v, const char *part, bool (*take)(JSAtom, JSValueConst, void *)) {
    if (!is_plain(v)) return JS_ThrowTypeError(js, "%s: want an object", part), false;
    return each(v, take, 0);
}

static bool patch_part(int i, const JSValue *part) {
    switch (i) {
    case PART_RENAME: return op_of_members(part[i], part_name[i], take_name);
    case PART_LABELS: return op_of_members(part[i], part_name[i], take_label);
    case PART_TOPIC: return op_of_text(OP_TOPIC, part[i], part_name[i]);
    case PART_TYPE: return op_of_text(OP_TYPE, part[i], part_name[i]);
    case PART_PAYLOAD: return op_of_payload(part[i], !JS_IsUndefined(part[PART_TYPE]));
    default: return op_of_time(part[i]);
    }
}

/* patch adds one output: true is the record as it is. */
static bool patch(JSValueConst v) {
    if (!out_output()) return false;
    if (JS_IsBool(v) && JS_ToBool(js, v)) return true;
    if (!is_plain(v)) return JS_ThrowTypeError(js, "returned a list with something that is neither true nor an object"), false;
    JSValue part[PARTS];
    for (int i = 0; i < PARTS; i++) part[i] = JS_UNDEFINED;
    bool ok = each(v, take_part, part);
    for (int i = 0; i < PARTS; i++) {
        if (ok && !JS_IsUndefined(part[i])) ok = patch_part(i, part);
        JS_FreeValue(js, part[i]);
    }
    return ok;
}

static bool patches(JSValueConst list) {
    int64_t n;
    if (JS_GetLength(js, list, &n) < 0) return false;
    if (n > 0xffff) return JS_ThrowRangeError(js, "returned %d outputs, at most 65,535 can be told apart", (int)n), false;
    for (int64_t i = 0; i < n; i++) {
        JSValue v = JS_GetPropertyInt64(js, list, i);
        bool ok = !JS_IsException(v) && patch(v);
        JS_FreeValue(js, v);
        if (!ok) return false;
    }
    return true;
}

/* ---- decisions ---- */

typedef struct {
    uint8_t verdict;
    JSValue text;
} decision;

static JSClassID decision_class;

static void decision_free(JSRuntime *r, JSValueConst v) {
    decision *d = JS_GetOpaque(v, decision_class);
    if (!d) return;
    JS_FreeValueRT(r, d->text);
    js_free_rt(r, d);
}

/* decide is drop, park, retry and absorb: what they return is for the script to return. */
static JSValue decide(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int verdict) {
    (void)self;
    bool has_text = argc > 0 && !JS_IsUndefined(argv[0]);
    JSValue made = JS_NewObjectProtoClass(ctx, JS_NULL, decision_class);
    if (JS_IsException(made)) return made;
    decision *d = js_malloc(ctx, sizeof *d);
    if (!d) return JS_FreeValue(ctx, made), JS_EXCEPTION;
    *d = (decision){(uint8_t)verdict, has_text ? JS_ToString(ctx, argv[0]) : JS_UNDEFINED};
    JS_SetOpaque(made, d);
    if (!JS_IsException(d->text)) return made;
    d->text = JS_UNDEFINED;
    JS_FreeValue(ctx, made);
    return JS_EXCEPTION;
}

/* reason_of is the number of a declared reason; one that is not declared is counted under its text. */
static uint16_t reason_of(JSValueConst text) {
    size_t n;
    JSAtom atom = JS_ValueToAtom(js, text);
    JS_FreeAtom(js, atom); /* text holds it, or no reason has it */
    for (uint32_t i = 0; i < script.reasons_len; i++)
        if (script.reasons[i] == atom) return (uint16_t)i;
    const char *s = JS_ToCStringLen(js, &n, text);
    if (s) sluice_import_count(s, (uint32_t)n, 1);
    JS_FreeCString(js, s);
    return REASON_OTHER;
}

static int64_t answer_decision(const decision *d) {
    if (d->verdict == VERDICT_DROP) return sluice_drop(JS_IsUndefined(d->text) ? REASON_OTHER : reason_of(d->text));
    if (d->verdict == VERDICT_ABSORB) return SLUICE_ABSORB;
    size_t n = 0;
    const char *s = JS_IsUndefined(d->text) ? 0 : JS_ToCStringLen(js, &n, d->text);
    int64_t answer = out_text(d->verdict, 0, s, n);
    JS_FreeCString(js, s);
    return answer;
}

static const char *kind_of(JSValueConst v) {
    if (JS_IsUndefined(v)) return "nothing";
    if (JS_IsNull(v)) return "null";
    if (JS_IsPromise(v)) return "a promise: filters cannot wait";
    if (JS_IsString(v)) return "a text";
    if (JS_IsNumber(v)) return "a number";
    return "something else";
}

/* answer_of takes what process returned and frees it. */
static int64_t answer_of(JSValue v) {
    if (JS_IsBool(v)) return JS_ToBool(js, v) ? SLUICE_PASS : sluice_drop(REASON_OTHER);
    int64_t answer = 0;
    decision *d = JS_GetOpaque(v, decision_class);
    bool list = JS_IsArray(v);
    if (d) {
        answer = answer_decision(d);
    } else if (!list && !is_plain(v)) {
        JS_ThrowTypeError(js, "returned %s, want true, false, an object or a list of objects", kind_of(v));
    } else if (out_begin() && (list ? patches(v) : patch(v))) {
        answer = out.outputs ? out_end(VERDICT_EMIT, (uint16_t)out.outputs) : sluice_drop(REASON_OTHER);
    }
    JS_FreeValue(js, v);
    return answer ? answer : failed();
}

static bool make_answer(void) {
    JSClassDef def = {"Decision", .finalizer = decision_free};
    JS_NewClassID(rt, &decision_class);
    for (int i = 0; i < PARTS; i++) part_atom[i] = JS_NewAtom(js, part_name[i]);
    script.output_max = UINT32_MAX;
    return !JS_NewClass(rt, decision_class, &def) && out_space(8 + SLUICE_TEXT_MAX);
}
