package bridgetest

import (
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func TestLedger(t *testing.T) {
	ledgers := make(map[string]*Ledger)
	RunLedger(t, func(t *testing.T, dir string) Opened {
		l := ledgers[dir]
		if l == nil {
			l = NewLedger(t, "a", "b")
			ledgers[dir] = l
		}
		return Opened{
			Ledger: l, States: l, Gaps: l, Losses: l.Losses, Parked: l.Parked, Verdicts: l.Verdicts, Close: func() {},
			Outbox: func(remote string) bridge.Outbox { return l.Outbox(remote) },
		}
	})
}
