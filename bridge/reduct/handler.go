package reduct

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sluicebridge/sluice/bridge"
)

const (
	bucketPath     = "/api/v1/b/"
	bucketSettings = `{"quota_type":"NONE","quota_size":0,"max_block_size":64000000,"max_block_records":1024}`
)

// handle is the table of DESIGN.md. Whatever it cannot place and what may carry records is answered 503: any other status makes the
// sender forget.
func (t *Target) handle(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set("x-reduct-api", apiVersion)
	path, _, _ := strings.Cut(string(ctx.Request.Header.RequestURI()), "?")
	if strings.IndexByte(path, '%') >= 0 {
		if p, err := url.PathUnescape(path); err == nil {
			path = p
		}
	}
	read := ctx.IsGet() || ctx.IsHead()
	rest, inBucket := strings.CutPrefix(path, bucketPath)
	bucket, tail, deeper := strings.Cut(rest, "/")
	entry, isBatch := strings.CutSuffix(tail, "/batch")
	switch {
	case read && path == "/api/v1/alive":
	case read && path == "/api/v1/info":
		t.json(ctx, `{"version":"`+apiVersion+`.0","instance_role":"STANDALONE","bucket_count":0,"usage":0,"uptime":0,`+
			`"oldest_record":0,"latest_record":0,"defaults":{"bucket":`+bucketSettings+`},"license":null}`)
	case inBucket && deeper && isBatch && entry != "" && (ctx.IsPost() || ctx.IsPatch()):
		t.batch(ctx, bucket, entry)
	case inBucket && !deeper && (read || ctx.IsPost()):
		t.bucket(ctx, bucket, read)
	case read:
		t.answer(ctx, fasthttp.StatusNotFound, "sluice has no "+path)
	default:
		t.loud.warn("replication request that is not understood; answered 503, the sender repeats it",
			"method", string(ctx.Method()), "path", path)
		t.keep(ctx, "sluice does not understand this request")
	}
}

// bucket answers the sender's question whether the bucket is there.
func (t *Target) bucket(ctx *fasthttp.RequestCtx, bucket string, read bool) {
	switch {
	case read && !t.allowed(ctx):
		t.loud.warn("replication sender shows a wrong token", "remote", ctx.RemoteAddr().String())
		t.answer(ctx, fasthttp.StatusUnauthorized, "wrong token")
	case read && !t.ours(bucket):
		t.loud.warn("replication sender asks for an unknown bucket", "bucket", bucket)
		t.answer(ctx, fasthttp.StatusNotFound, "unknown bucket "+bucket)
	case read:
		t.json(ctx, `{"info":{"name":`+strconv.Quote(bucket)+`,"entry_count":0,"size":0,"oldest_record":0,"latest_record":0,`+
			`"is_provisioned":true},"settings":`+bucketSettings+`,"entries":[]}`)
	case t.admitted(ctx, bucket):
		t.answer(ctx, fasthttp.StatusConflict, "bucket "+bucket+" is there already")
	}
}

// batch answers a request that carries records, and counts the answer.
func (t *Target) batch(ctx *fasthttp.RequestCtx, bucket, entry string) {
	if t.admitted(ctx, bucket) {
		r := t.requests.Get().(*request)
		r.begin(t, ctx, bucket+"/"+entry)
		if ctx.IsPatch() {
			r.update()
		} else {
			r.write()
		}
		r.end()
		bridge.CrashPoint("target.answer")
	}
	if m := t.part.Metrics; m != nil {
		m.BatchResponses.At(strconv.Itoa(ctx.Response.StatusCode())).Add(1)
	}
}

// admitted answers for those who are not. 401 and 404 would make the sender forget the batch: until someone has put it right, 503.
func (t *Target) admitted(ctx *fasthttp.RequestCtx, bucket string) bool {
	switch {
	case t.closing.Load():
		ctx.SetConnectionClose()
		t.keep(ctx, "sluice is shutting down")
	case !t.allowed(ctx):
		t.loud.warn("replication sender shows a wrong token; answered 503, the sender repeats it",
			"remote", ctx.RemoteAddr().String(), "bucket", bucket)
		ctx.SetConnectionClose()
		t.keep(ctx, "wrong token")
	case !t.ours(bucket):
		t.loud.warn("replication to an unknown bucket; answered 503, the sender repeats it", "bucket", bucket, "want", t.cfg.Bucket)
		t.keep(ctx, "unknown bucket "+bucket)
	default:
		return true
	}
	return false
}

func (t *Target) ours(bucket string) bool {
	return bucket != "" && (t.cfg.Bucket == "*" || bucket == t.cfg.Bucket)
}

func (t *Target) allowed(ctx *fasthttp.RequestCtx) bool {
	if t.cfg.Token == "" {
		return true
	}
	shown, ok := bytes.CutPrefix(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization), []byte("Bearer "))
	return ok && subtle.ConstantTimeCompare(shown, []byte(t.cfg.Token)) == 1
}

// keep answers 503: the sender keeps the batch and comes again in 5 s. The body is read away first, else the sender may see a broken pipe
// in place of the answer, and forget.
func (t *Target) keep(ctx *fasthttp.RequestCtx, message string) {
	if n, _ := io.CopyN(io.Discard, patient{ctx}, maxDrain); n == maxDrain {
		ctx.SetConnectionClose()
	}
	t.answer(ctx, fasthttp.StatusServiceUnavailable, message)
}

// answer sets status and message; ReductStore shows the message in its log and its diagnostics.
func (t *Target) answer(ctx *fasthttp.RequestCtx, status int, message string) {
	ctx.Response.Header.Set("x-reduct-error", printable(message))
	ctx.SetStatusCode(status)
}

func (t *Target) json(ctx *fasthttp.RequestCtx, body string) {
	ctx.SetContentType("application/json")
	ctx.SetBodyString(body)
}

// unreadable answers a request that fasthttp could not read: not HTTP, a header section over max_header, a sender that broke off. No
// status but 503 is safe, and which records it held cannot be told.
func (t *Target) unreadable(ctx *fasthttp.RequestCtx, err error) {
	var tooLong *fasthttp.ErrSmallBuffer
	if errors.As(err, &tooLong) {
		t.loud.warn("replication request with a header section over max_header; answered 503, the sender repeats it",
			"max_header", t.cfg.MaxHeader)
	} else {
		t.loud.warn("replication request that cannot be read", "err", err, "remote", ctx.RemoteAddr().String())
	}
	t.answer(ctx, fasthttp.StatusServiceUnavailable, "request cannot be read")
}

// patient reads a request's body and gives up when nothing comes for a while.
type patient struct{ ctx *fasthttp.RequestCtx }

func (p patient) Read(b []byte) (int, error) {
	body := p.ctx.RequestBodyStream()
	if body == nil {
		return 0, io.EOF
	}
	if err := p.ctx.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	return body.Read(b)
}

// printable makes s fit for a header value.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
