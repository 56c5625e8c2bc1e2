package config

import (
	"fmt"
	"reflect"
	"strings"
)

// didYouMean names the key nearest to an unknown one, or says that none is near.
func didYouMean(name string, fields []field, a at) string {
	best, nearest := 1+max(2, len(name)/2), ""
	consider := func(candidate string) {
		if n := distance(name, candidate); n < best {
			best, nearest = n, candidate
		}
	}
	for _, f := range fields {
		consider(f.name)
		if f.typ.Kind() == reflect.String && IsSecret(f.name) {
			consider(f.name + "_file")
		}
	}
	if nearest != "" {
		return fmt.Sprintf(", did you mean %s?", nearest)
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	where := "here"
	if len(a) > 0 {
		where = "in " + a.String()
	}
	return fmt.Sprintf("; %s there may be %s", where, strings.Join(names, ", "))
}

// distance is the number of letters to add, drop, change or swap with their neighbour to make b of a; upper and lower case are alike.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, prev, row = prev, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(prev[j+1]+1, row[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
