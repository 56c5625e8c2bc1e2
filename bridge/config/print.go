package config

import (
	"encoding"
	"net/url"
	"reflect"
	"strings"
)

// redacted stands for a secret that is set.
const redacted = "***"

// Plain turns a struct into maps, lists and plain values under the names of the file, with secrets redacted: what `config print` and the
// configuration's hash are made of. Fields without a toml tag, nil pointers and nil values are left out.
func Plain(src any) map[string]any {
	v := reflect.ValueOf(src)
	if v.Kind() != reflect.Pointer {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p
	}
	out, _ := plain(v.Elem(), "").(map[string]any)
	return out
}

func plain(v reflect.Value, name string) any {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := t.MarshalText()
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Struct:
		out := make(map[string]any)
		for _, f := range fieldsOf(v.Type()) {
			if x := plain(v.FieldByIndex(f.index), f.name); x != nil {
				out[f.name] = x
			}
		}
		return out
	case reflect.Map:
		out := make(map[string]any)
		for key, item := range v.Seq2() {
			if x := plain(item, key.String()); x != nil {
				out[key.String()] = x
			}
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i), name)
		}
		return out
	case reflect.Pointer:
		return plain(v.Elem(), name)
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem(), name)
	case reflect.String:
		return redact(name, v.String())
	default:
		return v.Interface()
	}
}

// redact hides a secret, and the password inside a URL.
func redact(name, text string) string {
	if IsSecret(name) && text != "" {
		return redacted
	}
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	if _, has := u.User.Password(); !has {
		return text
	}
	u.User = url.User(u.User.Username())
	return strings.Replace(u.String(), "@", ":"+redacted+"@", 1)
}
