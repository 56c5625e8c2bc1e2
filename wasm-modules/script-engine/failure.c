/* What went wrong, as a person who has the script before him wants to read it: "filter.js:12: TypeError: cannot read property 'x' of undefined". */

static char failure[SLUICE_TEXT_MAX];
static bool starved; /* the failure was for want of memory: what the script holds may be more than the next record can do with */

static void failure_add(const char *s, size_t n) {
    size_t have = strlen(failure);
    if (n > sizeof failure - 1 - have) n = sizeof failure - 1 - have;
    memcpy(failure + have, s, n);
    failure[have + n] = 0;
}

static void failure_str(const char *s) { failure_add(s, strlen(s)); }

/* property is a text property of an exception, 0 where it has none; it gives no second exception. */
static const char *property(JSValueConst error, const char *name) {
    JSValue v = JS_GetPropertyStr(js, error, name);
    const char *s = JS_IsString(v) ? JS_ToCString(js, v) : 0;
    JS_FreeValue(js, v);
    if (!s) JS_FreeValue(js, JS_GetException(js));
    return s;
}

/* where adds ":LINE" of the innermost place in the script that a stack such as "    at name (filter.js:12:5)\n" names, where it names none the line
 * at which the filter's function begins. */
static void where(const char *stack) {
    size_t n = strlen(script.file);
    for (const char *at = stack; at && (at = strstr(at, script.file)); at += n) {
        if (at == stack || (at[-1] != '(' && at[-1] != ' ') || at[n] != ':') continue;
        const char *line = at + n, *end = line + 1;
        while (*end >= '0' && *end <= '9') end++;
        failure_add(line, (size_t)(end - line));
        return;
    }
    JSFunctionBytecode *process = JS_GetFunctionBytecode(script.process);
    char line[16];
    if (process) failure_add(line, (size_t)snprintf(line, sizeof line, ":%d", process->line_num));
}

/* describe_error adds what an exception says. Converting it may run the script, within what the budget has left. */
static void describe_error(JSValueConst error) {
    const char *name = 0, *message = 0;
    if (JS_IsError(error)) {
        name = property(error, "name"), message = property(error, "message");
    } else if (!JS_IsNull(error) && !JS_IsUninitialized(error)) {
        message = JS_ToCString(js, error);
        if (!message) JS_FreeValue(js, JS_GetException(js));
    }
    if (!message && !name) starved = true; /* there was not even memory for an error */
    if (message && JS_IsError(error) && !strcmp(message, "out of memory")) starved = true;
    if (stopped) {
        failure_str("budget used up here or in a loop below: it does not end, or is more work than budget allows");
    } else if (starved) {
        failure_str("out of memory: more than memory allows");
    } else {
        if (name) failure_str(name);
        if (name && message && *message) failure_str(": ");
        if (!name) failure_str("thrown: ");
        if (message) failure_str(message);
    }
    JS_FreeCString(js, name);
    JS_FreeCString(js, message);
}

/* note_exception takes the pending exception into failure. */
static void note_exception(void) {
    JSValue error = JS_GetException(js);
    starved = false;
    js->interrupt_counter = INT_MAX; /* what is left of the budget is for this */
    failure[0] = 0;
    failure_str(script.file);
    const char *stack = JS_IsError(error) ? property(error, "stack") : 0;
    where(stack);
    failure_str(": ");
    describe_error(error);
    JS_FreeCString(js, stack);
    JS_FreeValue(js, error);
}

/* failure_text is the pending exception as a status of ABI 1. */
static const char *failure_text(void) {
    note_exception();
    return failure;
}
