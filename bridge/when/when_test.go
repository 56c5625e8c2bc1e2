package when

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

// record makes one from "name=value" pairs.
func record(t int64, labels ...string) bridge.Record {
	r := bridge.Record{Time: t}
	for _, l := range labels {
		name, value, _ := strings.Cut(l, "=")
		r.Labels = append(r.Labels, bridge.Label{Name: []byte(name), Value: []byte(value)})
	}
	return r
}

func compiled(t testing.TB, text string) *Condition {
	t.Helper()
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return c
}

// answer is what a condition says about records, one after the other.
func answers(t testing.TB, text string, rs ...bridge.Record) string {
	f := newFilter(compiled(t, text), Drop)
	var out []string
	for i := range rs {
		f.env.begin(&rs[i])
		met, ok := f.met(&f.env)
		switch {
		case !ok:
			out = append(out, f.env.reason.String())
		default:
			out = append(out, fmt.Sprint(met))
		}
	}
	return strings.Join(out, " ")
}

// TestOperators has each operator with what is easily got wrong about it. Labels are typed on each use, constants never.
func TestOperators(t *testing.T) {
	r := record(1_700_000_000_000_000, "n=5", "f=1.50", "neg=-7", "b=true", "no=false", "s=abc", "e=", "one=1.0", "zero=0", "dur=5m", "seven=007",
		"inf=inf", "nan=NaN", "big=9223372036854775807", "over=9223372036854775808", "which=n", "zone=Europe/Berlin", "plus=+3", "exp=1e3")
	tests := []struct{ when, want string }{
		{`{}`, "true"},
		{`true`, "true"}, {`0`, "false"}, {`"x"`, "true"}, {`""`, "false"}, {`"0s"`, "false"},

		{`{"$eq":["&n",5]}`, "true"}, {`{"&n":{"$eq":"5"}}`, "false"}, {`{"&n":{"$eq":5.0}}`, "true"}, {`{"&b":{"$eq":1}}`, "true"},
		{`{"&b":{"$eq":"true"}}`, "false"}, {`{"&s":{"$eq":"abc"}}`, "true"}, {`{"&seven":{"$eq":7}}`, "true"}, {`{"&plus":{"$eq":3}}`, "true"},
		{`{"&exp":{"$eq":1000}}`, "true"}, {`{"&nan":{"$eq":"&nan"}}`, "false"}, {`{"&nan":{"$ne":"&nan"}}`, "true"}, {`{"&over":{"$gt":"&big"}}`, "false"},
		{`{"&over":{"$gt":9223372036854770000}}`, "true"},
		{`{"&dur":{"$eq":"5m"}}`, "false"}, {`{"$eq":["5m",300000000]}`, "true"}, {`{"$eq":["s3","3s"]}`, "true"}, {`{"$eq":["1h -30m","30m"]}`, "true"},
		{`{"&s":{"$ne":5}}`, "true"}, {`{"&s":{"$gt":5}}`, "false"}, {`{"&s":{"$lte":5}}`, "false"}, {`{"&s":{"$lt":"abd"}}`, "true"},
		{`{"&n":{"$gt":4.9}}`, "true"}, {`{"&n":{"$gte":5}}`, "true"}, {`{"&n":{"$lt":5}}`, "false"}, {`{"&n":{"$lte":5}}`, "true"},
		{`{"&inf":{"$gt":1e300}}`, "true"}, {`{"&missing":{"$eq":1}}`, "label missing"}, {`{"@x":{"$eq":1}}`, "label missing"},
		{`{"$eq":["$$x","&s"]}`, "false"}, {`{"$eq":["$timestamp",1700000000000000]}`, "true"}, {`{"$id":{"$gt":0}}`, "true"},

		{`{"$and":[]}`, "true"}, {`{"$and":["&n","&b"]}`, "true"}, {`{"$all_of":["&e","&missing"]}`, "false"}, {`{"$all_of":["&n","&missing"]}`, "label missing"},
		{`{"$or":[]}`, "false"}, {`{"$or":["&b","&missing"]}`, "true"}, {`{"$any_of":["&missing","&b"]}`, "label missing"},
		{`{"$not":[]}`, "true"}, {`{"$not":["&zero"]}`, "true"}, {`{"$none_of":["&no","&e"]}`, "true"}, {`{"$not":{"$eq":1}}`, "true"},
		{`{"$xor":["&b","&n"]}`, "false"}, {`{"$one_of":["&b","&no"]}`, "true"}, {`{"$xor":["&b","&missing"]}`, "label missing"},
		{`{"$in":["&s","x","abc","&missing"]}`, "true"}, {`{"$nin":["&s","x","y"]}`, "true"}, {`{"$nin":["&n",5]}`, "false"},

		{`{"$eq":[{"$add":["&n",2,"&b"]},8]}`, "true"}, {`{"$eq":[{"$add":["&s","d"]},"abcd"]}`, "true"}, {`{"$add":["&s",1]}`, "not a number"},
		{`{"$eq":[{"$add":[]},0]}`, "true"}, {`{"$eq":[{"$add":["&s"]},"abc"]}`, "true"}, {`{"$eq":[{"$mult":["&n","&f"]},7.5]}`, "true"}, {`{"$mult":["&s","&s"]}`, "not a number"},
		{`{"$eq":[{"$sub":["&n",7]},-2]}`, "true"}, {`{"$eq":[{"$div":["&n",2]},2.5]}`, "true"}, {`{"$div":["&n",0]}`, "no result"}, {`{"$div":["&s",1]}`, "not a number"},
		{`{"$eq":[{"$div_num":["&neg",2]},-3]}`, "true"}, {`{"$div_num":["&n",0.5]}`, "no result"}, {`{"$eq":[{"$rem":["&neg",4]},-3]}`, "true"},
		{`{"$rem":["&n",0]}`, "no result"}, {`{"$ne":[{"$rem":["&n",0.0]},0]}`, "true"}, {`{"$rem":["&n","&no"]}`, "no result"},
		{`{"$eq":[{"$abs":"&neg"},7]}`, "true"}, {`{"$abs":"&s"}`, "not a number"}, {`{"$eq":[{"$abs":"-5s"},5000000]}`, "true"},
		{`{"$eq":[{"$add":["&big",1]},-9223372036854775808]}`, "true"}, {`{"$eq":[{"$cast":[{"$add":["1s","1s"]},"string"]},"2000000"]}`, "true"},

		{`{"$contains":["&s","b"]}`, "true"}, {`{"$contains":["&one",".0"]}`, "false"}, {`{"$starts_with":["&seven","7"]}`, "true"}, {`{"$ends_with":["&f",".5"]}`, "true"},
		{`{"$contains":["90m","1h 30m"]}`, "true"}, {`{"$starts_with":["&inf","inf"]}`, "true"}, {`{"$ends_with":["&exp","00"]}`, "true"}, {`{"$contains":["&b","ru"]}`, "true"},

		{`{"$has":"n"}`, "true"}, {`{"$exists":["n","missing"]}`, "false"}, {`{"$has":["&which"]}`, "true"}, {`{"$has":["@x"]}`, "label missing"},
		{`{"$eq":[{"$ref":"&which"},5]}`, "true"}, {`{"$ref":"missing"}`, "label missing"},
		{`{"$eq":[{"$cast":["&f","int"]},1]}`, "true"}, {`{"$eq":[{"$cast":["&n","string"]},{"$cast":[5,"string"]}]}`, "true"}, {`{"$cast":["&s","int"]}`, "not a number"},
		{`{"$cast":["&s","bool"]}`, "true"}, {`{"$cast":["&n","none"]}`, "no result"}, {`{"$eq":[{"$cast":["&n","duration"]},"5us"]}`, "true"},
		{`{"$eq":[{"$cast":["&nan","int"]},0]}`, "true"}, {`{"$eq":[{"$cast":["&inf","int"]},"&big"]}`, "true"},

		{`{"$eq":[{"$second":"$timestamp"},20]}`, "true"}, {`{"$eq":[{"$minute":"$timestamp"},13]}`, "true"}, {`{"$eq":[{"$hour":"$timestamp"},22]}`, "true"},
		{`{"$eq":[{"$hour":["$timestamp","Europe/Berlin"]},23]}`, "true"}, {`{"$eq":[{"$hour":["$timestamp","&zone"]},23]}`, "true"}, {`{"$eq":[{"$day":"$timestamp"},14]}`, "true"},
		{`{"$eq":[{"$month":"$timestamp"},11]}`, "true"}, {`{"$eq":[{"$year":"$timestamp"},2023]}`, "true"}, {`{"$eq":[{"$weekday":"$timestamp"},1]}`, "true"},
		{`{"$hour":["$timestamp","Local"]}`, "no result"}, {`{"$hour":["$timestamp","&s"]}`, "no result"}, {`{"$hour":["$timestamp","5m"]}`, "not a number"}, {`{"$year":"&big"}`, "no result"},
	}
	for _, tt := range tests {
		if got := answers(t, tt.when, r); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.when, got, tt.want)
		}
	}
}

