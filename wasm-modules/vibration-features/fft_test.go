package main

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"
)

// The transform is what its definition says, for every length up to 70 and some longer ones.
func TestTransform(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	lengths := []int{96, 127, 128, 243, 256, 500, 512, 1000, 1024}
	for n := 1; n <= 70; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		x, r := make([]complex128, n), make([]float64, n)
		for i := range x {
			x[i] = complex(rnd.NormFloat64(), rnd.NormFloat64())
			r[i] = rnd.NormFloat64()
		}
		tr, got := newTransform(n), append([]complex128(nil), x...)
		for range 2 { // its tables are as they were
			copy(got, x)
			tr.forward(got)
		}
		real, into := newRealTransform(n), make([]complex128, n+1)
		copy(real.points(into), r)
		ofReal := real.forward(into)
		if len(ofReal) != n/2+1 {
			t.Fatalf("%d points: %d values of a real waveform, want %d", n, len(ofReal), n/2+1)
		}
		for k := range n {
			want, wantReal := complex128(0), complex128(0)
			for j := range n {
				w := cmplx.Rect(1, -2*math.Pi*float64(j*k%n)/float64(n))
				want += x[j] * w
				wantReal += complex(r[j], 0) * w
			}
			if d := cmplx.Abs(got[k] - want); d > 1e-11 {
				t.Fatalf("%d points, %d: %v, want %v", n, k, got[k], want)
			}
			if k <= n/2 && cmplx.Abs(ofReal[k]-wantReal) > 1e-11 {
				t.Fatalf("%d real points, %d: %v, want %v", n, k, ofReal[k], wantReal)
			}
		}
	}
}

func BenchmarkTransform(b *testing.B) {
	for _, n := range []int{4096, 4000, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t, into := newRealTransform(n), make([]complex128, n+1)
			for b.Loop() {
				clear(into) // numbers that grow from turn to turn would be no numbers soon
				t.points(into)[1] = 1
				t.forward(into)
			}
		})
	}
}
