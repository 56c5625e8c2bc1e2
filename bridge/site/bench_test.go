package site

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// null answers 204 to whatever comes, as cheaply as can be: what is measured is the load generator.
func null(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go swallow(c)
		}
	}()
	return "http://" + listener.Addr().String()
}

func swallow(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	for length := 0; ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if digits, ok := bytes.CutPrefix(line, []byte("content-length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(digits)))
		}
		if len(line) == 2 {
			if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	report, err := RunLoad(b.Context(), LoadConfig{Target: null(b), Bucket: "far", Connections: 2, Duration: time.Duration(b.N) * 2 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(report.PerSecond(), "records/s")
}

func BenchmarkSender(b *testing.B) {
	site := NewVibration(VibrationConfig{Samples: 50})
	s, err := NewSender(SenderConfig{Target: null(b), Bucket: "far"}, site)
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		s.Notify("acc-1", site.Time(0, i), false)
	}
	b.ResetTimer()
	for state := Synced; state != Nothing; {
		if state, err = s.Pass(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
