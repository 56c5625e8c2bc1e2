package site

import (
	"sync"

	"github.com/sluicebridge/sluice/bridge"
)

// Store is what a sender reads a record from at the moment of sending: the labels are those of now, not of when the record was noted.
// false: the record is gone (evicted by the quota). What it returns is shared and never changed.
type Store interface {
	Read(entry string, time int64) (bridge.Record, bool)
}

// Memory is a Store that holds what was put in. The zero value is empty and ready. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	records map[string]map[int64]bridge.Record
}

// Put writes a record, or replaces it. It copies r.
func (m *Memory) Put(entry string, r bridge.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[string]map[int64]bridge.Record)
	}
	if m.records[entry] == nil {
		m.records[entry] = make(map[int64]bridge.Record)
	}
	r.Payload = append([]byte(nil), r.Payload...)
	r.ContentType = append([]byte(nil), r.ContentType...)
	r.Labels = copyLabels(r.Labels)
	m.records[entry][r.Time] = r
}

// Relabel replaces the labels of a record and reports whether it is there.
func (m *Memory) Relabel(entry string, time int64, labels []bridge.Label) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[entry][time]
	if ok {
		r.Labels = copyLabels(labels)
		m.records[entry][time] = r
	}
	return ok
}

// Evict removes a record, as the quota does.
func (m *Memory) Evict(entry string, time int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records[entry], time)
}

// Read implements Store.
func (m *Memory) Read(entry string, time int64) (bridge.Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[entry][time]
	return r, ok
}

func copyLabels(labels []bridge.Label) []bridge.Label {
	copied := make([]bridge.Label, len(labels))
	for i, l := range labels {
		copied[i] = bridge.Label{Name: append([]byte(nil), l.Name...), Value: append([]byte(nil), l.Value...)}
	}
	return copied
}
