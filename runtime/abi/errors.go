package abi

// FormatError says what is wrong with bytes that crossed the border, and where.
type FormatError struct {
	What string // such as "output header" or "label name"
	At   int    // byte offset in what was being read
	Why  string // such as "needs 8 bytes, 3 are left"
}

func (e *FormatError) Error() string {
	return e.What + " at byte " + itoa(uint64(max(e.At, 0))) + ": " + e.Why
}

func short(what string, at, need, have int) error {
	return &FormatError{what, at, "needs " + itoa(uint64(need)) + " bytes, " + itoa(uint64(max(have, 0))) + " are left"}
}
