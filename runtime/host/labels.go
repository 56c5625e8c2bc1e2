package host

import (
	"bytes"
	"slices"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/runtime/abi"
)

// Records of one stream mostly have the same labels in the same order, and a module mostly does the same to them. So where the names of a
// record are those of another of its batch, what was found out about that one is used again. Only names decide, and all of them are compared:
// the outcome is never another than without this.

// maxPlan is the most bytes of an output's ops that are kept to be compared with the next.
const maxPlan = 1 << 10

// layout is where in a record's labels the slots of a module are.
type layout struct {
	like   []bridge.Label // the record it was made for; only their names count
	places []int          // of each slot, -1 = absent
	known  bool
}

// plan is what an output of label ops alone made of a record's labels.
type plan struct {
	like  []bridge.Label // the record's
	ops   []byte         // the output's, a copy
	count int            // of ops
	made  []bridge.Label // in the batch's results
	from  []int          // of each of made: the record's label its value is from, -1 = an op's
	known bool
}

// alike tells whether two records have labels of the same names in the same order.
func alike(a, b []bridge.Label) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	for i := range a {
		if string(a[i].Name) != string(b[i].Name) {
			return false
		}
	}
	return true
}

// slots puts the labels that the guest asked for into its record.
func (s *stage) slots(ls []bridge.Label) {
	to := s.in.fields.Slots[:0]
	s.like = ls
	switch {
	case s.allLabels:
		for i := range ls {
			to = append(to, there(ls[i].Name), there(ls[i].Value))
		}
	case len(s.maskNames) == 1: // to look for one is less than to compare all
		if at := find(ls, s.maskNames[0]); at >= 0 {
			to = append(to, there(ls[at].Value))
		} else {
			to = append(to, nil)
		}
	case len(s.maskNames) > 1:
		s.locate(ls)
		for _, at := range s.layout.places {
			if at < 0 {
				to = append(to, nil)
			} else {
				to = append(to, there(ls[at].Value))
			}
		}
	}
	s.in.fields.Slots = to
}

// locate makes s.layout that of ls.
func (s *stage) locate(ls []bridge.Label) {
	l := &s.layout
	if l.known && alike(l.like, ls) {
		s.like = l.like
		return
	}
	l.known, l.like, l.places = true, ls, l.places[:0]
	for _, name := range s.maskNames {
		l.places = append(l.places, find(ls, name))
	}
}

// there is b, not nil: a label with an empty value is not an absent one.
func there(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// planned applies an output to m as the one before was, if it is the same and so are the names of the labels.
func (s *stage) planned(m *bridge.Message, o *abi.Output) bool {
	p := &s.plan
	if !p.known || p.count != o.Ops || !bytes.Equal(p.ops, o.Body) || !alike(p.like, s.like) {
		return false
	}
	made := s.out.CopyLabels(p.made)
	for i, from := range p.from {
		if from >= 0 {
			made[i].Value = m.Labels[from].Value
		}
	}
	m.Labels = made
	return true
}

// remember makes a plan of what ops, as many as count says and of labels alone, made of a record's labels; s.from belongs to made.
func (s *stage) remember(ops []byte, count int, made []bridge.Label) {
	p := &s.plan
	p.known, p.like, p.count, p.made = true, s.like, count, made
	p.ops = append(p.ops[:0], ops...)
	p.from = append(p.from[:0], s.from...)
}

// own makes s.labels a copy of the record's, to be changed.
func (s *stage) own(ls []bridge.Label) {
	s.labels, s.from = append(s.labels[:0], ls...), s.from[:0]
	for i := range ls {
		s.from = append(s.from, i)
	}
}

// change applies an op to s.labels. A label that goes leaves a hole, a label without a name: moving the others for each would cost more
// than all else.
func (s *stage) change(op *abi.Op) {
	at := find(s.labels, op.Key)
	switch {
	case op.Code == abi.ClearLabels:
		s.labels, s.from = s.labels[:0], s.from[:0]
	case op.Code == abi.SetLabel && at < 0:
		s.labels = append(s.labels, bridge.Label{Name: s.out.Copy(op.Key), Value: s.out.Copy(op.Value)})
		s.from = append(s.from, -1)
	case at < 0:
	case op.Code == abi.SetLabel:
		s.labels[at].Value, s.from[at] = s.out.Copy(op.Value), -1
	case op.Code == abi.DeleteLabel:
		s.labels[at] = bridge.Label{}
	case op.Code == abi.RenameLabel:
		if other := find(s.labels, op.Value); other >= 0 && other != at {
			s.labels[other] = bridge.Label{}
		}
		s.labels[at].Name = s.out.Copy(op.Value)
	}
}

// find returns the index of the first label of a name, -1 if there is none.
func find(ls []bridge.Label, name []byte) int {
	if len(name) == 0 {
		return -1
	}
	for i := range ls {
		if string(ls[i].Name) == string(name) {
			return i
		}
	}
	return -1
}

// compact closes the holes of s.labels.
func (s *stage) compact() {
	n := slices.IndexFunc(s.labels, func(l bridge.Label) bool { return len(l.Name) == 0 })
	if n < 0 {
		return
	}
	for i := n; i < len(s.labels); i++ {
		if len(s.labels[i].Name) > 0 {
			s.labels[n], s.from[n] = s.labels[i], s.from[i]
			n++
		}
	}
	s.labels, s.from = s.labels[:n], s.from[:n]
}

// forget keeps the memory of layout and plan, but nothing that they know.
func (r *run) forget() {
	r.layout = layout{places: r.layout.places[:0]}
	r.plan = plan{ops: r.plan.ops[:0], from: r.plan.from[:0]}
}
