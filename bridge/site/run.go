package site

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Config is what `sluice simulate vibration` asks for. Exactly one of Into, Sender.Target and Load.Target says where the records go.
type Config struct {
	Vibration VibrationConfig
	Duration  time.Duration // of the site's time; default 10m
	Pace      float64       // the site's seconds in one second of ours: 1 as it was, 0 as fast as they are taken

	Into   string // URL of a ReductStore that the records are written to
	Token  string // its access token; empty: none
	Bucket string // default "vib"
	Quota  int64  // of a bucket that has to be made, bytes, FIFO; 0 = unlimited

	Sender SenderConfig // replicate straight to a target, without a ReductStore
	Load   LoadConfig   // or load one

	Progress func(Progress) // called from Run about once a second and at the end; may be nil
}

// Progress is how far a run has come.
type Progress struct {
	Elapsed time.Duration
	Site    time.Time // how far the site's own time has come
	Records int64     // written into the store, or noted for replication
	Sender  Counters  // of a run with a Sender
	Load    LoadReport
	Done    bool
}

// Run simulates the site until its time is over or ctx ends, which is not an error.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Duration = orDefault(cfg.Duration, 10*time.Minute); cfg.Bucket == "" {
		cfg.Bucket = "vib"
	}
	if cfg.Pace < 0 {
		return fmt.Errorf("pace: %v, want 0 or more", cfg.Pace)
	}
	r := &run{cfg: cfg, site: NewVibration(cfg.Vibration), began: time.Now()}
	r.count = r.site.Until(cfg.Duration)
	var err error
	switch {
	case chosen(cfg) != 1:
		return errors.New("simulate: want exactly one of a store to write into, a target to replicate to, a target to load")
	case cfg.Into != "":
		err = r.into(ctx)
	case cfg.Sender.Target != "":
		err = r.replicate(ctx)
	default:
		r.progress.Load, err = RunLoad(ctx, cfg.Load)
	}
	r.progress.Done = true
	r.say(0)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func chosen(cfg Config) int {
	n := 0
	for _, where := range []string{cfg.Into, cfg.Sender.Target, cfg.Load.Target} {
		if where != "" {
			n++
		}
	}
	return n
}

// run is a run in progress: all sensors have come to the same record number, next.
type run struct {
	cfg      Config
	site     *Vibration
	count    int // records of each sensor
	next     int
	began    time.Time
	said     time.Time
	progress Progress
}

// into writes the site into a store, all sensors in turn.
func (r *run) into(ctx context.Context) error {
	w, err := newWriter(ctx, r.cfg.Into, r.cfg.Token, r.cfg.Bucket, r.cfg.Quota)
	if err != nil {
		return err
	}
	step := max(1, min(storeBatch, 8_000_000/(4*r.site.cfg.Samples)))
	if r.cfg.Pace > 0 { // no record is later than a second
		step = min(step, max(1, int(r.cfg.Pace*float64(time.Second)/float64(r.site.cfg.Interval))))
	}
	for r.next < r.count {
		upTo := min(r.next+step, r.count)
		if err := wait(ctx, r.due(upTo-1)); err != nil {
			return err
		}
		for sensor := range r.site.cfg.Sensors {
			if err := w.write(ctx, r.site, sensor, r.next, upTo); err != nil {
				return err
			}
			r.progress.Records += int64(upTo - r.next)
		}
		r.next = upTo
		r.say(time.Second)
	}
	return nil
}

// due returns how long it is until the i-th record of every sensor is made.
func (r *run) due(i int) time.Duration {
	if r.cfg.Pace == 0 {
		return 0
	}
	at := time.Duration(float64(i+1) * float64(r.site.cfg.Interval) / r.cfg.Pace)
	return time.Until(r.began.Add(at))
}

// replicate notes the records as they become due and lets the sender send them.
func (r *run) replicate(ctx context.Context) error {
	s, err := NewSender(r.cfg.Sender, r.site)
	if err != nil {
		return err
	}
	defer s.conn.close()
	ahead := 2 * s.cfg.BatchRecords * r.site.cfg.Sensors
	for {
		for r.next < r.count && r.due(r.next) <= 0 && (r.cfg.Pace > 0 || s.Pending() < ahead) {
			r.note(s)
		}
		state, err := s.Pass(ctx)
		r.progress.Sender = s.Counters()
		if err != nil || state == Nothing && r.next == r.count {
			return err
		}
		r.say(time.Second)
		if err := s.pause(ctx, state); err != nil {
			return err
		}
	}
}

func (r *run) note(s *Sender) {
	for sensor := range r.site.cfg.Sensors {
		s.Notify(r.site.Entry(sensor), r.site.Time(sensor, r.next), false)
	}
	r.progress.Records += int64(r.site.cfg.Sensors)
	r.next++
}

// say reports progress, unless it did less than every ago.
func (r *run) say(every time.Duration) {
	if r.cfg.Progress == nil || time.Since(r.said) < every {
		return
	}
	r.said = time.Now()
	r.progress.Elapsed = time.Since(r.began)
	r.progress.Site = r.site.cfg.Start.Add(time.Duration(r.next) * r.site.cfg.Interval)
	r.cfg.Progress(r.progress)
}
