package site

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicebridge/sluice/bridge"
)

func format(times []int64) string {
	b, err := json.Marshal(times)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Captured from the socket of ReductStore 1.21.5.
const captured = `POST /api/v1/b/to-hono/acc-1/batch HTTP/1.1
content-type: application/octet-stream
content-length: 40
x-reduct-time-1000003: 10,application/octet-stream,note="a,b",rpm=1500
x-reduct-time-1000002: 10,application/octet-stream,note="a,b",rpm=1600
x-reduct-time-1000001: 10,application/octet-stream,note="a,b",rpm=1500
accept: */*
x-reduct-node-id: instance:vm:run:a2468e15
x-reduct-store-id: 21b4f05d-3e3e-4f17-ad87-fe386061c2b2
x-reduct-license-hash: null
authorization: Bearer secret
host: 127.0.0.1:18484

pay1000001pay1000002pay1000002pay1000003`

const capturedPatch = `PATCH /api/v1/b/to-hono/acc-1/batch HTTP/1.1
content-type: application/octet-stream
content-length: 0
x-reduct-time-1000002: 0,,note="a,b",rpm=1600
accept: */*
x-reduct-node-id: instance:vm:run:a2468e15
x-reduct-store-id: 21b4f05d-3e3e-4f17-ad87-fe386061c2b2
x-reduct-license-hash: null
authorization: Bearer secret
host: 127.0.0.1:18484

`

func capturedRecord(digit, rpm string) bridge.Record {
	return bridge.Record{
		Time: 1000000 + int64(digit[0]-'0'), ContentType: []byte("application/octet-stream"), Payload: []byte("pay100000" + digit),
		Labels: []bridge.Label{{Name: []byte("note"), Value: []byte("a,b")}, {Name: []byte("rpm"), Value: []byte(rpm)}},
	}
}

func TestRequestsAreThoseOfTheRealSender(t *testing.T) {
	id := Identity{"instance:vm:run:a2468e15", "21b4f05d-3e3e-4f17-ad87-fe386061c2b2", "null"}
	w, err := newWire("http://127.0.0.1:18484", "to-hono", "", "secret", id)
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := capturedRecord("1", "1500"), capturedRecord("2", "1600"), capturedRecord("3", "1500")
	for _, c := range []struct {
		method, want string
		records      []bridge.Record
	}{
		{"POST", captured, []bridge.Record{one, two, two, three}},
		{"PATCH", capturedPatch, []bridge.Record{two}},
	} {
		got, err := w.batch(nil, c.method, "acc-1", "", c.records)
		if err != nil {
			t.Fatal(err)
		}
		if plain := strings.ReplaceAll(string(got), "\r\n", "\n"); plain != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.method, plain, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct{ name, target, bucket, path, wantErr string }{
		{"plain", "http://127.0.0.1:8484", "to-hono", "/api/v1/b/to-hono/x/$meta/batch", ""},
		{"with a path", "http://127.0.0.1:8484/proxy/", "to-hono", "/proxy/api/v1/b/to-hono/x/$meta/batch", ""},
		{"not http", "mqtt://127.0.0.1:1883", "b", "", "want http://host:port"},
		{"not a URL", "http://127.0.0.1:x", "b", "", "target"},
	} {
		w, err := newWire(c.target, c.bucket, "", "", Identity{})
		switch {
		case c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)):
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.wantErr)
		case c.wantErr == "" && (err != nil || w.path("x/$meta") != c.path):
			t.Errorf("%s: path %q and %v, want %q", c.name, w.path("x/$meta"), err, c.path)
		}
	}
}
