package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// writer writes conditions: every operator, both notations, constants of each type, directives; one in eight is wrong somewhere.
type writer struct{ *rand.Rand }

func (w writer) pick(of ...string) string { return of[w.IntN(len(of))] }

func (w writer) condition() string {
	if w.IntN(40) == 0 {
		return w.pick("true", "false", "0", "1.5", `""`, `"x"`, `"&b"`, `"$timestamp"`, "{}", "[]", `"0s"`, `"$$x"`, `"$nope"`)
	}
	var members []string
	for range 1 + w.IntN(3) {
		members = append(members, w.member(3))
	}
	if w.IntN(4) == 0 {
		members = append(members, w.stateful(2))
	}
	if w.IntN(3) == 0 {
		members = append(members, w.directive())
	}
	if w.IntN(12) == 0 {
		members = append(members, w.directive())
	}
	w.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	if w.IntN(8) == 0 {
		members = append(members, w.wrong())
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (w writer) member(depth int) string {
	switch w.IntN(10) {
	case 0, 1, 2, 3:
		return w.comparison(depth)
	case 4:
		return w.pick(`"$has":"often"`, `"$exists":["seldom","n"]`, `"$has":["often","seldom"]`, `"$has":"n"`, `"$exists":["&which"]`, `"$has":[{"$add":["of","ten"]}]`)
	case 5:
		if depth > 1 {
			return w.stateful(depth - 1)
		}
	}
	return w.call(depth)
}

// comparison is {"left": {"$op": right}}, half of them such as people write.
func (w writer) comparison(depth int) string {
	if w.IntN(2) == 0 {
		return w.pick(`"&n":{"$gt":3}`, `"&n":{"$lte":7}`, `"&b":{"$eq":true}`, `"&b":{"$ne":true}`, `"&s":{"$eq":"run"}`, `"&s":{"$ne":"idle"}`, `"&f":{"$lt":2}`, `"&f":{"$gte":0.5}`,
			`"&neg":{"$lt":0}`, `"&s":{"$contains":"ab"}`, `"&odd":{"$gt":1}`, `"&often":{"$lt":5}`, `"&which":{"$ne":"n"}`, `"&zone":{"$starts_with":"A"}`, `"&gate":{"$eq":1}`)
	}
	left := w.label()
	if w.IntN(12) == 0 {
		left = w.pick(`"5s"`, `"$timestamp"`, `"abc"`, `"7"`, `"$$n"`)
	}
	op := w.pick("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$starts_with", "$ends_with", "$add", "$sub", "$and", "$or", "$xor")
	right := w.scalar()
	if depth > 0 && w.IntN(5) == 0 {
		right = "{" + w.call(depth-1) + "}"
	}
	return fmt.Sprintf("%s:{%q:%s}", left, op, right)
}

// call is "$op": [...].
func (w writer) call(depth int) string {
	list := func(op string, n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = w.operand(depth)
		}
		return fmt.Sprintf("%q:[%s]", op, strings.Join(all, ","))
	}
	switch w.IntN(9) {
	case 0:
		return list(w.pick("$and", "$all_of", "$or", "$any_of", "$not", "$none_of", "$xor", "$one_of"), w.IntN(4))
	case 1:
		return list(w.pick("$in", "$nin"), 2+w.IntN(3))
	case 2, 3:
		return list(w.pick("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains", "$starts_with", "$ends_with"), 2)
	case 4:
		return fmt.Sprintf(`"$eq":[{"$cast":[%s,%s]},%s]`, w.operand(depth), w.pick(`"bool"`, `"int"`, `"float"`, `"string"`, `"duration"`, `"none"`), w.scalar())
	case 5:
		return fmt.Sprintf(`%q:[%s,%s]`, w.pick("$gt", "$lt", "$eq"), w.number(depth), w.pick("0", "1", "3.5", "-2", `"2us"`))
	case 6:
		return fmt.Sprintf(`"$lt":[{%q:["$timestamp"%s]},%s]`, w.pick("$second", "$minute", "$hour", "$day", "$month", "$year", "$weekday"),
			w.pick("", "", `,"Europe/Berlin"`, `,"America/New_York"`, `,"&zone"`, `,"Nowhere"`, `,"5m"`), w.pick("2", "10", "15", "25", "40", "2024"))
	case 7:
		return fmt.Sprintf(`"$eq":[{"$ref":%s},%s]`, w.pick(`"&which"`, `"n"`, `"often"`, `"nowhere"`), w.scalar())
	}
	return list(w.pick("$and", "$or", "$not"), 1+w.IntN(2))
}

// number is arithmetic.
func (w writer) number(depth int) string {
	a, b := w.operand(0), w.operand(0)
	if depth > 1 && w.IntN(3) == 0 {
		a = w.number(depth - 1)
	}
	switch w.IntN(7) {
	case 0, 1:
		return fmt.Sprintf(`{%q:[%s,%s]}`, w.pick("$add", "$mult"), a, b)
	case 2:
		return fmt.Sprintf(`{"$sub":[%s,%s]}`, a, b)
	case 3:
		return fmt.Sprintf(`{%q:[%s,%s]}`, w.pick("$div", "$div_num"), a, w.pick("2", "0.5", "-3", `"&neg"`, "0", `"1s"`, `"&s"`, "true"))
	case 4: // a whole divisor of 0 makes the store panic
		return fmt.Sprintf(`{"$rem":[%s,%s]}`, a, w.pick("2", "-3", "2.5", `"2us"`, "0.0", "true", `"x"`))
	case 5:
		return fmt.Sprintf(`{"$abs":%s}`, w.pick(`"&neg"`, `"&f"`, `"&b"`, `"&s"`, `"-5s"`))
	}
	return fmt.Sprintf(`{%q:[%s]}`, w.pick("$add", "$mult"), strings.Join([]string{a, b, w.scalar()}[:w.IntN(4)], ","))
}

func (w writer) stateful(depth int) string {
	switch w.IntN(5) {
	case 0:
		return `"$each_n":` + w.pick("1", "2", "3", "7", `"&often"`, "2.9", "[3]", "0", "true", "-2")
	case 1:
		return `"$each_t":` + w.pick(`"10s"`, "20", "3.7", "0", `"1m -30s"`, `"&n"`, `["7s"]`, "-1", `"3700ms"`)
	case 2:
		return `"$limit":` + w.pick("1", "10", "57", "500", `["20"]`, "0", `"&n"`)
	case 3:
		return fmt.Sprintf(`"$gate":[%s,%s]`, w.pick(`"12s"`, "8", `"1m"`, "0", "-4", `"&n"`), w.pick(`"&gate"`, `"&b"`, "{"+w.comparison(0)+"}"))
	}
	return fmt.Sprintf(`"$or":[{%s},{%s}]`, w.comparison(0), w.stateful(max(depth-1, 0)))
}

func (w writer) operand(depth int) string {
	if depth <= 0 || w.IntN(3) == 0 {
		if w.IntN(2) == 0 {
			return w.label()
		}
		return w.scalar()
	}
	if w.IntN(6) == 0 {
		return w.number(depth - 1)
	}
	return "{" + w.member(depth-1) + "}"
}

// label mostly names one that every record has.
func (w writer) label() string {
	return strconv.Quote("&" + w.pick("n", "n", "neg", "f", "f", "b", "b", "s", "s", "odd", "big", "which", "zone", w.pick("often", "seldom", "nowhere")))
}

func (w writer) scalar() string {
	switch w.IntN(7) {
	case 0, 1:
		return w.pick("0", "1", "2", "5", "-3", "7", "9223372036854775807")
	case 2:
		return w.pick("0.5", "1.5", "-3.75", "10.0", "1e300", "2.25", "-0.0")
	case 3:
		return w.pick("true", "false")
	case 4:
		return w.pick(`"5s"`, `"s3"`, `"1h -30m"`, `"2us"`, `"-1d"`, `"0ms"`, `"5m"`)
	case 5:
		return w.label()
	}
	return w.pick(`"abc"`, `"run"`, `"5"`, `"true"`, `""`, `"b"`, `"1.5s"`, `"$$s"`, `"5 m"`, `"idle"`, `"$timestamp"`)
}

func (w writer) directive() string {
	return w.pick(`"#ctx_before":2`, `"#ctx_before":"9s"`, `"#ctx_before":40`, `"#ctx_before":"1h"`, `"#ctx_after":1`, `"#ctx_after":"8s"`, `"#ctx_after":["3"]`, `"#ctx_after":0`,
		`"#select_labels":["n","often"]`, `"#select_labels":"b"`, `"#select_labels":["nowhere"]`, `"#batch_size":"1MB"`, `"#batch_records":7`, `"#ctx_before":2.9`, `"#ctx_before":true`)
}

// wrong is a member that the store refuses, or takes for something else.
func (w writer) wrong() string {
	return w.pick(`"$nope":[1]`, `"&n":1`, `"$eq":[1]`, `"$in":["&n"]`, `"&n":{"$eq":1,"$gt":0}`, `"&n":{"$in":["x"]}`, `"$not":{"$eq":["&n",1]}`, `"$not":{"$eq":true}`,
		`"$eq":[null,1]`, `"$and":[[1]]`, `"#nope":1`, `"#ctx_before":-1`, `"#ctx_before":null`, `"#ctx_after":"x"`, `"#select_labels":[]`, `"#select_labels":["s3"]`, `"#select_labels":{"a":1}`,
		`"#batch_size":"8q"`, `"#batch_size":"8 mib"`, `"#batch_size":"8m"`, `"#batch_size":1.5`, `"#batch_timeout":1.5`, `"#io_timeout":"5s"`, `"#record_timeout":-1`, `"#batch_records":"5"`,
		`"#ctx_before":[1,2]`, `"#ctx_after":{}`, `"#batch_metadata_size":".5 KiB"`, `"$hour":["$timestamp","UTC",1]`, `"$timestamp":[1]`, `"$timestamp":[]`, `"$abs":[]`, `"$gate":["1s"]`,
		`"n":[1]`, `"":{"$eq":""}`, `"&":{"$eq":1}`, `"$and":null`, `"$eq":["$eq",1]`, `"$eq":["$$eq",1]`, `"$cast":["&n"]`, `"x":{}`, `"5s":{"$gt":1}`, `"$xor":[{}, {}]`, `"$has":[]`, `"$limit":[1,2]`)
}
