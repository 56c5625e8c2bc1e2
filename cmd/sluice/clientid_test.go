package main

import (
	"maps"
	"testing"

	"github.com/sluicebridge/sluice/bridge/mqtt"
)

func TestClientIDs(t *testing.T) {
	for _, c := range []struct {
		name        string
		given, want map[string]string // by remote
	}{
		{"default", map[string]string{"site": "sluice-{identity}"}, map[string]string{"site": "sluice-01234567"}},
		{"given", map[string]string{"site": "press-7"}, map[string]string{"site": "press-7"}},
		{"two of the same", map[string]string{"a": "sluice-{identity}", "b": "sluice-{identity}", "c": "press-7"},
			map[string]string{"a": "sluice-01234567-a", "b": "sluice-01234567-b", "c": "press-7"}},
		{"two of their own", map[string]string{"a": "a-{identity}", "b": "b-{identity}"}, map[string]string{"a": "a-01234567", "b": "b-01234567"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			remotes := make(map[string]mqtt.Config)
			for name, id := range c.given {
				remotes[name] = mqtt.Config{ClientID: id}
			}
			if got := clientIDs(remotes, "0123456789abcdef"); !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