// TestStateful has those whose answer depends on the records before.
func TestStateful(t *testing.T) {
	s := func(seconds int64, labels ...string) bridge.Record { return record(seconds*1e6, labels...) }
	tests := []struct {
		name, when string
		records    []bridge.Record
		want       string
	}{
		{"each second", `{"$each_n":2}`, []bridge.Record{s(1), s(2), s(3), s(4)}, "false true false true"},
		{"n of 0", `{"$each_n":0}`, []bridge.Record{s(1)}, "no result"},
		{"counts where its operand fails", `{"$each_n":["&n"]}`, []bridge.Record{s(1), s(2, "n=2")}, "label missing true"},
		{"behind what is false it does not count", `{"&a":{"$eq":1},"$each_n":2}`, []bridge.Record{s(1, "a=1"), s(2, "a=0"), s(3, "a=1")}, "false false true"},
		{"before it, it does", `{"$each_n":2,"&a":{"$eq":1}}`, []bridge.Record{s(1, "a=1"), s(2, "a=0"), s(3, "a=1")}, "false false false"},
		{"alternatives behind what is true do not count", `{"$or":[{"&a":{"$eq":1}},{"$each_n":2}]}`, []bridge.Record{s(1, "a=1"), s(2, "a=0"), s(3, "a=0")}, "true false true"},
		{"the first sets the mark", `{"$each_t":"10s"}`, []bridge.Record{s(1), s(10), s(11), s(12), s(21)}, "false false true false true"},
		{"seconds", `{"$each_t":0.5}`, []bridge.Record{record(0), record(499_999), record(500_000)}, "false false true"},
		{"0 is always", `{"$each_t":0}`, []bridge.Record{s(1), s(2)}, "true true"},
		{"time goes back", `{"$each_t":"10s"}`, []bridge.Record{s(100), s(50), s(59), s(60)}, "false false false true"},
		{"limit", `{"$limit":2}`, []bridge.Record{s(1), s(2), s(3), s(4)}, "true true limit reached limit reached"},
		{"a limit behind what is false", `{"&a":{"$eq":1},"$limit":1}`, []bridge.Record{s(1, "a=0"), s(2, "a=1"), s(3, "a=0"), s(4, "a=1")}, "false true false limit reached"},
		{"gate", `{"$gate":["3s","&a"]}`, []bridge.Record{s(1, "a=0"), s(2, "a=1"), s(3, "a=0"), s(4, "a=1"), s(5, "a=1"), s(6, "a=0"), s(7, "a=1")},
			"false true false true false false true"},
		{"gate of a negative time", `{"$gate":[-1,"&a"]}`, []bridge.Record{s(1, "a=1"), s(2, "a=1")}, "false false"},
		{"gate when time goes back", `{"$gate":["3s","&a"]}`, []bridge.Record{s(9, "a=1"), s(20, "a=1"), s(2, "a=1"), s(3, "a=1")}, "true false true true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := answers(t, tt.when, tt.records...); got != tt.want {
				t.Errorf("%s: got %s, want %s", tt.when, got, tt.want)
			}
		})
	}
}

