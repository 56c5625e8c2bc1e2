package when

import (
	"strconv"
	"strings"
	"unicode"
)

// units of a duration, in microseconds, the largest first.
var units = [...]struct {
	name string
	size int64
}{{"d", 86_400_000_000}, {"h", 3_600_000_000}, {"m", 60_000_000}, {"s", 1_000_000}, {"ms", 1_000}, {"us", 1}}

// parseDuration reads what a text of a condition means where it is one: parts such as "1h -30m", summed. Within a part digits and letters are
// collected apart, as the store does it, so that "s3" is three seconds: who means the text is warned by traps.
func parseDuration(s string) (us int64, ok bool) {
	parts := strings.FieldsFunc(s, isSpace)
	for _, part := range parts {
		number := strings.Map(func(c rune) rune { return keepIf(c, isNumeric(c)) }, part)
		unit := strings.Map(func(c rune) rune { return keepIf(c, !isNumeric(c)) }, part)
		n, err := strconv.ParseInt(number, 10, 64)
		size := unitSize(unit)
		if err != nil || size == 0 {
			return 0, false
		}
		us += n * size // wraps as the store's does
	}
	return us, len(parts) > 0
}

func isNumeric(c rune) bool { return c >= '0' && c <= '9' || c == '.' || c == '-' }

// isSpace is Unicode's white space, as in Rust.
func isSpace(c rune) bool { return unicode.Is(unicode.White_Space, c) }

func keepIf(c rune, keep bool) rune {
	if keep {
		return c
	}
	return -1
}

func unitSize(name string) int64 {
	for _, u := range units {
		if u.name == name {
			return u.size
		}
	}
	return 0
}

// appendDuration writes 90 minutes as "1h 30m".
func appendDuration(dst []byte, us int64) []byte {
	before := len(dst)
	for _, u := range units {
		if n := us / u.size; n != 0 {
			if len(dst) > before {
				dst = append(dst, ' ')
			}
			dst = append(strconv.AppendInt(dst, n, 10), u.name...)
			us -= n * u.size
		}
	}
	if len(dst) == before {
		return append(dst, "0us"...)
	}
	return dst
}
