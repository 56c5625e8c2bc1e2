package recorder

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// Read gives each every delivery of a record in the order of arrival. A line that has no end yet is left out: a recorder may be about to
// write it. sessions is how often the broker began with nothing, the first time included: what it had for the subscriber before is not in
// the record.
func Read(r io.Reader, each func(*Delivery) error) (sessions int, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if err == io.EOF {
			return sessions, nil
		}
		if err != nil {
			return sessions, fmt.Errorf("line %d: %w", n, err)
		}
		fields, ok := unseal(bytes.TrimSuffix(line, []byte{'\n'}))
		if !ok {
			return sessions, fmt.Errorf("line %d is damaged, or not of a record: %.80q", n, line)
		}
		switch kind := string(fields[0]); {
		case n == 1 && kind != magic:
			return sessions, fmt.Errorf("is not a record: its first line is %.80q", line)
		case kind == lineNew:
			sessions++
		case kind == lineMessage:
			d, err := readMessage(fields)
			if err == nil {
				err = each(&d)
			}
			if err != nil {
				return sessions, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
}
