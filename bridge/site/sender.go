package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// SenderConfig is a replication task. The zero value of a field stands for ReductStore's own default.
type SenderConfig struct {
	Target      string // http://host:port
	Bucket      string // at the target
	Prefix      string // dst_prefix
	Token       string // bearer token; empty: no header
	Compression string // "", "zstd" or "gzip"; used only where the target announces x-reduct-api 1.21
	Identity    Identity

	BatchRecords int           // RS_IO_BATCH_MAX_RECORDS; default 85
	BatchBytes   int           // RS_IO_BATCH_MAX_SIZE; default 8,000,000. The record that passes it still goes
	LogSize      int           // RS_REPLICATION_LOG_SIZE, for each entry; default 1,000,000
	RetryAfter   time.Duration // RS_REPLICATION_TIMEOUT: pause after the target was unavailable; default 5s
	IdleWait     time.Duration // pause when all logs are empty; default 250ms
	PoolIdle     time.Duration // how long an unused connection is kept; default 90s

	// Watch is told what became of records, by the goroutine that found out. It must not call the sender. May be nil.
	Watch func(Event)
}

func (c SenderConfig) withDefaults() SenderConfig {
	c.BatchRecords = orDefault(c.BatchRecords, 85)
	c.BatchBytes = orDefault(c.BatchBytes, 8_000_000)
	c.LogSize = max(orDefault(c.LogSize, 1_000_000), 2)
	c.RetryAfter = orDefault(c.RetryAfter, 5*time.Second)
	c.IdleWait = orDefault(c.IdleWait, 250*time.Millisecond)
	c.PoolIdle = orDefault(c.PoolIdle, 90*time.Second)
	return c
}

// State is how a pass over the logs ended.
type State uint8

const (
	Nothing     State = iota // all logs were empty
	Synced                   // every entry with something in its log had one batch sent, or forgotten
	Unavailable              // the target is to be asked again after RetryAfter; the logs are as they were
)

// Sender replicates as ReductStore 1.21.5 does: entries one after the other, one batch of each in a pass, one batch in flight. Its rule for
// what a batch's end means: no connection, a timeout, 429, 502, 503 and 504 keep it; everything else, a connection that breaks under a request included,
// forgets it. It does not prepare the next batch while one is in flight, which changes its speed only.
//
// Notify, Drop, Plan, Pending and Counters may be called at any time; Pass, Run, Drain and Restart belong to one goroutine.
type Sender struct {
	cfg   SenderConfig
	wire  wire
	store Store
	conn  conn

	available   bool
	compression string // agreed with the target
	buf         []byte

	mu       sync.Mutex
	logs     map[string]*ring // guarded by mu
	counters Counters         // guarded by mu
	planned  []plan           // guarded by mu
}

// NewSender makes a sender that reads records from store.
func NewSender(cfg SenderConfig, store Store) (*Sender, error) {
	cfg = cfg.withDefaults()
	w, err := newWire(cfg.Target, cfg.Bucket, cfg.Prefix, cfg.Token, cfg.Identity)
	if err != nil {
		return nil, err
	}
	s := &Sender{cfg: cfg, wire: w, store: store, logs: make(map[string]*ring)}
	s.conn = conn{host: w.host, idle: cfg.PoolIdle, onDial: func() { s.count(func(c *Counters) { c.Dials++ }) }}
	s.counters.Answers = make(map[int]int64)
	return s, nil
}

// Notify notes that a record was written, or its labels updated. It is what a ReductStore does while a replication task exists.
func (s *Sender) Notify(entry string, time int64, update bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[entry]
	if log == nil {
		log = &ring{capacity: s.cfg.LogSize}
		s.logs[entry] = log
	}
	s.counters.Noted++
	if gone, full := log.push(transaction{time, update}); full {
		s.report(Event{Overrun, entry, []int64{gone.time}, "the replication log is full"})
	}
}

// Drop empties an entry's log: what a corrupted or deleted log comes to. It returns how many transactions were in it.
func (s *Sender) Drop(entry string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.logs[entry]
	if log == nil || len(log.lines) == 0 {
		return 0
	}
	popped := log.pop(len(log.lines))
	s.report(Event{LogLost, entry, times(popped), "the replication log was dropped"})
	return len(popped)
}

// Pending returns how many transactions the logs hold.
func (s *Sender) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, log := range s.logs {
		n += len(log.lines)
	}
	return n
}

// Restart is the edge store's restart, kill -9 included: the connection is gone, the target's availability unknown, the logs are still there.
func (s *Sender) Restart() {
	s.conn.close()
	s.available = false
}

// Run replicates until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	defer s.conn.close()
	for {
		state, err := s.Pass(ctx)
		if err != nil {
			return err
		}
		if s.pause(ctx, state) != nil {
			return nil
		}
	}
}

// Drain replicates until the logs are empty.
func (s *Sender) Drain(ctx context.Context) error {
	defer s.conn.close()
	for {
		state, err := s.Pass(ctx)
		if err != nil || state == Nothing {
			return err
		}
		if err := s.pause(ctx, state); err != nil {
			return fmt.Errorf("drain %d records: %w", s.Pending(), err)
		}
	}
}

func (s *Sender) pause(ctx context.Context, state State) error {
	wait := time.Duration(0)
	switch state {
	case Nothing:
		wait = s.cfg.IdleWait
	case Unavailable:
		wait = s.cfg.RetryAfter
	}
	if wait == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Pass visits every entry once. An error says that a request could not be built; what the target does is not an error.
func (s *Sender) Pass(ctx context.Context) (State, error) {
	state := Nothing
	for _, entry := range s.entries() {
		if ctx.Err() != nil {
			return state, nil
		}
		b := s.prepare(entry)
		if len(b.lines) == 0 {
			continue
		}
		state = Synced
		err := s.send(ctx, b)
		switch {
		case errors.Is(err, errKilled):
			s.Restart()
			return Synced, nil
		case errors.Is(err, errUnavailable):
			s.available = false
			s.tell(Event{Kept, entry, times(b.lines), err.Error()})
			return Unavailable, nil
		case err != nil:
			return state, err
		}
	}
	return state, nil
}

func (s *Sender) entries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.logs))
	for name := range s.logs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// batch is one entry's turn.
