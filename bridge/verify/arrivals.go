package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
)

// Arrival is one message as the far end has it.
type Arrival struct {
	bridge.ID
	Marked bool // as a possible duplicate
	Late   bool // said to be out of order
	Coarse bool // the far end knows only the time: which output it is, or which revision, cannot be told
}

// Arrivals is a far end that was read from a list. What it keeps is encoded, about 5 bytes an arrival, and decoded a stream at a time.
//
//	+------+--------+---------+------------+     one after the other, in the order of arrival
//	| bits | ± time | [index] | [revision] |     time: from the one before, base 128; index: base 128; revision: 8 bytes
//	+------+--------+---------+------------+     bits: 1 marked, 2 late, 4 index is there, 8 revision is there, 16 coarse
type Arrivals struct {
	period  Period
	match   func(stream string) bool
	order   bool
	live    bool
	read    func(context.Context, *Arrivals) error
	streams map[string]*arrivals

	Outside int64    // arrivals of other times or streams
	Foreign int64    // that are no identities
	Strange []string // the first of them
}

type arrivals struct {
	data []byte
	last int64
	n    int
}

const (
	arrivalMarked = 1 << iota
	arrivalLate
	arrivalIndex
	arrivalRevision
	arrivalCoarse
)

// maxStreams bounds what a list of something else can do: a site has hundreds of streams.
const maxStreams = 1 << 16

// maxForeign is how many lines that are no identities are kept for a person to look at.
const maxForeign = 10

// NewArrivals keeps what arrived of a period and of streams that match. read is called when the list is wanted: it Adds all of it.
func NewArrivals(p Period, match func(stream string) bool, read func(context.Context, *Arrivals) error) *Arrivals {
	return &Arrivals{period: p, match: match, read: read}
}

// InOrder says that read adds in the order of arrival.
func (a *Arrivals) InOrder() *Arrivals { a.order = true; return a }

// Growing says that read can be called again, and then adds what has arrived since, too.
func (a *Arrivals) Growing() *Arrivals { a.live = true; return a }

// Add keeps one whose identity is id. Text that is none is counted.
func (a *Arrivals) Add(id []byte, marked, late bool) error {
	stream, parsed, ok := bridge.ParseID(id)
	if !ok {
		if a.Foreign++; len(a.Strange) < maxForeign {
			a.Strange = append(a.Strange, string(id[:min(len(id), 200)]))
		}
		return nil
	}
	return a.keep(stream, Arrival{ID: parsed, Marked: marked, Late: late})
}

// AddTime keeps one of which only the time is known.
func (a *Arrivals) AddTime(stream string, t int64) error {
	return a.keep([]byte(stream), Arrival{ID: bridge.ID{Key: bridge.Key{Time: t}}, Coarse: true})
}

func (a *Arrivals) keep(stream []byte, x Arrival) error {
	s := a.streams[string(stream)]
	if !a.period.Has(x.Time) || s == nil && !a.match(string(stream)) {
		a.Outside++
		return nil
	}
	if s == nil {
		if len(a.streams) == maxStreams {
			return fmt.Errorf("more than %d streams at the far end, such as %.200s: are these identities of messages?", maxStreams, stream)
		}
		s = new(arrivals)
		a.streams[string(stream)] = s
	}
	s.add(x)
	return nil
}

func (s *arrivals) add(a Arrival) {
	var bits byte
	if a.Marked {
		bits |= arrivalMarked
	}
	if a.Late {
		bits |= arrivalLate
	}
	if a.Coarse {
		bits |= arrivalCoarse
	}
	if a.Index != 0 {
		bits |= arrivalIndex
	}
	if a.Revision != 0 {
		bits |= arrivalRevision
	}
	s.data = binary.AppendVarint(append(s.data, bits), a.Time-s.last)
	if a.Index != 0 {
		s.data = binary.AppendUvarint(s.data, uint64(a.Index))
	}
	if a.Revision != 0 {
		s.data = binary.LittleEndian.AppendUint64(s.data, a.Revision)
	}
	s.last = a.Time
	s.n++
}

// Streams implements Far: it reads all.
func (a *Arrivals) Streams(ctx context.Context) ([]string, error) {
	a.streams = make(map[string]*arrivals)
	a.Outside, a.Foreign, a.Strange = 0, 0, nil
	if err := a.read(ctx, a); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(a.streams)), nil
}

// Ordered implements Far.
func (a *Arrivals) Ordered() bool { return a.order }

// Live implements Far.
func (a *Arrivals) Live() bool { return a.live }

// Each implements Far.
func (a *Arrivals) Each(_ context.Context, stream string, p Period, each func(Arrival)) error {
	s := a.streams[stream]
	if s == nil {
		return nil
	}
	var last int64
	for b := s.data; len(b) > 0; {
		bits := b[0]
		x := Arrival{Marked: bits&arrivalMarked != 0, Late: bits&arrivalLate != 0, Coarse: bits&arrivalCoarse != 0}
		step, n := binary.Varint(b[1:])
		b = b[1+n:]
		last += step
		x.Time = last
		if bits&arrivalIndex != 0 {
			index, n := binary.Uvarint(b)
			x.Index, b = uint16(index), b[n:]
		}
		if bits&arrivalRevision != 0 {
			x.Revision, b = binary.LittleEndian.Uint64(b), b[8:]
		}
		if p.Has(x.Time) {
			each(x)
		}
	}
	return nil
}
