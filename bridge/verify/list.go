package verify

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
)

// maxListLine is the longest line of a list, all its columns.
const maxListLine = 16 << 20

// List returns what reads identities for NewArrivals: the first column of each line, as a database exports it. A first line that is none is
// a header.
func List(in io.Reader) func(context.Context, *Arrivals) error {
	return func(ctx context.Context, a *Arrivals) error {
		lines := bufio.NewScanner(in)
		lines.Buffer(make([]byte, 64<<10), maxListLine)
		for n := 1; lines.Scan(); n++ {
			if n%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			id := firstColumn(lines.Bytes())
			if len(id) == 0 || n == 1 && isHeader(id) {
				continue
			}
			if err := a.Add(id, false, false); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
		return lines.Err()
	}
}

func firstColumn(line []byte) []byte {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
	if quoted, ok := bytes.CutPrefix(line, []byte{'"'}); ok {
		id, _, _ := bytes.Cut(quoted, []byte{'"'}) // an identity has no quotes in it, or it is none of ours
		return id
	}
	if end := bytes.IndexAny(line, ",;\t "); end >= 0 {
		return line[:end]
	}
	return line
}

// isHeader reports whether a first line names its columns: identities have an @ in them.
func isHeader(id []byte) bool { return bytes.IndexByte(id, '@') < 0 }
