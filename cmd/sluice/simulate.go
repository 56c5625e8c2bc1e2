package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/site"
)

const simulateHelp = `usage: sluice simulate vibration (--into URL | --target URL | --load URL) [flags]

  --into    writes the sensors' records into a real ReductStore
  --target  replicates them to a target as ReductStore would, forgetting what it would forget
  --load    sends one site's requests as fast as a target takes them, or at --rate

`

func runSimulate(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("simulate vibration")
	fs.Usage = func() { fmt.Fprint(e.err, simulateHelp); fs.PrintDefaults() }
	cfg, asJSON := simulateFlags(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg.Sender.Bucket, cfg.Load.Bucket = cfg.Bucket, cfg.Bucket
	cfg.Sender.Token, cfg.Load.Token = cfg.Token, cfg.Token
	cfg.Load.Start = cfg.Vibration.Start
	if isSet(fs, "duration") {
		cfg.Load.Duration = cfg.Duration
	}
	if one := btoi(cfg.Into != "") + btoi(cfg.Sender.Target != "") + btoi(cfg.Load.Target != ""); one != 1 {
		return usageError{"simulate vibration: want exactly one of --into, --target and --load"}
	}
	var last site.Progress
	cfg.Progress = func(p site.Progress) {
		last = p
		if !*asJSON {
			fmt.Fprintln(e.out, progressLine(cfg, p))
		}
	}
	err := site.Run(ctx, *cfg)
	if err == nil && *asJSON {
		err = e.printJSON(last)
	}
	return err
}

func simulateFlags(fs *flag.FlagSet) (cfg *site.Config, asJSON *bool) {
	cfg = new(site.Config)
	fs.StringVar(&cfg.Into, "into", "", "`URL` of a ReductStore to write into")
	fs.StringVar(&cfg.Sender.Target, "target", "", "`URL` of a replication target")
	fs.StringVar(&cfg.Load.Target, "load", "", "`URL` of a replication target to load")
	fs.StringVar(&cfg.Bucket, "bucket", "vib", "bucket, at the store or the target")
	fs.StringVar(&cfg.Token, "token", "", "bearer token")
	fs.Func("quota", "FIFO quota of a bucket that has to be made, such as 74.5GiB; empty: none", func(s string) error {
		var size bridge.Size
		err := size.UnmarshalText([]byte(s))
		cfg.Quota = int64(size)
		return err
	})
	fs.DurationVar(&cfg.Duration, "duration", 10*time.Minute, "how much of the site's time; with --load 10s of ours unless given")
	fs.Float64Var(&cfg.Pace, "pace", 1, "the site's seconds in one of ours; 0: as fast as they are taken")
	fs.Func("start", "RFC 3339 time of the first record (default 2026-01-01T00:00:00Z; with --load now)", func(s string) (err error) {
		cfg.Vibration.Start, err = time.Parse(time.RFC3339, s)
		return err
	})
	fs.IntVar(&cfg.Vibration.Sensors, "sensors", 4, "sensors, each with an entry")
	fs.DurationVar(&cfg.Vibration.Interval, "interval", 450*time.Millisecond, "between two records of a sensor")
	fs.IntVar(&cfg.Vibration.Samples, "samples", 4096, "float32 values of a record")
	fs.Uint64Var(&cfg.Vibration.Seed, "seed", 0, "another seed, another machine")
	fs.StringVar(&cfg.Sender.Compression, "compression", "", "zstd or gzip, with --target")
	fs.Float64Var(&cfg.Load.Rate, "rate", 0, "records a second with --load; 0: as fast as they are taken")
	fs.IntVar(&cfg.Load.Size, "size", 200, "bytes of a payload with --load")
	fs.IntVar(&cfg.Load.Connections, "connections", 1, "connections with --load")
	return cfg, jsonFlag(fs)
}

// progressLine says how far a run has come.
func progressLine(cfg *site.Config, p site.Progress) string {
	if cfg.Load.Target != "" {
		l := p.Load
		return fmt.Sprintf("%d records in %v, %.0f a second, %d batches sent again, %d records forgotten, p50 %v p99 %v max %v",
			l.Records, l.Elapsed.Round(time.Millisecond), l.PerSecond(), l.Kept, l.Forgotten, l.P50, l.P99, l.Max)
	}
	line := fmt.Sprintf("%s  %d records", p.Site.Format(time.RFC3339), p.Records)
	if cfg.Sender.Target != "" {
		c := p.Sender
		line += fmt.Sprintf(", %d sent, %d kept, %d forgotten, %d overrun", c.Sent, c.Kept, c.Forgotten, c.Overrun)
	}
	return line
}

func isSet(fs *flag.FlagSet, name string) (set bool) {
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
