package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	reductgo "github.com/reductstore/reduct-go"

	"github.com/sluicebridge/sluice/bridge/config"
	"github.com/sluicebridge/sluice/runtime/host"
	"github.com/sluicebridge/sluice/runtime/host/sign"
)

const modulePushHelp = `usage: sluice module push --url URL FILE.wasm reduct://BUCKET/ENTRY [flags]

Writes a module into a ReductStore, from where [modules.X] path = "reduct://BUCKET/ENTRY?name=NAME" takes it. The record has the labels name,
version, sha256, and signature where FILE.wasm.sig is there.

`

// pushFlags say what to write where.
type pushFlags struct {
	url, tokenFile, name, version string
}

func runModulePush(ctx context.Context, e *environment, args []string) error {
	fs := e.flags("module push")
	fs.Usage = func() { fmt.Fprint(e.err, modulePushHelp); fs.PrintDefaults() }
	var o pushFlags
	fs.StringVar(&o.url, "url", "", "`URL` of the ReductStore")
	fs.StringVar(&o.tokenFile, "token-file", "", "`FILE` with a token that may write to the bucket")
	fs.StringVar(&o.name, "name", "", "the label `NAME`; empty: the manifest's")
	fs.StringVar(&o.version, "version", "", "the label `VERSION`; empty: the manifest's")
	named, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if o.url == "" || len(named) != 2 {
		return usageError{"module push: want --url, a module's file and reduct://BUCKET/ENTRY"}
	}
	to, err := parseAddress(named[1])
	if err != nil || len(to.labels) > 0 {
		return usageError{fmt.Sprintf("module push: %q, want reduct://BUCKET/ENTRY", named[1])}
	}
	wasm, labels, err := o.pack(ctx, e, named[0])
	if err != nil {
		return err
	}
	if err := o.write(ctx, to, wasm, labels); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "%s: %s %s is in %s/%s (sha256 %s)\n", named[0], labels[nameLabel], labels[versionLabel], to.bucket, to.entry, labels[sumLabel])
	return err
}

// pack reads a module, which has to be one, and makes its labels.
func (o *pushFlags) pack(ctx context.Context, e *environment, path string) (wasm string, labels reductgo.LabelMap, err error) {
	w, err := openWorkbench(ctx, e.log, path, &moduleFlags{memory: host.Default().Memory})
	if err != nil {
		return "", nil, err
	}
	defer w.close(ctx)
	a, err := w.rt.Inspect(ctx, moduleName(w.cfg), w.cfg)
	if err != nil {
		return "", nil, err
	}
	if wasm, err = config.ReadFile(path, host.MaxModule); err != nil {
		return "", nil, err
	}
	labels = reductgo.LabelMap{nameLabel: a.Manifest.Name, versionLabel: a.Manifest.Version, sumLabel: sumOf([]byte(wasm))}
	if o.name != "" {
		labels[nameLabel] = o.name
	}
	if o.version != "" {
		labels[versionLabel] = o.version
	}
	signature, err := config.ReadFile(path+host.SignatureSuffix, sign.MaxText)
	if err == nil {
		labels[signatureLabel] = strings.TrimSpace(signature)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return wasm, labels, err
}

func (o *pushFlags) write(ctx context.Context, to address, wasm string, labels reductgo.LabelMap) error {
	token, err := secretOf("token-file", o.tokenFile)
	if err != nil {
		return err
	}
	client := reductgo.NewClient(o.url, reductgo.ClientOptions{APIToken: token, Timeout: 30 * time.Second})
	bucket, err := client.GetBucket(ctx, to.bucket)
	if err != nil {
		return fmt.Errorf("bucket %s at %s: %w", to.bucket, o.url, err)
	}
	batch := bucket.BeginWriteBatch(ctx, to.entry)
	batch.Add(time.Now().UnixMicro(), []byte(wasm), "application/wasm", labels)
	failed, err := batch.Write(ctx)
	if err != nil {
		return fmt.Errorf("write to %s/%s: %w", to.bucket, to.entry, err)
	}
	for _, e := range failed {
		return fmt.Errorf("write to %s/%s: %d %s", to.bucket, to.entry, e.Status, e.Message)
	}
	return nil
}
