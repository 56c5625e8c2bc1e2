package site

// transaction is one line of a replication log: that a record was written, or its labels updated.
type transaction struct {
	time   int64
	update bool
}

// ring is one entry's replication log. The real one is a file of capacity slots in which "full" and "empty" are told apart by leaving one
// slot free: it holds capacity-1 transactions, and one more drops the oldest.
//
//	first        first+len(lines)
//	  │ oldest … newest │          numbers of transactions since the log was made
type ring struct {
	capacity int
	first    uint64
	lines    []transaction
}

// push adds a line and returns the one that had to go for it.
func (r *ring) push(t transaction) (dropped transaction, full bool) {
	r.lines = append(r.lines, t)
	if len(r.lines) < r.capacity {
		return transaction{}, false
	}
	dropped = r.lines[0]
	r.pop(1)
	return dropped, true
}

// front returns the oldest lines, at most n, and the number of the first. They are a copy.
func (r *ring) front(n int) ([]transaction, uint64) {
	return append([]transaction(nil), r.lines[:min(n, len(r.lines))]...), r.first
}

// pop removes n lines from the front, whatever they are by now. A log that overran while a batch was in flight therefore loses lines
// that were never sent; the real one does the same.
func (r *ring) pop(n int) []transaction {
	n = min(n, len(r.lines))
	popped := r.lines[:n:n]
	r.lines = r.lines[n:]
	r.first += uint64(n)
	return popped
}
