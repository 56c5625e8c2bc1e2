package when

import "math"

// Arithmetic of whole numbers wraps, as in the store's release build; whatever meets a float becomes one; durations and booleans become
// whole numbers. ok is false where the store has an error, or would end by a panic.

func add(e *env, a, b value) (value, bool) {
	switch {
	case a.kind == text && b.kind == text:
		return e.join(*a.s, *b.s)
	case a.kind == text || b.kind == text:
		return value{}, false
	case a.kind == float || b.kind == float:
		x, y := floats(a, b)
		return ofFloat(x + y), true
	}
	return ofInt(a.n + b.n), true
}

func sub(_ *env, a, b value) (value, bool) {
	switch {
	case a.kind == text || b.kind == text:
		return value{}, false
	case a.kind == float || b.kind == float:
		x, y := floats(a, b)
		return ofFloat(x - y), true
	}
	return ofInt(a.n - b.n), true
}

func mult(_ *env, a, b value) (value, bool) {
	switch {
	case a.kind == text || b.kind == text:
		return value{}, false
	case a.kind == float || b.kind == float:
		x, y := floats(a, b)
		return ofFloat(x * y), true
	}
	return ofInt(a.n * b.n), true
}

func div(_ *env, a, b value) (value, bool) {
	if a.kind == text || b.kind == text {
		return value{}, false
	}
	x, y := floats(a, b)
	return ofFloat(x / y), y != 0
}

// divNum cuts both to whole numbers first: a divisor of 0.5 is 0.
func divNum(_ *env, a, b value) (value, bool) {
	if a.kind == text || b.kind == text {
		return value{}, false
	}
	x, _ := a.asInt()
	y, _ := b.asInt()
	if y == 0 || x == math.MinInt64 && y == -1 {
		return value{}, false
	}
	return ofInt(x / y), true
}

func rem(_ *env, a, b value) (value, bool) {
	switch {
	case a.kind == text || b.kind == text:
		return value{}, false
	case a.kind == float || b.kind == float:
		x, y := floats(a, b)
		return ofFloat(math.Mod(x, y)), true
	case b.n == 0 || a.n == math.MinInt64 && b.n == -1:
		return value{}, false
	}
	return ofInt(a.n % b.n), true
}

func abs(v value) (value, bool) {
	switch v.kind {
	case text:
		return value{}, false
	case float:
		return ofFloat(math.Abs(v.float())), true
	}
	if v.n < 0 {
		return ofInt(-v.n), true
	}
	return ofInt(v.n), true
}

func floats(a, b value) (x, y float64) {
	x, _ = a.asFloat()
	y, _ = b.asFloat()
	return x, y
}