type batch struct {
	entry          string
	lines          []transaction // what was taken from the log, unread records included
	first          uint64        // number of lines[0]
	writes, update []bridge.Record
	evicted        []int64
}

// prepare takes the front of an entry's log and reads the records.
func (s *Sender) prepare(entry string) batch {
	b := batch{entry: entry}
	s.mu.Lock()
	b.lines, b.first = s.logs[entry].front(s.cfg.BatchRecords)
	s.mu.Unlock()
	size := 0
	for i, line := range b.lines {
		r, ok := s.store.Read(entry, line.time)
		switch {
		case !ok:
			b.evicted = append(b.evicted, line.time)
		case line.update:
			b.update = append(b.update, r)
		default:
			b.writes = append(b.writes, r)
		}
		if size += len(r.Payload); size >= s.cfg.BatchBytes {
			b.lines = b.lines[:i+1]
			break
		}
	}
	return b
}

var (
	errUnavailable = errors.New("target unavailable")
	errKilled      = errors.New("edge killed")
)

// send brings a batch to the target and takes it from the log, unless it returns an error.
func (s *Sender) send(ctx context.Context, b batch) error {
	if !s.available {
		if err := s.probe(ctx); err != nil {
			return err
		}
	}
	failed, why, err := s.deliver(ctx, &b)
	if err != nil {
		return err
	}
	s.settle(b, failed, why)
	return nil
}

// probe asks for the bucket, and makes it where there is none.
func (s *Sender) probe(ctx context.Context) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodGet} {
		got, err := s.exchange(ctx, method, s.wire.probe(s.buf[:0], method), NoFault)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s bucket: %w", errUnavailable, method, err)
		case got.status/100 == 2:
			s.available, s.compression = true, ""
			if announces(got.api) {
				s.compression = s.cfg.Compression
			}
			return nil
		case method == http.MethodGet && got.status == http.StatusNotFound:
		case method == http.MethodPost && got.status == http.StatusConflict:
		default:
			return fmt.Errorf("%w: %s bucket: %d", errUnavailable, method, got.status)
		}
	}
	return fmt.Errorf("%w: bucket neither there nor made", errUnavailable)
}

// announces reports whether an x-reduct-api header allows compressed bodies.
func announces(api string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(api, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 1 || major == 1 && minor >= 21
}

// deliver sends the updates, then what is to be written. failed says which records the target refused one by one; where the whole batch was
// refused, all of it has failed and why says how.
func (s *Sender) deliver(ctx context.Context, b *batch) (failed map[int64]bool, why string, err error) {
	if len(b.update) > 0 {
		got, err := s.request(ctx, http.MethodPatch, b.entry, b.update)
		if err != nil {
			return nil, "", err
		}
		switch {
		case got.status == http.StatusNotFound:
			b.writes = append(b.writes, b.update...)
		case got.status/100 != 2:
			return allOf(b), fmt.Sprintf("PATCH answered %s", outcome(got)), nil
		default:
			b.writes = append(b.writes, slices.DeleteFunc(b.update, func(r bridge.Record) bool { return !got.errors[r.Time] })...)
		}
	}
	if len(b.writes) == 0 {
		return nil, "", nil
	}
	got, err := s.request(ctx, http.MethodPost, b.entry, b.writes)
	switch {
	case err != nil:
		return nil, "", err
	case got.status/100 != 2:
		return allOf(b), fmt.Sprintf("POST answered %s", outcome(got)), nil
	}
	return got.errors, "refused one by one", nil
}

func outcome(got answer) string {
	if got.status == 0 {
		return "with a broken connection"
	}
	return fmt.Sprint(got.status)
}

func allOf(b *batch) map[int64]bool {
	all := make(map[int64]bool, len(b.lines))
	for _, line := range b.lines {
		all[line.time] = true
	}
	return all
}

// request sends one request of a batch. Its errors keep the batch; a status, 0 for a broken connection, decides about the rest.
func (s *Sender) request(ctx context.Context, method, entry string, records []bridge.Record) (answer, error) {
	slices.SortStableFunc(records, func(a, b bridge.Record) int { return cmp.Compare(a.Time, b.Time) })
	var err error
	if s.buf, err = s.wire.batch(s.buf[:0], method, entry, s.compression, records); err != nil {
		return answer{}, fmt.Errorf("%s %d records of %s: %w", method, len(records), entry, err)
	}
	fault := s.fault()
	s.count(func(c *Counters) { c.Batches++ })
	got, err := s.exchange(ctx, method, s.buf, fault)
	switch {
	case fault == KillRequest || fault == KillAnswer, ctx.Err() != nil:
		return answer{}, errKilled
	case errors.Is(err, errBroken):
		return answer{}, nil
	case err != nil:
		return answer{}, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	switch got.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return answer{}, fmt.Errorf("%w: %s answered %d", errUnavailable, method, got.status)
	}
	return got, nil
}

func (s *Sender) exchange(ctx context.Context, method string, request []byte, fault Fault) (answer, error) {
	got, err := s.conn.exchange(ctx, method, request, fault)
	if err == nil {
		s.count(func(c *Counters) { c.Answers[got.status]++ })
	}
	return got, err
}