// TestRefused has what the store answers 422 to, and the words that it is refused with here: the place first.
func TestRefused(t *testing.T) {
	deep := strings.Repeat(`{"$and":[`, 60) + strings.Repeat(`]}`, 60)
	tests := []struct{ when, want string }{
		{``, "not JSON: unexpected EOF"}, {`{"a"`, "not JSON"}, {`{} {}`, "something follows"}, {`[1]`, "a list is no operand"}, {`null`, "null is no operand"},
		{`{"$nope":[1]}`, "at $nope: unknown operator $nope"}, {`{"&a":1}`, `at &a: "&a" is no operator`}, {`{"a":[1]}`, `at a: "a" is no operator`},
		{`{"&a":{"$eq":1,"$gt":0}}`, "at &a: 2 operators"}, {`{"&a":{}}`, "at &a: 0 operators"}, {`{"&a":{"$in":["x"]}}`, "at &a.$in: a list is no operand"},
		{`{"$not":{"$eq":["&a",1]}}`, "at $not.$eq: a list is no operand"}, {`{"$or":[{"&a":{"$eq":[1]}}]}`, "at $or[0].&a.$eq: a list"},
		{`{"$eq":[1]}`, "at $eq: $eq has 1 operands, want exactly 2"}, {`{"$in":["&a"]}`, "want at least 2"}, {`{"$hour":[1,"UTC",2]}`, "want 1 to 2"},
		{`{"$eq":["$nope",1]}`, `at $eq[0]: "$nope" is no operator that stands alone`}, {`{"$eq":["$eq",1]}`, "no operator that stands alone"},
		{`{"$eq":[9223372036854775808,1]}`, "too large"}, {`{"$eq":[1e999,1]}`, "too large"}, {`{"$eq":[null,1]}`, "at $eq[0]: null"},
		{`{"#ext":{"a":{}}}`, "at #ext: extensions run in the store"}, {`{"#nope":1}`, "at #nope: unknown directive"}, {`{"#ctx_before":null}`, "at #ctx_before: want"},
		{`{"#ctx_before":-1}`, "want a number of records"}, {`{"#ctx_after":"x"}`, "want a number of records"}, {`{"#ctx_after":[1,2]}`, "2 values"}, {`{"#ctx_after":{}}`, "want a number"},
		{`{"#select_labels":[]}`, "no name"}, {`{"#select_labels":["s3"]}`, "3s is no text"}, {`{"#select_labels":1}`, "1 is no text"},
		{`{"#batch_size":"8q"}`, "8q is no value"}, {`{"#batch_size":"8m"}`, "is no value"}, {`{"#io_timeout":1.5}`, "is no value"}, {`{"#batch_records":-1}`, "is no value"},
		{`{"$and":[{"#ctx_after":1}]}`, "is no operator"}, {deep, "nested deeper than 100"},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.when))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%.60s) = %v, want %q", tt.when, err, tt.want)
		}
	}
}

