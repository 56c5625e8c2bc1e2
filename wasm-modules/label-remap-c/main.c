/* label-remap in C: the same module as wasm-modules/label-remap, whose README says what it does. */
#include "sluice.h"

SLUICE_MANIFEST(
    "abi = 1\\n"
    "name = \\\"label-remap\\\"\\n"
    "version = \\\"1.0.0\\\"\\n"
    "about = \\\"renames, drops, sets and composes labels\\\"\\n"
    "labels = [\\\"*\\\"]\\n"
    "payload = \\\"none\\\"\\n"
    "outputs_max = 1\\n"
    "[[config]]\\nname = \\\"rename\\\"\\ntype = \\\"table\\\"\\n"
    "[[config]]\\nname = \\\"drop\\\"\\ntype = \\\"array\\\"\\n"
    "[[config]]\\nname = \\\"set\\\"\\ntype = \\\"table\\\"\\n"
    "[[config]]\\nname = \\\"template\\\"\\ntype = \\\"table\\\"\\n"
    "[[config]]\\nname = \\\"allow\\\"\\ntype = \\\"array\\\"\\n")

enum { RULES_MAX = 256, PARTS_MAX = 1024, TEXTS_MAX = 64 << 10, VALUE_MAX = 64 << 10 };

typedef struct {
    sluice_text name, to;
} pair;

typedef struct {
    sluice_text text;
    bool label; /* else it is text */
} part;

typedef struct {
    sluice_text name;
    uint32_t from, to; /* its parts */
} template_rule;

typedef struct {
    sluice_text pattern[RULES_MAX];
    uint32_t n;
} patterns;

static struct {
    pair rename[RULES_MAX], set[RULES_MAX];
    template_rule templates[RULES_MAX];
    part parts[PARTS_MAX];
    patterns drop, allow;
    uint32_t renames, sets, templates_n, parts_n, texts_n;
    char texts[TEXTS_MAX]; /* what the rules point to: the config's buffer is the next record's */
    char value[VALUE_MAX]; /* of the template that is being composed */
} rules;

/* keep holds what a JSON string says; p = 0: it is none, or there is no room. */
static sluice_text keep(sluice_text j) {
    if (j.n > TEXTS_MAX - rules.texts_n) return sluice_none;
    sluice_text t = sluice_string(j, rules.texts + rules.texts_n);
    rules.texts_n += t.n;
    return t;
}

static const char *read_rename(sluice_text table) {
    sluice_text key, value;
    for (sluice_text rest = table; sluice_next(&rest, &key, &value); rules.renames++) {
        if (rules.renames == RULES_MAX) return "rename: more than 256 labels";
        pair p = {keep(key), keep(value)};
        if (!p.name.n || !p.to.n) return "rename: want a name and a new name";
        rules.rename[rules.renames] = p;
    }
    return 0;
}

static const char *read_set(sluice_text table) {
    sluice_text key, value;
    for (sluice_text rest = table; sluice_next(&rest, &key, &value); rules.sets++) {
        if (rules.sets == RULES_MAX) return "set: more than 256 labels";
        pair p = {keep(key), keep(value)};
        if (!p.to.p) { /* a number or a truth value, as it is written */
            char c = value.p[0];
            if (c == '[' || c == '{' || c == 'n' || c == '"' || value.n > TEXTS_MAX - rules.texts_n)
                return "set: want a text, a number, true or false";
            p.to.p = rules.texts + rules.texts_n, p.to.n = value.n;
            for (uint32_t i = 0; i < value.n; i++) rules.texts[rules.texts_n++] = value.p[i];
        }
        if (!p.name.n) return "set: a label without a name";
        rules.set[rules.sets] = p;
    }
    return 0;
}

/* read_parts cuts "{device}-{axis}" into its parts. */
static const char *read_parts(sluice_text text) {
    uint32_t from = 0;
    for (uint32_t i = 0; i <= text.n; i++) {
        if (i < text.n && text.p[i] != '{') continue;
        if (rules.parts_n + 2 > PARTS_MAX) return "template: too long";
        if (i > from) rules.parts[rules.parts_n++] = (part){{text.p + from, i - from}, false};
        if (i == text.n) return 0;
        from = ++i;
        while (i < text.n && text.p[i] != '}') i++;
        if (i == text.n || i == from) return "template: a brace that is not closed, or nothing in it";
        rules.parts[rules.parts_n++] = (part){{text.p + from, i - from}, true};
        from = i + 1;
    }
    return 0;
}

