package hold

import "testing"

func TestPull(t *testing.T) {
	marked := Facts{Mark: 100, Marked: true, Now: 1000}
	has := func(oldest, latest int64) Extent { return Extent{Oldest: oldest, Latest: latest, Some: true} }
	back := Back{By: 20, Some: true}
	for _, tt := range []struct {
		name                     string
		f                        Facts
		has                      Extent
		back                     Back
		lost, again, next, early Range
	}{
		{"the first reads all", Facts{Now: 1000}, has(10, 200), back, none, none, Range{0, 200}, Range{1001, 200}},
		{"since", Facts{Now: 1000, Since: 50}, has(10, 200), Back{}, none, none, Range{50, 200}, none},
		{"on from the mark", marked, has(10, 200), Back{}, none, none, Range{100, 200}, none},
		{"nothing new", marked, has(10, 100), Back{}, none, none, none, none},
		{"back", marked, has(10, 200), back, none, Range{81, 100}, Range{100, 200}, Range{1001, 200}},
		{"back by nothing", marked, has(10, 200), Back{Some: true}, none, Range{101, 100}, Range{100, 200}, Range{1001, 200}},
		{"overtaken", marked, has(121, 200), Back{}, Range{101, 120}, none, Range{120, 200}, none},
		{"from the future", marked, has(10, 5000), back, none, Range{81, 100}, Range{100, 1000}, Range{1001, 5000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.f.Pull(tt.has, tt.back)
			if p.Overtaken != tt.lost || p.Again != tt.again || p.Next != tt.next || p.Early != tt.early {
				t.Errorf("got overtaken %v, again %v, next %v, early %v; want %v, %v, %v, %v",
					p.Overtaken, p.Again, p.Next, p.Early, tt.lost, tt.again, tt.next, tt.early)
			}
		})
	}
}

// TestPullMark: one answer that begins at the mark vouches for itself; the mark never goes back, nor beyond now.
func TestPullMark(t *testing.T) {
	for _, tt := range []struct {
		name    string
		f       Facts
		found   Found
		answers int
		sure    bool
	}{
		{"no mark", Facts{}, Found{}, 3, true},
		{"begins at the mark", Facts{Mark: 5, Marked: true}, Found{Records: 9, First: 5}, 1, true},
		{"two answers", Facts{Mark: 5, Marked: true}, Found{Records: 9, First: 5}, 2, false},
		{"begins behind it", Facts{Mark: 5, Marked: true}, Found{Records: 9, First: 6}, 1, false},
		{"nothing", Facts{Mark: 5, Marked: true}, Found{}, 1, false},
	} {
		if p := tt.f.Pull(Extent{Latest: 9}, Back{}); p.Sure(tt.found, tt.answers) != tt.sure {
			t.Errorf("%s: sure %v, want %v", tt.name, !tt.sure, tt.sure)
		}
	}
	p := Facts{Now: 50}.Pull(Extent{Latest: 90}, Back{})
	for _, step := range []struct {
		upTo, want int64
		moved      bool
	}{{0, 0, false}, {10, 10, true}, {10, 10, false}, {7, 10, false}, {90, 50, true}} {
		moved := p.Reach(step.upTo)
		if mark, _ := p.Mark(); mark != step.want || moved != step.moved {
			t.Errorf("reach %d: mark %d, moved %v; want %d, %v", step.upTo, mark, moved, step.want, step.moved)
		}
	}
	if lost := p.PassedBy(61, 55, 60); lost != (Range{51, 55}) {
		t.Errorf("passed by: %v, want what was read at most, 51 to 55", lost)
	}
}
