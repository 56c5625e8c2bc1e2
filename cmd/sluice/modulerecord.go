package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicebridge/sluice/bridge"
	"github.com/sluicebridge/sluice/bridge/reduct"
	"github.com/sluicebridge/sluice/runtime/golden"
)

const moduleRecordHelp = `usage: sluice module record (--config FILE [--input NAME] | --url URL --bucket BUCKET) --entry ENTRY --into FILE.toml [flags]

Saves the newest records of an entry as a file of records, for module test: with --config those that an input's store has for it, with --url
any store's. What the module should make of them is then written by module test --update, and looked at by you.

`

// recordingFlags say what to read and where it goes.
type recordingFlags struct {
	config, input          string
	url, tokenFile, bucket string
	entry, into            string
	last                   time.Duration
	limit                  int
}

func runModuleRecord(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module record")
	fs.Usage = func() { fmt.Fprint(e.err, moduleRecordHelp); fs.PrintDefaults() }
	var o recordingFlags
	fs.StringVar(&o.config, "config", "", "configuration `FILE` that has the store")
	fs.StringVar(&o.input, "input", "", "`NAME` of its input; empty: the only one")
	fs.StringVar(&o.url, "url", "", "`URL` of a ReductStore, without a configuration")
	fs.StringVar(&o.tokenFile, "token-file", "", "`FILE` with a token for --url")
	fs.StringVar(&o.bucket, "bucket", "", "`BUCKET` at --url")
	fs.StringVar(&o.entry, "entry", "", "`ENTRY` whose records are saved")
	fs.StringVar(&o.into, "into", "", "`FILE` that is made; one that is there is not written over")
	fs.DurationVar(&o.last, "last", time.Hour, "how far back")
	fs.IntVar(&o.limit, "limit", 100, "most `RECORDS`")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	store, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	text, n, err := o.read(ctx, store)
	if err != nil {
		return err
	}
	if err := writeNew(o.into, string(text), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s: %d records\n", o.into, n)
	return err
}

func (o *recordingFlags) check() error {
	switch {
	case (o.config == "") == (o.url == ""):
		return usageError{"module record: want --config or --url"}
	case o.url != "" && o.bucket == "":
		return usageError{"module record: --url wants --bucket"}
	case o.entry == "" || o.into == "":
		return usageError{"module record: want --entry and --into"}
	case o.limit < 1 || o.limit > golden.MaxRecords:
		return usageError{fmt.Sprintf("module record: --limit %d, want 1..%d", o.limit, golden.MaxRecords)}
	case o.last <= 0:
		return usageError{fmt.Sprintf("module record: --last %s, want more than 0s", o.last)}
	}
	return nil
}

// open opens the store; a stream of it is an entry.
func (o *recordingFlags) open(ctx context.Context) (*reduct.Survey, error) {
	if o.url != "" {
		token, err := secretOf("token-file", o.tokenFile)
		if err != nil {
			return nil, err
		}
		return reduct.SurveyBucket(o.url, token, o.bucket, ""), nil
	}
	f, err := loadConfig(o.config)
	if err != nil {
		return nil, err
	}
	names := f.Inputs.names()
	if o.input == "" && len(names) == 1 {
		o.input = names[0]
	}
	if !slices.Contains(names, o.input) {
		return nil, usageError{fmt.Sprintf("module record: --input %q, there is %v", o.input, names)}
	}
	store, err := surveyOf(ctx, f, o.config, o.input)
	if err == nil && store == nil {
		err = usageError{fmt.Sprintf("module record: input %s has no source to read", o.input)}
	}
	return store, err
}

// read fetches the newest records, oldest first, as the text of a file.
func (o *recordingFlags) read(ctx context.Context, store *reduct.Survey) (text []byte, n int, err error) {
	stream := store.Bucket() + "/" + o.entry
	name := stream
	if o.url != "" {
		name = o.entry // what a store without a task calls it
	}
	now := time.Now()
	var times []int64 // the newest
	err = store.Each(ctx, name, now.Add(-o.last).UnixMicro(), now.UnixMicro(), func(t int64, _ []bridge.Label) {
		if len(times) == o.limit {
			times = append(times[:0], times[1:]...)
		}
		times = append(times, t)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", stream, err)
	}
	text = fmt.Appendf(nil, "# Records of %s, saved by sluice module record.\n", stream)
	for _, t := range times {
		found, err := store.Record(ctx, name, t, func(r *bridge.Record) (err error) {
			text, err = golden.Append(append(text, '\n'), stream, r)
			return err
		})
		if err != nil {
			return nil, 0, fmt.Errorf("read %s: %w", stream, err)
		}
		if found {
			n++
		}
		if len(text) > golden.MaxFile {
			return nil, 0, fmt.Errorf("%d records are more than the %d bytes of a file: want a smaller --limit", n, golden.MaxFile)
		}
	}
	if n == 0 {
		return nil, 0, errors.New(stream + ": no records in the last " + o.last.String())
	}
	return text, n, nil
}
