package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestRunStages(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name   string
		failed string // part that ends with an error; empty: ctx ends
		err    error  // what the parts return when stopped
		want   string
	}{
		{"stopped", "", nil, ""},
		{"a part fails", "pump", nil, "pump: broken"},
		{"failures while stopping count too", "", broken, "input: broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			var order []string
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			make := func(name string) part {
				return part{name, func(ctx context.Context) error {
					if name == tt.failed {
						return broken
					}
					<-ctx.Done()
					mu.Lock()
					defer mu.Unlock()
					order = append(order, name)
					return tt.err
				}}
			}
			if tt.failed == "" {
				cancel()
			}
			err := runStages(ctx, [][]part{{make("input")}, {make("pump")}, {make("ledger")}})
			if got := errorText(err); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			want := slices.DeleteFunc([]string{"input", "pump", "ledger"}, func(s string) bool { return s == tt.failed })
			if !slices.Equal(order, want) {
				t.Errorf("stopped in the order %v, want %v", order, want)
			}
		})
	}
}

func TestPartThatEndsByItself(t *testing.T) {
	err := runStages(t.Context(), [][]part{{{"input", func(context.Context) error { return nil }}}})
	if got := errorText(err); !strings.Contains(got, "input: ended by itself") {
		t.Errorf("got %q", got)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