// TestTaken has forms that look wrong and are none.
func TestTaken(t *testing.T) {
	for _, text := range []string{
		`{"#ctx_before":"3"}`, `{"#ctx_before":true}`, `{"#ctx_before":[2]}`, `{"#ctx_after":0.5}`, `{"#select_labels":{"a":1}}`, `{"#batch_size":"1.5 KiB","#io_timeout":"5s"}`,
		`{"&a":{"$and":1}}`, `{"$or":[{},{"&a":{"$eq":1},"&b":{"$eq":2}}]}`, `{"$hour":["$timestamp","Nowhere"]}`, `{"5s":{"$eq":5000000}}`, `{"$and":"$timestamp"}`,
	} {
		compiled(t, text)
	}
}

// TestOrder: the last of two members of one name counts, where the first one stands, and the text is told apart by its order.
func TestOrder(t *testing.T) {
	c := compiled(t, `{ "$limit": 1, "&a": {"$eq": 1.0}, "$limit": 2 }`)
	if want := `{"$limit":2,"&a":{"$eq":1.0}}`; c.String() != want {
		t.Errorf("got %s, want %s", c, want)
	}
	if other := compiled(t, `{"&a":{"$eq":1.0},"$limit":2}`); other.SHA256() == c.SHA256() {
		t.Error("another order has the same hash")
	}
}

// TestWarnings has each trap.
func TestWarnings(t *testing.T) {
	tests := []struct{ when, want string }{
		{`{"&a":{"$eq":1},"$limit":2}`, ""}, {`{"$or":[{"&a":{"$eq":1}},{"&a":{"$eq":2}}]}`, ""}, {`{"&a":{"$eq":"text"}}`, ""}, {`{"$eq":["5s","&a"]}`, "number 5000000"},
		{`{"&stable":{"$eq":"true"}}`, `at &stable.$eq: the text "true" never matches`}, {`{"$in":["&a","x","5"]}`, `the text "5" never matches`},
		{`{"&a":{"$eq":"s3"}}`, `"s3" is read as a duration, the number 3000000`}, {`{"$not":{"$eq":true}}`, `compares with what $not of nothing is`},
		{`{"$limit":2,"&a":{"$eq":1}}`, "at $limit: $limit counts records that what stands behind it leaves out"}, {`{"@x":{"$eq":1}}`, "computed by an extension"},
		{`{"$has":"&a"}`, "named by the value of a"}, {`{"$cast":["&a","number"]}`, "there is no type number"}, {`{"$hour":["$timestamp","Berlin"]}`, "Berlin is no time zone"},
		{`{"$or":[{"&a":{"$eq":1}},{"&b":{"$eq":2}}]}`, "a record without label a does not pass at all"},
		{`{"$or":[{"$and":[{"$has":"a"},{"&a":{"$eq":1}}]},{"&b":{"$eq":2}}]}`, ""}, {`{"#batch_size":"8MB"}`, "#batch_size says how a store answers"},
	}
	for _, tt := range tests {
		got := strings.Join(compiled(t, tt.when).Warnings(), "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.when, got, tt.want)
		}
	}
}
