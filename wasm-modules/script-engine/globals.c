/* What a script finds beside the language itself. */

/* printed is a value as console.log writes it: texts as they are, objects as JSON. */
static JSValue printed(JSContext *ctx, JSValueConst v) {
    if (!JS_IsObject(v) || JS_IsFunction(ctx, v) || JS_IsError(v)) return JS_ToString(ctx, v);
    return JS_JSONStringify(ctx, v, JS_UNDEFINED, JS_UNDEFINED);
}

static JSValue console(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int level) {
    char line[SLUICE_TEXT_MAX];
    uint32_t n = 0;
    (void)self;
    for (int i = 0; i < argc; i++) {
        size_t len;
        JSValue text = printed(ctx, argv[i]);
        const char *s = JS_IsException(text) ? 0 : JS_ToCStringLen(ctx, &len, text);
        JS_FreeValue(ctx, text);
        if (!s) return JS_EXCEPTION;
        if (i && n < sizeof line) line[n++] = ' ';
        if (len > sizeof line - n) len = sizeof line - n;
        memcpy(line + n, s, len);
        n += (uint32_t)len;
        JS_FreeCString(ctx, s);
    }
    sluice_import_log(level, line, n);
    return JS_UNDEFINED;
}

/* counted is count(name, n = 1) and observe(name, value). */
static JSValue counted(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int observed) {
    double v = 1;
    size_t n;
    (void)self;
    if ((argc > 1 || observed) && JS_ToFloat64(ctx, &v, argc > 1 ? argv[1] : JS_UNDEFINED)) return JS_EXCEPTION;
    const char *name = argc ? JS_ToCStringLen(ctx, &n, argv[0]) : 0;
    if (!name) return argc ? JS_EXCEPTION : JS_ThrowTypeError(ctx, "count and observe: want a name");
    if (observed) {
        sluice_import_observe(name, (uint32_t)n, v);
    } else {
        sluice_import_count(name, (uint32_t)n, (int64_t)v);
    }
    JS_FreeCString(ctx, name);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry console_members[] = {
    JS_CFUNC_MAGIC_DEF("debug", 1, console, SLUICE_DEBUG), JS_CFUNC_MAGIC_DEF("log", 1, console, SLUICE_INFO),
    JS_CFUNC_MAGIC_DEF("info", 1, console, SLUICE_INFO),   JS_CFUNC_MAGIC_DEF("warn", 1, console, SLUICE_WARN),
    JS_CFUNC_MAGIC_DEF("error", 1, console, SLUICE_ERROR),
};

static const JSCFunctionListEntry globals[] = {
    JS_CFUNC_MAGIC_DEF("drop", 1, decide, VERDICT_DROP),
    JS_CFUNC_MAGIC_DEF("park", 1, decide, VERDICT_PARK),
    JS_CFUNC_MAGIC_DEF("retry", 1, decide, VERDICT_RETRY),
    JS_CFUNC_MAGIC_DEF("absorb", 0, decide, VERDICT_ABSORB),
    JS_CFUNC_MAGIC_DEF("count", 2, counted, false),
    JS_CFUNC_MAGIC_DEF("observe", 2, counted, true),
    JS_OBJECT_DEF("console", console_members, countof(console_members), JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE),
};

static bool make_globals(void) {
    JSValue global = JS_GetGlobalObject(js);
    int got = JS_SetPropertyFunctionList(js, global, globals, countof(globals));
    JS_FreeValue(js, global);
    return got >= 0 && make_answer();
}
