/* A script's way in: from its text to a function, a manifest and a state. */

static JSValue exports; /* the module's namespace */

static JSValue member(JSValueConst object, const char *name) { return JS_GetPropertyStr(js, object, name); }

/* Bytes at the end of the memory that a script may not have: they are the engine's own, its input buffer above all. */
#define OWN_MEMORY (2 << 20)

/* options takes what the host says of the script: its name, the limits, the config. It returns the text, an exception where that fails. */
static JSValue options(uint32_t n) {
    input[n] = 0;
    JSValue o = JS_ParseJSON(js, (char *)input, n, "options");
    if (JS_IsException(o)) return o;
    JSValue file = member(o, "file"), memory = member(o, "memory"), output = member(o, "output"), text = member(o, "text");
    JSValue units = member(o, "units");
    const char *name = JS_ToCString(js, file);
    snprintf(script.file, sizeof script.file, "%s", name ? name : "?");
    JS_FreeCString(js, name);
    uint32_t most = 0;
    JS_ToUint32(js, &most, memory), JS_ToUint32(js, &script.output_max, output), JS_ToInt64(js, &script.reserve, units);
    script.reserve = script.reserve / 4 < RESERVE ? script.reserve / 4 : RESERVE;
    JS_SetMemoryLimit(rt, most > 2 * OWN_MEMORY ? most - OWN_MEMORY : most / 2);
    JSValue global = JS_GetGlobalObject(js);
    JS_DefinePropertyValueStr(js, global, "config", member(o, "config"), JS_PROP_ENUMERABLE);
    JS_FreeValue(js, global), JS_FreeValue(js, file), JS_FreeValue(js, memory), JS_FreeValue(js, output), JS_FreeValue(js, o);
    return text;
}

