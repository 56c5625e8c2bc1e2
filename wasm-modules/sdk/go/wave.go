package sluice

import (
	"math"
	"unsafe"
)

// F32 returns a payload as float32 values. A payload lies so that it can be read where it is; one that does not is copied. Bytes beyond the
// last whole value are left out.
func F32(payload []byte) []float32 { return view[float32](payload) }

// F64 returns a payload as float64 values.
func F64(payload []byte) []float64 { return view[float64](payload) }

// I16 returns a payload as int16 values.
func I16(payload []byte) []int16 { return view[int16](payload) }

// view is right on little-endian machines, as WebAssembly is.
func view[T float32 | float64 | int16](payload []byte) []T {
	size := int(unsafe.Sizeof(T(0)))
	n := len(payload) / size
	if n == 0 {
		return nil
	}
	if uintptr(unsafe.Pointer(&payload[0]))%uintptr(size) == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(&payload[0])), n)
	}
	moved := make([]T, n)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&moved[0])), n*size), payload)
	return moved
}

// Features of a waveform. Those of an empty one are 0; those that cannot be had (a NaN in the waveform, kurtosis of a constant) are NaN.
type Features struct {
	Count     int
	Mean, RMS float64
	Peak      float64 // largest magnitude
	Crest     float64 // peak / RMS
	Skewness  float64 // third moment about the mean / that of the second to the power of 3/2: of what is symmetric 0
	Kurtosis  float64 // of normal noise 3
}

// FeaturesF32 goes over the waveform once for the moments and once for the peak.
func FeaturesF32(wave []float32) Features {
	if len(wave) == 0 {
		return Features{}
	}
	origin := float64(wave[0])
	return features(len(wave), origin, peakF32(wave), sums(wave, origin))
}

// FeaturesF64 is FeaturesF32 for doubles.
func FeaturesF64(wave []float64) Features {
	if len(wave) == 0 {
		return Features{}
	}
	return features(len(wave), wave[0], peakF64(wave), sums(wave, wave[0]))
}

// sums are those of (v-origin)^1 to ^4: about 0 the moments would cancel out in a signal with a large constant part. Eight values a turn: in a metered
// guest the turn of a loop costs as much as what is done in it.
func sums[T float32 | float64](wave []T, origin float64) [4]float64 {
	var s1, s2, s3, s4 float64
	rest := wave
	for ; len(rest) >= 8; rest = rest[8:] {
		v := (*[8]T)(rest)
		a, b, c, d := float64(v[0])-origin, float64(v[1])-origin, float64(v[2])-origin, float64(v[3])-origin
		qa, qb, qc, qd := a*a, b*b, c*c, d*d
		s1 += (a + b) + (c + d)
		s2 += (qa + qb) + (qc + qd)
		s3 += (qa*a + qb*b) + (qc*c + qd*d)
		s4 += (qa*qa + qb*qb) + (qc*qc + qd*qd)
		a, b, c, d = float64(v[4])-origin, float64(v[5])-origin, float64(v[6])-origin, float64(v[7])-origin
		qa, qb, qc, qd = a*a, b*b, c*c, d*d
		s1 += (a + b) + (c + d)
		s2 += (qa + qb) + (qc + qd)
		s3 += (qa*a + qb*b) + (qc*c + qd*d)
		s4 += (qa*qa + qb*qb) + (qc*qc + qd*qd)
	}
	for _, v := range rest {
		d := float64(v) - origin
		q := d * d
		s1 += d
		s2 += q
		s3 += q * d
		s4 += q * q
	}
	return [4]float64{s1, s2, s3, s4}
}

// peakF32 compares magnitudes as integers, which order like the numbers they stand for and cost a fourth of a comparison of floats.
func peakF32(wave []float32) float64 {
	bits := unsafe.Slice((*uint32)(unsafe.Pointer(&wave[0])), len(wave))
	const magnitude = 0x7fffffff
	top := uint32(0)
	for ; len(bits) >= 8; bits = bits[8:] {
		v := (*[8]uint32)(bits)
		top = max(top, v[0]&magnitude, v[1]&magnitude, v[2]&magnitude, v[3]&magnitude, v[4]&magnitude, v[5]&magnitude, v[6]&magnitude, v[7]&magnitude)
	}
	for _, b := range bits {
		top = max(top, b&magnitude)
	}
	return float64(math.Float32frombits(top))
}

func peakF64(wave []float64) float64 {
	bits := unsafe.Slice((*uint64)(unsafe.Pointer(&wave[0])), len(wave))
	const magnitude = 1<<63 - 1
	top := uint64(0)
	for ; len(bits) >= 8; bits = bits[8:] {
		v := (*[8]uint64)(bits)
		top = max(top, v[0]&magnitude, v[1]&magnitude, v[2]&magnitude, v[3]&magnitude, v[4]&magnitude, v[5]&magnitude, v[6]&magnitude, v[7]&magnitude)
	}
	for _, b := range bits {
		top = max(top, b&magnitude)
	}
	return math.Float64frombits(top)
}

// FeaturesI16 is FeaturesF32 for integers, each multiplied by scale.
func FeaturesI16(wave []int16, scale float64) Features {
	if len(wave) == 0 {
		return Features{}
	}
	origin, top := int64(wave[0]), int64(0)
	var s1, s2, s3, s4 float64
	for _, v := range wave {
		top = max(top, int64(v), -int64(v))
		d := float64(int64(v) - origin)
		q := d * d
		s1 += d
		s2 += q
		s3 += q * d
		s4 += q * q
	}
	f := features(len(wave), float64(origin), float64(top), [4]float64{s1, s2, s3, s4})
	f.Mean, f.RMS, f.Peak = f.Mean*scale, f.RMS*math.Abs(scale), f.Peak*math.Abs(scale)
	f.Skewness = math.Copysign(f.Skewness, f.Skewness*scale)
	return f
}

// features makes them of the sums of (v-origin)^1 to ^4.
func features(count int, origin, peak float64, sums [4]float64) Features {
	n := float64(count)
	m1, m2, m3, m4 := sums[0]/n, sums[1]/n, sums[2]/n, sums[3]/n
	variance := max(m2-m1*m1, 0)
	third := m3 - 3*m1*m2 + 2*m1*m1*m1
	fourth := m4 - 4*m1*m3 + 6*m1*m1*m2 - 3*m1*m1*m1*m1
	mean := origin + m1
	f := Features{Count: count, Mean: mean, RMS: math.Sqrt(variance + mean*mean), Peak: peak}
	f.Crest = f.Peak / f.RMS
	f.Skewness = third / (variance * math.Sqrt(variance))
	f.Kurtosis = fourth / (variance * variance)
	if math.IsNaN(f.RMS) {
		f.Peak = math.NaN()
	}
	return f
}
