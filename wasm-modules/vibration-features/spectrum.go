package main

import "math"

// spectrum is what is computed of waveforms of one length, with the tables and the memory for it.
type spectrum struct {
	n         int
	transform *realTransform
	window    []float64
	sum       float64      // of the window
	squares   float64      // of the window's squares
	values    []complex128 // first the points, then the values of the frequencies from 0 up
	envelope  *transform   // nil: none is wanted
	analytic  []complex128
	carrier   []float64
}

// newSpectrum makes one for n points, with the window hann (periodic, as for spectra) or, without, boxcar.
func newSpectrum(n int, hann, envelope bool) *spectrum {
	s := &spectrum{n: n, transform: newRealTransform(n), window: make([]float64, n), values: make([]complex128, n+1)}
	if envelope {
		s.envelope, s.analytic, s.carrier = newTransform(n), make([]complex128, n), make([]float64, n)
	}
	for i, root := range s.transform.roots {
		w := 1.0
		if hann {
			w = 0.5 - 0.5*real(root)
		}
		s.window[i] = w
		s.sum += w
		s.squares += w * w
	}
	return s
}

// sizeOfSpectrum is how many bytes newSpectrum takes, and the waveform itself.
func sizeOfSpectrum(n int, envelope bool) int {
	size := sizeOfTransform(n) + (8+16+16+8)*n
	if n%2 == 0 {
		size = sizeOfTransform(n/2) + (8+16+16+8)*n
	}
	if envelope {
		size += sizeOfTransform(n) + (16+8)*n
	}
	return size
}

// of transforms a waveform without its mean, and with a window unless it is nil.
func (s *spectrum) of(x []float64, mean float64, window []float64) []complex128 {
	to := s.transform.points(s.values)
	if window == nil {
		for ; len(x) >= 4 && len(to) >= 4; x, to = x[4:], to[4:] {
			v, into := (*[4]float64)(x), (*[4]float64)(to)
			into[0], into[1], into[2], into[3] = v[0]-mean, v[1]-mean, v[2]-mean, v[3]-mean
		}
		for i, v := range x {
			to[i] = v - mean
		}
		return s.transform.forward(s.values)
	}
	for ; len(x) >= 4 && len(to) >= 4 && len(window) >= 4; x, to, window = x[4:], to[4:], window[4:] {
		v, into, w := (*[4]float64)(x), (*[4]float64)(to), (*[4]float64)(window)
		into[0], into[1], into[2], into[3] = (v[0]-mean)*w[0], (v[1]-mean)*w[1], (v[2]-mean)*w[2], (v[3]-mean)*w[3]
	}
	for i, v := range x {
		to[i] = (v - mean) * window[i]
	}
	return s.transform.forward(s.values)
}

// energy is the mean square of what a waveform has in the lines [from, to): the integral of its power spectral density there.
func (s *spectrum) energy(values []complex128, from, to int) float64 {
	to = min(to, len(values))
	if from >= to {
		return 0
	}
	sum := 0.0
	band := values[from:to]
	for ; len(band) >= 4; band = band[4:] {
		v := (*[4]complex128)(band)
		sum += (power(v[0]) + power(v[1])) + (power(v[2]) + power(v[3]))
	}
	for _, v := range band {
		sum += power(v)
	}
	sum *= 2 // every line stands for its negative frequency, too, but these
	if from == 0 {
		sum -= power(values[0])
	}
	if s.n%2 == 0 && to == len(values) {
		sum -= power(values[to-1])
	}
	return sum / (s.squares * float64(s.n))
}

func power(v complex128) float64 { return real(v)*real(v) + imag(v)*imag(v) }

// demodulate returns the envelope of what a waveform has in the lines [from, to), the magnitude of its analytic signal, and the envelope's mean.
func (s *spectrum) demodulate(x []float64, mean float64, from, to int) (envelope []float64, its float64) {
	values := s.of(x, mean, nil)
	clear(s.analytic)
	to = min(to, len(values))
	for k := from; k < to; k++ {
		v := values[k] // the inverse transform is the conjugate of that of the conjugate
		s.analytic[k] = complex(2*real(v), -2*imag(v))
	}
	s.analytic[0] *= 0.5 // it and the one at half the rate have no negative frequency
	if s.n%2 == 0 {
		s.analytic[s.n/2] *= 0.5
	}
	s.envelope.forward(s.analytic)
	sum, scale := 0.0, 1/float64(s.n)
	for i, v := range s.analytic {
		magnitude := math.Sqrt(power(v)) * scale
		s.carrier[i] = magnitude
		sum += magnitude
	}
	return s.carrier, sum * scale
}

// peak is the largest amplitude of the lines [from, to) and its line: of a sine just on it, the sine's own.
func (s *spectrum) peak(values []complex128, from, to int) (amplitude float64, line int) {
	top := -1.0
	for k := from; k < to; k++ {
		if p := power(values[k]); p > top || p != p {
			top, line = p, k
		}
	}
	return 2 * math.Sqrt(top) / s.sum, line
}
