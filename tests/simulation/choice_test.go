package simulation

import (
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"
)

// choices makes every decision of a schedule and remembers them. A seed is a schedule; so is any list of numbers, which is what lets one be
// made shorter.
type choices struct {
	next func(n int) int // below n
	made []uint16
}

func seeded(seed uint64) *choices {
	return &choices{next: rand.New(rand.NewPCG(seed, 1)).IntN}
}

// replayed plays the decisions of an earlier run, and goes on in one fixed way behind them.
func replayed(plan []uint16) *choices {
	rest := rand.New(rand.NewPCG(0, 0))
	return &choices{next: func(n int) int {
		if len(plan) == 0 {
			return rest.IntN(n)
		}
		x := int(plan[0]) % n
		plan = plan[1:]
		return x
	}}
}

// drawn lets rapid decide. Its own integers lean to small ones, which leaves most faults out: coins do not.
func drawn(t *rapid.T) *choices {
	coin := rapid.Bool()
	return &choices{next: func(n int) int {
		for {
			x := 0
			for bit := 1; bit < n; bit *= 2 {
				if x *= 2; coin.Draw(t, "") {
					x++
				}
			}
			if x < n {
				return x
			}
		}
	}}
}

// pick returns a number below n.
func (c *choices) pick(n int) int {
	if n <= 1 {
		return 0
	}
	x := c.next(n)
	c.made = append(c.made, uint16(x))
	return x
}

// chance is true once in n times.
func (c *choices) chance(n int) bool { return c.pick(n) == 0 }

// shrink makes a failing schedule shorter: it takes pieces out, large ones first, and puts zeros in, as long as the schedule still fails in the
// same way. It takes a second for what one seed of a hundred thousand has found. rapid shrinks what it finds itself, which is the commoner failures.
func shrink(plan []uint16, fails func([]uint16) bool) []uint16 {
	left := 4000 // tries: a world in which nothing moves any more takes long to say so
	still := func(plan []uint16) bool {
		left--
		return left >= 0 && fails(plan)
	}
	for size := len(plan) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(plan); {
			shorter := slices.Delete(slices.Clone(plan), at, at+size)
			if still(shorter) {
				plan = shorter
				continue
			}
			at += size
		}
	}
	for at := range plan {
		lower := slices.Clone(plan)
		if lower[at] = 0; plan[at] != 0 && still(lower) {
			plan = lower
		}
	}
	return plan
}
