package main

import (
	"errors"
	"math"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// Why a record does not pass: the manifest's reasons, in their order.
const (
	missing uint16 = iota // no speed, or one that is no number
	outOfBand
	unsteady
	settling
	passes // not a reason
)

// settings are the module's configuration, times in microseconds.
type settings struct {
	label, field      string
	low, high         float64
	tolerance         float64
	window, hold, gap int64
}

func readSettings(config sluice.JSON) (settings, error) {
	s := settings{label: "rpm", field: config.Get("field").Text(), tolerance: 0.02}
	if label := config.Get("label").Text(); label != "" {
		s.label = label
	}
	for _, number := range []struct {
		key  string
		into *float64
	}{{"min", &s.low}, {"max", &s.high}, {"tolerance", &s.tolerance}} {
		if value := config.Get(number.key); value != nil {
			v, ok := value.Float()
			if !ok || v < 0 {
				return s, errors.New(number.key + ": " + string(value) + ", want a number of 0 or more")
			}
			*number.into = v
		}
	}
	if s.high > 0 && s.high < s.low {
		return s, errors.New("max: below min")
	}
	return s, s.readTimes(config)
}

func (s *settings) readTimes(config sluice.JSON) error {
	for _, time := range []struct {
		key, without string
		into         *int64
	}{{"window", "10s", &s.window}, {"hold", "5s", &s.hold}, {"gap", "0s", &s.gap}} {
		text := time.without
		if value := config.Get(time.key); value != nil {
			text = value.Text()
		}
		us, err := sluice.Microseconds(text)
		if err != nil {
			return errors.New(time.key + ": " + err.Error())
		}
		*time.into = us
	}
	if s.window < 1000 {
		return errors.New("window: too short, want 1ms or more")
	}
	if s.gap == 0 {
		s.gap = s.window
	}
	return nil
}

// width of a piece of the window, microseconds.
func (s *settings) width() int64 { return s.window / parts }

func (s *settings) inBand(speed float64) bool {
	return speed > 0 && speed >= s.low && (s.high == 0 || speed <= s.high)
}

// parts is how many pieces a window is kept in. It bounds the state whatever the rate of records: the window is exact to a 32nd, and never
// shorter than configured.
const parts = 32

// piece is what is known of the records of one 32nd of the window.
type piece struct {
	number         int64 // time / settings.width
	low, high, sum float64
	count          uint64
}

// history is what a stream's speed did lately. Its zero value knows nothing.
type history struct {
	began  int64 // first record since the speed came into the band
	steady int64 // first record since the window was full and its spread within the tolerance; 0 = it is not
	last   int64 // youngest record
	pieces []piece
}

// judge folds one record's speed into the history. present is false where the record has none.
func (h *history) judge(s *settings, time int64, speed float64, present bool) uint16 {
	if !present || math.IsNaN(speed) || math.IsInf(speed, 0) {
		h.forget(time)
		return missing
	}
	if time < h.last {
		return h.late(s, time, speed)
	}
	if !s.inBand(speed) {
		h.forget(time)
		return outOfBand
	}
	if h.began == 0 || time-h.last > s.gap {
		h.forget(time)
		h.began = time
	}
	h.last = time
	h.add(time/s.width(), time-s.window, s.width(), speed)
	switch {
	case h.spread() > s.tolerance:
		h.steady = 0
		return unsteady
	case time-h.began < s.window:
		return settling
	case h.steady == 0:
		h.steady = time
	}
	if time-h.steady < s.hold {
		return settling
	}
	return passes
}

// late judges a record older than the youngest by what is known, and leaves the history as it is: it passes where the stretch that is steady now
// had begun long enough before it.
func (h *history) late(s *settings, time int64, speed float64) uint16 {
	switch {
	case !s.inBand(speed):
		return outOfBand
	case h.steady == 0 || time-h.steady < s.hold:
		return settling
	}
	return passes
}

// forget makes the speed settle anew. The pieces' memory is kept.
func (h *history) forget(time int64) {
	*h = history{last: max(h.last, time), pieces: h.pieces[:0]}
}

// add puts a speed into its piece and drops the pieces that ended before from.
func (h *history) add(number, from, width int64, speed float64) {
	gone := 0
	for gone < len(h.pieces) && (h.pieces[gone].number+1)*width <= from {
		gone++
	}
	if gone > 0 {
		h.pieces = h.pieces[:copy(h.pieces, h.pieces[gone:])]
	}
	if n := len(h.pieces); n == 0 || h.pieces[n-1].number != number {
		h.pieces = append(h.pieces, piece{number: number, low: speed, high: speed})
	}
	p := &h.pieces[len(h.pieces)-1]
	p.low, p.high = min(p.low, speed), max(p.high, speed)
	p.sum += speed
	p.count++
}

// spread is (highest - lowest) / mean of the window.
func (h *history) spread() float64 {
	low, high, sum, count := math.Inf(1), 0.0, 0.0, uint64(0)
	for i := range h.pieces {
		p := &h.pieces[i]
		low, high = min(low, p.low), max(high, p.high)
		sum += p.sum
		count += p.count
	}
	return (high - low) * float64(count) / sum
}

// A state, little-endian:
//
//	 0       8       16       24      32            72
//	+-------+-------+--------+-------+-------------+-----
//	| width | began | steady | last  | piece 0     | ...      piece: number, low, high, sum, count: 8 bytes each
//	+-------+-------+--------+-------+-------------+-----
//
// The manifest's state_version goes up with the layout.
const (
	stateHead = 32
	pieceSize = 40
	maxPieces = parts + 2 // the window's own and the one it ends in, where the width was rounded down
)

func (h *history) save(dst []byte, width int64) []byte {
	for _, v := range [...]int64{width, h.began, h.steady, h.last} {
		dst = sluice.AppendUint64(dst, uint64(v))
	}
	for _, p := range h.pieces {
		dst = sluice.AppendUint64(dst, uint64(p.number))
		for _, v := range [...]float64{p.low, p.high, p.sum} {
			dst = sluice.AppendUint64(dst, math.Float64bits(v))
		}
		dst = sluice.AppendUint64(dst, p.count)
	}
	return dst
}

// load goes on from a saved state. One of another window begins anew: its pieces are numbered by a width that is not this one's, and a changed
// configuration must not be able to stop a stream.
func (h *history) load(state []byte, width int64) error {
	*h = history{pieces: h.pieces[:0]}
	if len(state) == 0 {
		return nil
	}
	n := (len(state) - stateHead) / pieceSize
	if len(state) < stateHead || (len(state)-stateHead)%pieceSize != 0 || n > maxPieces {
		return errors.New("a state of another layout")
	}
	at := func(i int) uint64 { return sluice.Uint64(state[i:]) }
	if int64(at(0)) != width {
		return nil
	}
	h.began, h.steady, h.last = int64(at(8)), int64(at(16)), int64(at(24))
	for i := stateHead; i < len(state); i += pieceSize {
		h.pieces = append(h.pieces, piece{
			number: int64(at(i)), low: math.Float64frombits(at(i + 8)), high: math.Float64frombits(at(i + 16)),
			sum: math.Float64frombits(at(i + 24)), count: at(i + 32),
		})
	}
	return nil
}
