package hold

// Pull is what is done to a stream that nobody sends: it is read on from where the last read has ended.
//
//	                mark: all up to here was read     now
//	 overtaken        │                                │
//	──────────────────┼────────────────────────────────┼──────────────▶ record time
//	      └── Again ──┘└───────────── Next ────────────┘└── Early ──┘
type Pull struct {
	Overtaken Range // was evicted before it was read. Its end is the new mark
	Again     Range // is compared once more: records come late
	Next      Range // is read. It begins with the record at the mark: while that is there, nothing behind it was evicted
	Early     Range // records from the future are compared, not read: the mark does not pass them, and each read would bring them again

	facts Facts // with the mark behind Overtaken
}

// Back is how far before the mark it is looked again, in microseconds, and whether at all: else neither Again nor Early is anything.
type Back struct {
	By   int64
	Some bool
}

// Pull returns what is to be done.
func (f Facts) Pull(has Extent, back Back) Pull {
	p := Pull{Overtaken: f.Overtaken(has.Oldest), Again: none, Next: none, Early: none}
	if !p.Overtaken.Empty() {
		f.Mark = p.Overtaken.To
	}
	p.facts = f
	if back.Some {
		p.Early = Range{max(f.Since, f.Now+1), has.Latest}
	}
	latest := min(has.Latest, f.Now)
	if !f.Marked {
		p.Next = Range{f.Since, latest}
		return p
	}
	if latest > f.Mark {
		p.Next = Range{max(f.Since, f.Mark), latest}
	}
	if back.Some {
		p.Again = Range{max(f.Since, f.Mark+1-back.By), min(f.Mark, has.Latest)}
	}
	return p
}

// Sure reports whether a read has seen all that there was behind the mark: in one answer of the store that begins with what is at the mark. Else the caller
// asks for the oldest record; see PassedBy.
func (p *Pull) Sure(found Found, answers int) bool {
	return !p.facts.Marked || answers == 1 && found.Records > 0 && found.First <= p.facts.Mark
}

// PassedBy moves the mark behind what was evicted before upTo was read, and returns that: the read may not have seen it.
func (p *Pull) PassedBy(oldest, upTo, now int64) Range { return p.facts.passedBy(oldest, upTo, now) }

// Reach moves the mark to what was read, and returns false where it was there already.
func (p *Pull) Reach(upTo int64) bool {
	if upTo = min(upTo, p.facts.Now); p.facts.Marked && upTo <= p.facts.Mark || upTo <= 0 {
		return false
	}
	p.facts.Mark, p.facts.Marked = upTo, true
	return true
}

// Mark is where the stream stands, where it stands anywhere.
func (p *Pull) Mark() (upTo int64, marked bool) { return p.facts.Mark, p.facts.Marked }
