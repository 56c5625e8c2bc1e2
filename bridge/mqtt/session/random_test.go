package session_test

import (
	"flag"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

var schedules = flag.Int("schedules", 1000, "schedules of each variant")

// TestSchedules runs random schedules of every variant. A fault that never fired fails the test.
func TestSchedules(t *testing.T) {
	common := []string{"crash", "crash: step in flight is durable", "crash: step in flight is gone", "network cut",
		"another number of clients", "removed client drained", "identifiers wrapped", "CONNECT rejected", "commit failed, tried again", "waited for the limit", "clean start", "cut after the old session was ended"}
	for _, tt := range []struct {
		variant
		fires []string
	}{
		{variant{name: "QoS 2, strict, sessions kept", qos: 2}, []string{"0x91", "0x92 to a repeated PUBREL", "CONNECT unanswered", "start with a CONNECT unanswered"}},
		{variant{name: "QoS 2, pipelined, no CONNECT left unanswered", qos: 2, ordering: bridge.Pipelined, calm: true}, []string{"0x91"}},
		{variant{name: "QoS 2, pipelined, sessions lost", qos: 2, ordering: bridge.Pipelined, loses: true},
			[]string{"session lost", "marked double", "CONNECT unanswered", "start with a CONNECT unanswered"}},
		{variant{name: "QoS 2, strict, refusals, sessions lost", qos: 2, loses: true, refuses: true},
			[]string{"refused for now", "refused for good", "lane held and tried again"}},
		{variant{name: "QoS 2, strict, refused messages held", qos: 2, loses: true, refuses: true, hold: true}, []string{"lane held and tried again"}},
		{variant{name: "QoS 2, unordered", qos: 2, ordering: bridge.Unordered, loses: true, refuses: true}, []string{"lane held and tried again"}},
		{variant{name: "QoS 2, another far end", qos: 2, ordering: bridge.Pipelined, farChange: true, loses: true}, []string{"another far end"}},
		{variant{name: "QoS 1, pipelined, sessions lost", qos: 1, ordering: bridge.Pipelined, loses: true}, []string{"session lost", "marked double"}},
		{variant{name: "QoS 2, a message ends its connection", qos: 2, ordering: bridge.Pipelined, poisons: true},
			[]string{"connection ended on a message", "poison parked"}},
		{variant{name: "QoS 1, a message ends its connection", qos: 1, poisons: true}, []string{"connection ended on a message", "poison parked"}},
		{variant{name: "QoS 1, strict, refusals", qos: 1, refuses: true}, []string{"refused for now", "refused for good"}},
		{variant{name: "QoS 2, strict, live first, refusals, sessions lost", qos: 2, live: true, refuses: true, loses: true},
			[]string{"late", "phase after phase", "live row while the backlog fills its queue", "refused for now", "lane held and tried again"}},
		{variant{name: "QoS 2, pipelined, live first, another far end", qos: 2, ordering: bridge.Pipelined, live: true, farChange: true, loses: true},
			[]string{"late", "phase after phase", "live row while the backlog fills its queue", "another far end"}},
		{variant{name: "QoS 2, unordered, live first", qos: 2, ordering: bridge.Unordered, live: true, refuses: true}, []string{"phase after phase"}},
		{variant{name: "QoS 1, strict, live first, refused messages held", qos: 1, live: true, refuses: true, hold: true}, []string{"late", "phase after phase"}},
		{variant{name: "QoS 1, pipelined, live first, sessions lost", qos: 1, ordering: bridge.Pipelined, live: true, loses: true},
			[]string{"late", "phase after phase", "live row while the backlog fills its queue"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fired := map[string]int{}
			for seed := range uint64(*schedules) {
				if fail := newWorld(tt.variant, seed, fired).run(); fail != "" {
					t.Fatalf("schedule %d: %s", seed, fail)
				}
			}
			for _, what := range append(tt.fires, common...) {
				if fired[what] == 0 {
					t.Errorf("never fired: %s", what)
				}
			}
			if tt.calm && fired["marked double"] > 0 {
				t.Errorf("%d doubles although no session was lost", fired["marked double"])
			}
		})
	}
}
