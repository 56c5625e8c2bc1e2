package sluice

// Name is the name of a label to be found among pairs of slots (labels = ["*"]). It is looked for first where the last record had it.
type Name struct {
	text []byte
	slot int
}

// NewName makes a Name.
func NewName(text string) Name { return Name{text: []byte(text)} }

// In is the value of the label, nil where the record has none of that name.
func (n *Name) In(r Record) []byte {
	slots := r.Slots()
	if n.slot+1 < slots {
		if from, to := r.Range(n.slot); Equal(r[from:to], n.text) {
			return r.Slot(n.slot + 1)
		}
	}
	for i := 0; i+1 < slots; i += 2 {
		if from, to := r.Range(i); to-from == len(n.text) && Equal(r[from:to], n.text) {
			n.slot = i
			return r.Slot(i + 1)
		}
	}
	return nil
}
