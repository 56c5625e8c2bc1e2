package bridge_test

import (
	"math/bits"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// TestMessageHash: near identities have hashes that differ in about half of their bits, and no two of many are the same.
func TestMessageHash(t *testing.T) {
	seen := make(map[uint64]bridge.Key)
	var flipped, pairs int
	for i := range int64(20_000) {
		for rev := range uint64(3) {
			for index := range uint16(3) {
				k := bridge.Key{Time: 1_700_000_000_000_000 + i*10_000, Revision: rev}
				h := bridge.MessageHash(k, index)
				if o, found := seen[h]; found {
					t.Fatalf("%v and %v.%d have the same hash", o, k, index)
				}
				seen[h] = k
				flipped += bits.OnesCount64(h ^ bridge.MessageHash(bridge.Key{Time: k.Time + 1, Revision: rev}, index))
				flipped += bits.OnesCount64(h ^ bridge.MessageHash(k, index+1))
				flipped += bits.OnesCount64(h ^ bridge.MessageHash(bridge.Key{Time: k.Time, Revision: rev ^ 1<<63}, index))
				pairs += 3
			}
		}
	}
	if mean := float64(flipped) / float64(pairs); mean < 31.9 || mean > 32.1 {
		t.Errorf("a small change flips %.2f bits, want 32", mean)
	}
}
