package guests

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/sluicebridge/sluice/bridge"
)

// recordFile is the part of a record file that goes into a module.
type recordFile struct {
	Config table       `toml:"config"`
	Record []oneRecord `toml:"record"`
}

type oneRecord struct {
	Entry       string            `toml:"entry"`
	Time        *int64            `toml:"time"`
	Labels      map[string]string `toml:"labels"`
	ContentType string            `toml:"content_type"`
	Text        string            `toml:"text"`
	Base64      string            `toml:"base64"`
	F32         []float32         `toml:"f32"`
	Flags       []string          `toml:"flags"`
	Batch       bool              `toml:"batch"`
	Want        map[string]any    `toml:"want"`

	record bridge.Record
}

// readRecords reads a file, the times that it leaves out filled in.
func readRecords(tb testing.TB, path string) *recordFile {
	tb.Helper()
	f := new(recordFile)
	if _, err := toml.DecodeFile(path, f); err != nil {
		tb.Fatalf("%s: %v", filepath.Base(path), err)
	}
	now := int64(1_700_000_000_000_000)
	for i := range f.Record {
		r := &f.Record[i]
		if r.Time != nil {
			now = *r.Time
		}
		r.record = bridge.Record{Time: now, ContentType: []byte(r.ContentType)}
		now += 1_000_000
		for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
			r.record.Labels = append(r.record.Labels, bridge.Label{Name: []byte(name), Value: []byte(r.Labels[name])})
		}
		payload, err := base64.StdEncoding.DecodeString(r.Base64)
		if err != nil {
			tb.Fatal(err)
		}
		var b bytes.Buffer
		b.Write(payload)
		b.WriteString(r.Text)
		for _, v := range r.F32 {
			b.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
		r.record.Payload = b.Bytes()
	}
	return f
}