static const char *read_templates(sluice_text table) {
    sluice_text key, value;
    for (sluice_text rest = table; sluice_next(&rest, &key, &value); rules.templates_n++) {
        if (rules.templates_n == RULES_MAX) return "template: more than 256 labels";
        template_rule t = {keep(key), rules.parts_n, 0};
        sluice_text text = keep(value);
        if (!t.name.n || !text.n) return "template: want a name and a text with labels in braces";
        const char *wrong = read_parts(text);
        if (wrong) return wrong;
        t.to = rules.parts_n;
        rules.templates[rules.templates_n] = t;
    }
    return 0;
}

static const char *read_patterns(sluice_text array, patterns *into) {
    sluice_text key, value;
    for (sluice_text rest = array; sluice_next(&rest, &key, &value); into->n++) {
        if (into->n == RULES_MAX) return "more than 256 names in drop or allow";
        into->pattern[into->n] = keep(value);
        if (!into->pattern[into->n].n) return "drop and allow: want names";
    }
    return 0;
}

static const char *init(sluice_text config) {
    const char *wrong = read_rename(sluice_get(config, "rename"));
    if (!wrong) wrong = read_set(sluice_get(config, "set"));
    if (!wrong) wrong = read_templates(sluice_get(config, "template"));
    if (!wrong) wrong = read_patterns(sluice_get(config, "drop"), &rules.drop);
    if (!wrong) wrong = read_patterns(sluice_get(config, "allow"), &rules.allow);
    return wrong;
}

/* matches: a name is one of the patterns. */
static bool matches(const patterns *list, sluice_text name) {
    for (uint32_t i = 0; i < list->n; i++) {
        sluice_text p = list->pattern[i];
        bool wild = p.p[p.n - 1] == '*';
        if (wild) p.n--;
        if ((name.n == p.n || (wild && name.n > p.n)) && sluice_equal(p, (sluice_text){name.p, p.n})) return true;
    }
    return false;
}

static void put(sluice_text name, sluice_text value) {
    if (!rules.allow.n || matches(&rules.allow, name)) sluice_set_label(name, value);
}

/* renamed is a label's new name, p = 0 where it keeps its own. */
static sluice_text renamed(sluice_text name) {
    for (uint32_t i = 0; i < rules.renames; i++)
        if (sluice_equal(rules.rename[i].name, name)) return rules.rename[i].to;
    return sluice_none;
}

static bool stays(sluice_text name) {
    return !matches(&rules.drop, name) && !renamed(name).p && (!rules.allow.n || matches(&rules.allow, name));
}

static sluice_text label_of(const uint8_t *record, sluice_text name) {
    for (uint32_t i = 0; i + 1 < sluice_slots(record); i += 2)
        if (sluice_equal(sluice_slot(record, i), name)) return sluice_slot(record, i + 1);
    return sluice_none;
}

/* compose makes the value of a template; p = 0 where the record lacks one of its labels. */
static sluice_text compose(const template_rule *t, const uint8_t *record) {
    uint32_t n = 0;
    for (uint32_t i = t->from; i < t->to; i++) {
        sluice_text text = rules.parts[i].label ? label_of(record, rules.parts[i].text) : rules.parts[i].text;
        if (!text.p || text.n > VALUE_MAX - n) return sluice_none;
        __builtin_memcpy(rules.value + n, text.p, text.n);
        n += text.n;
    }
    return (sluice_text){rules.value, n};
}

static int64_t process(const uint8_t *record) {
    for (uint32_t i = 0; i + 1 < sluice_slots(record); i += 2)
        if (!stays(sluice_slot(record, i))) sluice_delete_label(sluice_slot(record, i));
    for (uint32_t i = 0; i + 1 < sluice_slots(record) && rules.renames; i += 2) {
        sluice_text name = sluice_slot(record, i), to = renamed(name);
        if (to.p && !matches(&rules.drop, name)) put(to, sluice_slot(record, i + 1));
    }
    for (uint32_t i = 0; i < rules.sets; i++) put(rules.set[i].name, rules.set[i].to);
    for (uint32_t i = 0; i < rules.templates_n; i++) {
        sluice_text value = compose(&rules.templates[i], record);
        if (value.p) put(rules.templates[i].name, value);
    }
    return sluice_emit();
}

SLUICE_MODULE(init, process)
