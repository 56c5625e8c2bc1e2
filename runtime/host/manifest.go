package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/sluicebridge/sluice/runtime/abi"
)

// ParseManifest reads the TOML of a manifest, fills in what was left out and checks it.
func ParseManifest(text []byte) (*abi.Manifest, error) {
	if len(text) > abi.MaxManifest {
		return nil, fmt.Errorf("manifest of %d bytes, want at most %d", len(text), abi.MaxManifest)
	}
	m := &abi.Manifest{}
	meta, err := toml.Decode(string(text), m)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("manifest: unknown key %s", unknown[0])
	}
	m.Normal()
	if bad := m.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("manifest: %s", strings.Join(bad, "; "))
	}
	if _, err := tickOf(m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// tickOf is a manifest's tick, 0 where it has none.
func tickOf(m *abi.Manifest) (time.Duration, error) {
	if m.Tick == "" {
		return 0, nil
	}
	tick, err := time.ParseDuration(m.Tick)
	if err != nil || tick < leastTick || tick > mostTick {
		return 0, fmt.Errorf("tick: %q, want %s..%s", m.Tick, leastTick, mostTick)
	}
	return tick, nil
}

// Each tick may be a write for each stream.
const (
	leastTick = 100 * time.Millisecond
	mostTick  = 24 * time.Hour
)

// configJSON checks the table [modules.NAME.config] by the manifest, fills in its defaults and encodes it for the guest.
func configJSON(m *abi.Manifest, table map[string]any) ([]byte, error) {
	whole := make(map[string]any, len(table)+len(m.Config))
	for k, v := range table {
		whole[k] = v
	}
	if len(m.Config) > 0 {
		if err := fillConfig(m.Config, whole); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(whole); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func fillConfig(keys []abi.Key, table map[string]any) error {
	var errs []error
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
		v, set := table[k.Name]
		switch {
		case !set && k.Default != nil:
			table[k.Name] = k.Default
		case !set && k.Required:
			errs = append(errs, fmt.Errorf("config.%s: missing: %s", k.Name, k.Help))
		case set && !isType(v, k.Type):
			errs = append(errs, fmt.Errorf("config.%s: %v, want %s: %s", k.Name, v, k.Type, k.Help))
		}
	}
	slices.Sort(names)
	for k := range table {
		if _, known := slices.BinarySearch(names, k); !known {
			errs = append(errs, fmt.Errorf("config.%s: unknown, the module takes %s", k, strings.Join(names, ", ")))
		}
	}
	return errors.Join(errs...)
}

// isType tells whether a value as the TOML decoder makes it is of a type of abi.KeyTypes.
func isType(v any, want string) bool {
	switch v.(type) {
	case string:
		return want == "string"
	case int64:
		return want == "int" || want == "float"
	case float64:
		return want == "float"
	case bool:
		return want == "bool"
	case []any, []map[string]any:
		return want == "array"
	case map[string]any:
		return want == "table"
	}
	return false
}
