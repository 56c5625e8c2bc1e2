package main

import (
	"math"
	"math/bits"
	"unsafe"
)

// transform is the discrete Fourier transform of n points, X[k] = sum of x[j] exp(-2 pi i j k / n), not scaled, for any n. It keeps its tables and
// the memory it works in; none of its methods allocates.
type transform struct {
	n     int
	roots []complex128 // exp(-2 pi i k / n)
	work  []complex128
	// Where n is no power of two the transform is a convolution (Bluestein), made by another one whose n is.
	inner         *transform
	chirp, filter []complex128
}

func newTransform(n int) *transform {
	t := &transform{n: n, work: make([]complex128, n)}
	if n&(n-1) == 0 {
		t.roots = roots(n)
		return t
	}
	m := 1 << bits.Len(uint(2*n-2)) // 2n-1 or more
	t.inner, t.work = newTransform(m), make([]complex128, m)
	t.chirp, t.filter = make([]complex128, n), make([]complex128, m)
	half := roots(2 * n)
	for k := range n {
		c := half[k*k%(2*n)] // exp(-pi i k k / n), of an angle that is not large
		t.chirp[k] = c
		t.filter[k] = complex(real(c), -imag(c))
		t.filter[(m-k)%m] = t.filter[k]
	}
	t.inner.forward(t.filter)
	return t
}

// sizeOfTransform is how many bytes newTransform takes, those that it needs for a while included.
func sizeOfTransform(n int) int {
	if n&(n-1) == 0 {
		return 32 * n
	}
	m := 1 << bits.Len(uint(2*n-2))
	return sizeOfTransform(m) + 32*m + (16+32)*n
}

// roots are exp(-2 pi i k / n) for k below n: products of 2 sqrt(n) that are computed, as the sine of a guest costs twenty multiplications.
func roots(n int) []complex128 {
	const fine = 64
	all, low := make([]complex128, n), [fine]complex128{}
	root := func(k int) complex128 {
		sin, cos := math.Sincos(-2 * math.Pi * float64(k) / float64(n))
		return complex(cos, sin)
	}
	for k := range low {
		low[k] = root(k)
	}
	for from := 0; from < n; from += fine {
		high := root(from)
		part := all[from:min(from+fine, n)]
		for k := range part {
			part[k] = high * low[k]
		}
	}
	return all
}

// forward transforms x, of n points, in place.
func (t *transform) forward(x []complex128) {
	if t.inner != nil {
		t.convolve(x)
		return
	}
	// Stockham: four parts of x are combined a stage, to and fro between x and work, without a permutation at the end.
	from, to := x[:t.n], t.work
	n, stride := t.n, 1
	for ; n >= 4; n, stride = n/4, stride*4 {
		if stride == 1 {
			t.first(from, to)
		} else {
			t.stage(from, to, n, stride)
		}
		from, to = to, from
	}
	if n == 2 {
		low, high := from[:stride], from[stride:2*stride]
		sum, difference := to[:len(low)], to[stride:stride+len(low)]
		for i, a := range low {
			b := high[i]
			sum[i], difference[i] = a+b, a-b
		}
		from, to = to, from
	}
	if &from[0] != &x[0] {
		copy(x, from)
	}
}

// first is the stage of stride 1.
func (t *transform) first(from, to []complex128) {
	n := len(from) / 4
	a := from[:n]
	b, c, d, roots := from[n:][:len(a)], from[2*n:][:len(a)], from[3*n:][:len(a)], t.roots[:len(a)]
	for p := range a {
		w := roots[p]
		w2 := w * w
		to4 := to[4*p : 4*p+4 : 4*p+4]
		sum, difference := a[p]+c[p], a[p]-c[p]
		cross, turned := b[p]+d[p], b[p]-d[p]
		turned = complex(-imag(turned), real(turned)) // times i
		to4[0] = sum + cross
		to4[1] = w * (difference - turned)
		to4[2] = w2 * (sum - cross)
		to4[3] = w2 * w * (difference + turned)
	}
}

func (t *transform) stage(from, to []complex128, n, stride int) {
	quarter := stride * n / 4
	for p := range n / 4 {
		w := t.roots[p*stride]
		w2 := w * w
		w3 := w2 * w
		at := stride * p
		a := from[at : at+stride] // that all are as long as this one spares their checks
		b, c, d := from[at+quarter:][:len(a)], from[at+2*quarter:][:len(a)], from[at+3*quarter:][:len(a)]
		to0 := to[4*at:][:len(a)]
		to1, to2, to3 := to[4*at+stride:][:len(a)], to[4*at+2*stride:][:len(a)], to[4*at+3*stride:][:len(a)]
		for q := range a {
			sum, difference := a[q]+c[q], a[q]-c[q]
			cross, turned := b[q]+d[q], b[q]-d[q]
			turned = complex(-imag(turned), real(turned))
			to0[q] = sum + cross
			to1[q] = w * (difference - turned)
			to2[q] = w2 * (sum - cross)
			to3[q] = w3 * (difference + turned)
		}
	}
}

// convolve is Bluestein's way: jk = (j*j + k*k - (k-j)*(k-j)) / 2 makes the sum a convolution of x with a chirp.
func (t *transform) convolve(x []complex128) {
	work := t.work
	for k, c := range t.chirp {
		work[k] = x[k] * c
	}
	clear(work[t.n:])
	t.inner.forward(work)
	for k, f := range t.filter { // the inverse transform is the conjugate of that of the conjugate
		v := work[k] * f
		work[k] = complex(real(v), -imag(v))
	}
	t.inner.forward(work)
	scale := 1 / float64(len(work))
	for k, c := range t.chirp {
		v := work[k]
		x[k] = complex(real(v)*scale, -imag(v)*scale) * c
	}
}

// realTransform is that of n real points: of n/2 complex ones, where n is even.
type realTransform struct {
	n     int
	whole *transform
	roots []complex128 // of n
}

func newRealTransform(n int) *realTransform {
	t := &realTransform{n: n, roots: roots(n)}
	if n%2 == 0 {
		t.whole = newTransform(n / 2)
	} else {
		t.whole = newTransform(n)
	}
	return t
}

// points are where the waveform is put for forward, which needs n + 1 complex numbers: two points lie where one of those does.
func (t *realTransform) points(x []complex128) []float64 {
	return unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(x))), t.n)
}

// forward turns the points in x into the n/2+1 values of the frequencies from 0 up.
func (t *realTransform) forward(into []complex128) []complex128 {
	n, half := t.n, t.n/2
	if n%2 == 1 {
		x := t.points(into)
		for i := n - 1; i >= 0; i-- {
			into[i] = complex(x[i], 0) // which point 2 i + 1 was, or lay behind the last
		}
		t.whole.forward(into[:n])
		return into[:half+1]
	}
	t.whole.forward(into[:half])
	into[half] = into[0]
	for k, m := 0, half; k <= m; k, m = k+1, m-1 {
		a, b := into[k], into[m]
		even := complex((real(a)+real(b))*0.5, (imag(a)-imag(b))*0.5)
		odd := complex((imag(a)+imag(b))*0.5, (real(b)-real(a))*0.5) * t.roots[k]
		into[k] = even + odd
		into[m] = complex(real(even)-real(odd), imag(odd)-imag(even))
	}
	return into[:half+1]
}
