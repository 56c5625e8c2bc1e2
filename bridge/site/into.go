package site

import (
	"context"
	"errors"
	"fmt"
	"time"

	reductgo "github.com/reductstore/reduct-go"
	"github.com/reductstore/reduct-go/model"
)

// storeBatch is how many records a write to a ReductStore carries: with the site's labels, more would not fit its header limit by far, 80 do.
const storeBatch = 80

// writer writes the site's records into a real ReductStore.
type writer struct {
	bucket reductgo.Bucket
}

// newWriter opens the bucket, or makes it: FIFO with a quota of so many bytes, unlimited for 0.
func newWriter(ctx context.Context, url, token, bucket string, quota int64) (*writer, error) {
	client := reductgo.NewClient(url, reductgo.ClientOptions{APIToken: token, Timeout: 30 * time.Second})
	settings := model.NewBucketSettingBuilder().Build()
	if quota > 0 {
		settings = model.NewBucketSettingBuilder().WithQuotaType(model.QuotaTypeFifo).WithQuotaSize(quota).Build()
	}
	b, err := client.CreateOrGetBucket(ctx, bucket, &settings)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s at %s: %w", bucket, url, err)
	}
	return &writer{bucket: b}, nil
}

// write writes the records from to up-to of one sensor as one batch.
func (w *writer) write(ctx context.Context, v *Vibration, sensor, from, upTo int) error {
	b := w.bucket.BeginWriteBatch(ctx, v.Entry(sensor))
	var s Sample
	for i := from; i < upTo; i++ {
		r := v.Fill(&s, sensor, i)
		labels := make(reductgo.LabelMap, len(r.Labels))
		for _, l := range r.Labels {
			labels[string(l.Name)] = string(l.Value)
		}
		b.Add(r.Time, append([]byte(nil), r.Payload...), string(r.ContentType), labels)
	}
	failed, err := b.Write(ctx)
	if err != nil {
		return fmt.Errorf("write %d records to %s: %w", upTo-from, v.Entry(sensor), err)
	}
	errs := make([]error, 0, len(failed))
	for t, e := range failed {
		errs = append(errs, fmt.Errorf("write %s@%d: %d %s", v.Entry(sensor), t, e.Status, e.Message))
	}
	return errors.Join(errs...)
}
