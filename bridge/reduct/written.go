package reduct

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/reductstore/reduct-go/model"

	"github.com/sluicebridge/sluice/bridge/reduct/hold"
)

// errWriting: the store has a record, and not all of it.
var errWriting = errors.New("still being written")

const (
	writeTime = time.Second // the longest wait for a record: one whose writer was killed is called still being written for ever
	writeLook = 20 * time.Millisecond
)

// look asks whether the record at a time has been written; errWriting where it has not. A query passes over what is still being written, for good: where that
// ends while the answer is read, the answer goes on behind it. An entry's writer ends its records in the order of their times, so that the newest tells for all.
func (s *source) look(ctx context.Context, bucket, entry string, at int64) error {
	path := "/b/" + url.PathEscape(bucket) + "/" + escapeEntry(entry) + "?ts=" + strconv.FormatInt(at, 10)
	resp, err := s.do(ctx, http.MethodHead, path, nil)
	if errors.Is(err, errNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// written looks for a moment: a comparison up to what is still being written would take newer records before older ones.
func (s *source) written(ctx context.Context, bucket, entry string, at int64) error {
	look := time.NewTicker(writeLook)
	defer look.Stop()
	for began := time.Now(); ; {
		err := s.look(ctx, bucket, entry, at)
		if !errors.Is(err, errWriting) || time.Since(began) > writeTime {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for a record of %s to be written: %w", entry, ctx.Err())
		}
	}
}

// finished waits for what a comparison goes up to. The first pass leaves a record that takes long to the next one, which takes it to be left by a writer
// that was killed.
func (x *round) finished(ctx context.Context, c *course, e *model.EntryInfo, upTo int64) error {
	unseen := make([]bool, 1)
	if err := x.mind.Intake.Unseen(ctx, x.task.stream(e.Name), []int64{upTo}, unseen); err != nil {
		return fmt.Errorf("look up the end of a comparison: %w", err)
	}
	if !unseen[0] {
		return nil
	}
	err := x.source.written(ctx, x.task.srcBucket, e.Name, upTo)
	if !errors.Is(err, errWriting) {
		return err
	}
	if c.ahead.Known {
		return nil
	}
	c.ahead = hold.Ahead{Latest: e.LatestRecord, Known: true}
	return err
}