/* evaluate runs the script's top level; false with an exception. */
static bool evaluate(JSValueConst text) {
    size_t n;
    const char *s = JS_ToCStringLen(js, &n, text);
    if (!s) return false;
    JSValue module = JS_Eval(js, s, n, script.file, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    JS_FreeCString(js, s);
    if (JS_IsException(module)) return false;
    JSModuleDef *def = JS_VALUE_GET_PTR(module);
    JSValue promise = JS_EvalFunction(js, module);
    if (JS_IsException(promise)) return false;
    bool settled = settle();
    int state = JS_PromiseState(js, promise);
    if (settled && state == JS_PROMISE_REJECTED) JS_Throw(js, JS_PromiseResult(js, promise));
    if (settled && state == JS_PROMISE_PENDING) JS_ThrowTypeError(js, "the script waits at its top level: a filter cannot wait");
    JS_FreeValue(js, promise);
    if (JS_HasException(js)) return false;
    exports = JS_GetModuleNamespace(js, def);
    return !JS_IsException(exports);
}

/* texts checks that an export is a list of texts, or absent, and calls take for each. */
static bool texts(const char *name, uint32_t most, bool (*take)(uint32_t i, JSAtom atom)) {
    JSValue list = member(exports, name);
    int64_t n = 0;
    bool ok = JS_IsUndefined(list) || (JS_IsArray(list) && JS_GetLength(js, list, &n) >= 0 && n <= most);
    for (int64_t i = 0; ok && i < n; i++) {
        JSValue v = JS_GetPropertyInt64(js, list, i);
        JSAtom atom = JS_IsString(v) ? JS_ValueToAtom(js, v) : JS_ATOM_NULL;
        ok = atom != JS_ATOM_NULL && take((uint32_t)i, atom);
        JS_FreeValue(js, v);
    }
    JS_FreeValue(js, list);
    if (!ok && !JS_HasException(js)) JS_ThrowTypeError(js, "%s: want a list of at most %u texts", name, most);
    return ok;
}

static bool take_reason(uint32_t i, JSAtom atom) {
    script.reasons[i] = atom;
    script.reasons_len = i + 1;
    return true;
}

static bool take_declared(uint32_t i, JSAtom atom) {
    if (!declared) declared = js_mallocz(js, 1024 * sizeof *declared);
    if (!declared) return false;
    declared[i] = (known_name){.atom = atom, .last = JS_UNDEFINED};
    declared_len = i + 1;
    return true;
}

/* take_state notes the state that the script begins with. */
static bool take_state(void) {
    script.state = member(exports, "state");
    if (JS_IsUndefined(script.state)) return true;
    if (!is_plain(script.state) && !JS_IsArray(script.state)) return JS_ThrowTypeError(js, "state: want an object"), false;
    script.fresh = JS_JSONStringify(js, script.state, JS_UNDEFINED, JS_UNDEFINED);
    return !JS_IsException(script.fresh);
}

static bool load(uint32_t n) {
    JSValue text = options(n);
    bool ok = !JS_IsException(text) && evaluate(text);
    JS_FreeValue(js, text);
    if (!ok) return false;
    script.process = member(exports, "default");
    if (!JS_IsFunction(js, script.process)) return JS_ThrowTypeError(js, "want: export default function (r) { ... }"), false;
    if (!texts("labels", 1024, take_declared) || !texts("reasons", 256, take_reason) || !take_state()) return false;
    JSAtom all = JS_NewAtom(js, "*");
    if (declared_len == 1 && declared[0].atom == all) declared = 0;
    JS_FreeAtom(js, all);
    return true;
}

/* ---- the manifest ---- */

/* A list or text in JSON is one in TOML. */
static void put_json(DynBuf *b, const char *key, JSValue v) {
    JSValue json = JS_IsUndefined(v) ? JS_UNDEFINED : JS_JSONStringify(js, v, JS_UNDEFINED, JS_UNDEFINED);
    const char *s = JS_IsString(json) ? JS_ToCString(js, json) : 0;
    if (s) dbuf_printf(b, "%s = ", key), dbuf_putstr(b, s), dbuf_putc(b, '\n');
    JS_FreeCString(js, s);
    JS_FreeValue(js, json), JS_FreeValue(js, v);
}

static void put_member(DynBuf *b, const char *key, const char *name) { put_json(b, key, member(exports, name)); }

static bool is_exported(const char *name) {
    JSValue v = member(exports, name);
    JS_FreeValue(js, v);
    return !JS_IsUndefined(v);
}

static int64_t describe(void) {
    static DynBuf b;
    dbuf_init(&b);
    dbuf_putstr(&b, "abi = 1\npayload = \"pull\"\noutputs_max = 65535\n");
    put_json(&b, "name", is_exported("name") ? member(exports, "name") : JS_NewString(js, script.file));
    put_member(&b, "version", "version"), put_member(&b, "about", "about");
    if (!declared) dbuf_putstr(&b, "labels = [\"*\"]\n");
    if (declared) put_member(&b, "labels", "labels");
    put_member(&b, "reasons", "reasons"), put_member(&b, "state_version", "stateVersion");
    if (!JS_IsUndefined(script.state)) dbuf_putstr(&b, "state = \"explicit\"\n");
    return sluice_long(b.buf, (uint32_t)b.size);
}

/* ---- the state ---- */

/* save is the state as JSON. */
static int64_t save(void) {
    static const char *saved;
    size_t n;
    JS_FreeCString(js, saved), saved = 0;
    JSValue state = member(exports, "state"), json = JS_JSONStringify(js, state, JS_UNDEFINED, JS_UNDEFINED);
    saved = JS_IsString(json) ? JS_ToCStringLen(js, &n, json) : 0;
    if (!saved && !JS_HasException(js)) JS_ThrowTypeError(js, "state: has become nothing that JSON can hold");
    JS_FreeValue(js, json), JS_FreeValue(js, state);
    if (saved) return sluice_long(saved, (uint32_t)n);
    const char *why = failure_text();
    write(STDERR_FILENO, why, strlen(why)); /* a state that cannot be saved has no other way to say so */
    return -1;
}

static bool set_member(JSAtom name, JSValueConst v, void *object) {
    return JS_DefinePropertyValue(js, *(JSValue *)object, name, JS_DupValue(js, v), JS_PROP_C_W_E | JS_PROP_THROW) >= 0;
}

/* replace gives an object the members of another. The script's own variable goes on naming it. */
static bool replace(JSValue object, JSValueConst by) {
    JSPropertyEnum *had;
    uint32_t n;
    if (JS_IsArray(object)) {
        int64_t len;
        bool ok = JS_SetLength(js, object, 0) >= 0 && JS_GetLength(js, by, &len) >= 0;
        for (int64_t i = 0; ok && i < len; i++) ok = JS_SetPropertyInt64(js, object, i, JS_GetPropertyInt64(js, by, i)) >= 0;
        return ok;
    }
    if (JS_GetOwnPropertyNames(js, &had, &n, object, JS_GPN_STRING_MASK)) return false;
    for (uint32_t i = 0; i < n; i++) JS_DeleteProperty(js, object, had[i].atom, 0);
    JS_FreePropertyEnum(js, had, n);
    return each(by, set_member, &object);
}

/* restore makes the state what n bytes of input say, what it began with for none. */
static bool restore(uint32_t n) {
    size_t len = n;
    const char *json = n ? (char *)input : JS_ToCStringLen(js, &len, script.fresh);
    if (!json) return false;
    if (n) input[n] = 0;
    JSValue stored = JS_ParseJSON(js, json, len, "state"), state = member(exports, "state");
    if (!n) JS_FreeCString(js, json);
    bool ok = !JS_IsException(stored) && !JS_IsException(state);
    if (ok && (JS_IsArray(stored) != JS_IsArray(state) || (!JS_IsArray(state) && !(is_plain(state) && is_plain(stored)))))
        ok = false, JS_ThrowTypeError(js, "state: want an object, stored as well as in the script");
    ok = ok && replace(state, stored);
    JS_FreeValue(js, stored), JS_FreeValue(js, state);
    return ok;
}
