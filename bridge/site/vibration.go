package site

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/sluicebridge/sluice/bridge"
)

// VibrationConfig says what the machine and its sensors are like. The zero value of a field stands for its default.
type VibrationConfig struct {
	Seed       uint64
	Site       string        // label site; default "plant-1"
	Sensors    int           // entries acc-1 to acc-N; default 4
	Start      time.Time     // of the first record; default 2026-01-01 UTC
	Interval   time.Duration // between two records of a sensor; default 450ms, which for 4 sensors is 32,000 records an hour
	SampleRate int           // Hz; default 25,600
	Samples    int           // float32 values of a record; default 4,096, a payload of 16 KiB
	Cycle      time.Duration // idle, ramp up, stable, ramp down, idle; default 1m
	Wear       float64       // g that the outer-race fault gains an hour; default 0.05
}

func (c VibrationConfig) withDefaults() VibrationConfig {
	if c.Site == "" {
		c.Site = "plant-1"
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	c.Sensors = orDefault(c.Sensors, 4)
	c.Interval = orDefault(c.Interval, 450*time.Millisecond)
	c.SampleRate = orDefault(c.SampleRate, 25_600)
	c.Samples = orDefault(c.Samples, 4096)
	c.Cycle = orDefault(c.Cycle, time.Minute)
	c.Wear = orDefault(c.Wear, 0.05)
	return c
}

func orDefault[T int | time.Duration | float64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Phase is what the machine is doing.
type Phase uint8

const (
	Idle Phase = iota
	RampUp
	Stable
	RampDown
)

// OuterRace is how often a ball passes a fault of the outer race in one turn of the shaft (9 balls, type 6205).
const OuterRace = 3.585

const (
	noiseLen = 1 << 14
	burstLen = 64 // samples that the ring of one impact lasts
	wearBase = 0.01
)

// Vibration is a machine with accelerometers on it. Every record is a pure function of the configuration and its place, so that any part of the
// site can be made again, in any order. It is safe for concurrent use.
type Vibration struct {
	cfg   VibrationConfig
	noise [noiseLen]float32
	burst [burstLen]float32
}

// NewVibration prepares a site.
func NewVibration(cfg VibrationConfig) *Vibration {
	v := &Vibration{cfg: cfg.withDefaults()}
	rnd := rand.New(rand.NewPCG(v.cfg.Seed, 0x5161))
	for i := range v.noise {
		v.noise[i] = float32(0.02 * rnd.NormFloat64())
	}
	for i := range v.burst {
		v.burst[i] = float32(math.Exp(-float64(i)/12) * math.Sin(2*math.Pi*3400*float64(i)/float64(v.cfg.SampleRate)))
	}
	return v
}

// Entries returns the names of the sensors' entries, sorted as the sender visits them.
func (v *Vibration) Entries() []string {
	names := make([]string, v.cfg.Sensors)
	for i := range names {
		names[i] = v.Entry(i)
	}
	return names
}

// Entry returns the name of a sensor's entry: acc-1 is sensor 0. Zero-padded where that keeps the names in order.
func (v *Vibration) Entry(sensor int) string {
	width := len(strconv.Itoa(v.cfg.Sensors))
	digits := strconv.Itoa(sensor + 1)
	return "acc-" + strings.Repeat("0", width-len(digits)) + digits
}

// Time returns the timestamp, in microseconds, of a sensor's i-th record. Timestamps of a sensor ascend.
func (v *Vibration) Time(sensor, i int) int64 {
	interval := v.cfg.Interval.Microseconds()
	jitter := int64(v.hash(uint64(sensor), uint64(i)) % uint64(interval/8+1))
	return v.cfg.Start.UnixMicro() + int64(i)*interval + int64(sensor)*interval/int64(2*v.cfg.Sensors) + jitter
}

// Until returns how many records of each sensor lie in the first d of the site's time.
func (v *Vibration) Until(d time.Duration) int {
	return int((d + v.cfg.Interval - 1) / v.cfg.Interval)
}

// Speed returns the shaft's speed in revolutions a minute at t microseconds, and what the machine is doing.
func (v *Vibration) Speed(t int64) (rpm float64, phase Phase) {
	since := max(t-v.cfg.Start.UnixMicro(), 0)
	cycle := v.cfg.Cycle.Microseconds()
	at := float64(since%cycle) / float64(cycle)
	target := 1200 + 100*float64(v.hash(0xC1C1E, uint64(since/cycle))%7)
	switch {
	case at < 0.05 || at >= 0.95:
		return 0, Idle
	case at < 0.2:
		return target * (at - 0.05) / 0.15, RampUp
	case at < 0.85:
		return target * (1 + 0.002*math.Sin(40*at)), Stable
	}
	return target * (0.95 - at) / 0.1, RampDown
}

// Fault returns the amplitude, in g, of the outer-race tone at t microseconds.
func (v *Vibration) Fault(t int64) float64 {
	hours := float64(t-v.cfg.Start.UnixMicro()) / float64(time.Hour/time.Microsecond)
	return wearBase + v.cfg.Wear*max(hours, 0)
}

// Read implements Store: any record of the site, made anew.
func (v *Vibration) Read(entry string, t int64) (bridge.Record, bool) {
	number, err := strconv.Atoi(strings.TrimPrefix(entry, "acc-"))
	if err != nil || number < 1 || number > v.cfg.Sensors || v.Entry(number-1) != entry {
		return bridge.Record{}, false
	}
	interval := v.cfg.Interval.Microseconds()
	i := int((t - v.Time(number-1, 0)) / interval)
	for _, at := range []int{i - 1, i, i + 1} { // the jitter moves a record by less than one interval
		if at >= 0 && v.Time(number-1, at) == t {
			return *v.Fill(new(Sample), number-1, at), true
		}
	}
	return bridge.Record{}, false
}

// Sample is the memory that one record lives in. Filled again, it holds another.
type Sample struct {
	record bridge.Record
	labels []bridge.Label
	text   []byte
	wave   []float32
}

// Fill makes a sensor's i-th record in s. The record is valid until s is filled again.
func (v *Vibration) Fill(s *Sample, sensor, i int) *bridge.Record {
	t := v.Time(sensor, i)
	rpm, phase := v.Speed(t)
	s.label(v, sensor, i, rpm, phase)
	v.signal(s, t, rpm, v.hash(uint64(sensor)<<32, uint64(i)))
	payload := s.record.Payload[:0]
	for _, x := range s.wave {
		payload = binary.LittleEndian.AppendUint32(payload, math.Float32bits(x))
	}
	s.record = bridge.Record{Time: t, ContentType: contentType, Labels: s.labels, Payload: payload}
	return &s.record
}

var contentType = []byte("application/octet-stream")

// label writes the labels sorted by name. prod_speed is there only while something is produced, as at the real site.
func (s *Sample) label(v *Vibration, sensor, i int, rpm float64, phase Phase) {
	s.labels, s.text = s.labels[:0], s.text[:0]
	status := "0"
	if phase == Idle {
		status = "1"
	}
	s.addText("axis", "xyz"[sensor%3:sensor%3+1])
	s.addText("device", "press-7")
	s.addText("line", "line-2")
	if phase != Idle {
		s.addFloat("prod_speed", rpm*0.12, 1)
	}
	s.addFloat("rpm", rpm, 1)
	s.addFloat("sample_rate", float64(v.cfg.SampleRate), 0)
	s.addText("sensor", v.Entry(sensor))
	s.addFloat("seq", float64(i), 0)
	s.addText("site", v.cfg.Site)
	s.addText("stable", strconv.FormatBool(phase == Stable))
	s.addText("status", status)
	s.addFloat("temperature", 40+rpm/100+float64(v.hash(uint64(sensor), uint64(i))%10)/10, 1)
	s.addText("unit", "g")
}

// addText adds a label. Views of s.text stay right when it grows: they keep what they were cut from.
func (s *Sample) addText(name, value string) {
	from := len(s.text)
	s.text = append(s.text, name...)
	mid := len(s.text)
	s.text = append(s.text, value...)
	s.labels = append(s.labels, bridge.Label{Name: s.text[from:mid:mid], Value: s.text[mid:len(s.text):len(s.text)]})
}

func (s *Sample) addFloat(name string, value float64, digits int) {
	var buf [32]byte
	s.addText(name, string(strconv.AppendFloat(buf[:0], value, 'f', digits, 64)))
}

// signal writes the waveform in g: the shaft's harmonics, the outer-race tone, the ring of each impact, and noise.
func (v *Vibration) signal(s *Sample, t int64, rpm float64, random uint64) {
	if cap(s.wave) < v.cfg.Samples {
		s.wave = make([]float32, v.cfg.Samples)
	}
	s.wave = s.wave[:v.cfg.Samples]
	at, step := random%noiseLen, random>>32|1
	for i := range s.wave {
		s.wave[i] = v.noise[(at+uint64(i)*step)%noiseLen]
	}
	if rpm == 0 {
		return
	}
	shaft, load, wear := rpm/60, (rpm/1500)*(rpm/1500), v.Fault(t)
	phase := float64(random%1000) / 1000
	for k, amplitude := range [...]float64{0.5, 0.2, 0.08} {
		v.tone(s.wave, shaft*float64(k+1), load*amplitude, phase)
	}
	v.tone(s.wave, shaft*OuterRace, wear, phase)
	v.tone(s.wave, shaft*OuterRace*2, wear/3, phase)
	v.impacts(s.wave, shaft*OuterRace, wear*4, phase)
}

// tone adds a sine. One rotation a sample instead of a call of math.Sin; float64 keeps the drift far below the noise.
func (v *Vibration) tone(wave []float32, hertz, amplitude, phase float64) {
	sin, cos := math.Sincos(2 * math.Pi * phase)
	dsin, dcos := math.Sincos(2 * math.Pi * hertz / float64(v.cfg.SampleRate))
	for i := range wave {
		wave[i] += float32(amplitude * sin)
		sin, cos = sin*dcos+cos*dsin, cos*dcos-sin*dsin
	}
}

// impacts adds what a ball does each time it passes the fault.
func (v *Vibration) impacts(wave []float32, hertz, amplitude, phase float64) {
	period := float64(v.cfg.SampleRate) / hertz
	for start := phase * period; int(start) < len(wave); start += period {
		for i, x := range v.burst[:min(burstLen, len(wave)-int(start))] {
			wave[int(start)+i] += float32(amplitude) * x
		}
	}
}

// hash mixes the seed with two numbers (splitmix64).
func (v *Vibration) hash(a, b uint64) uint64 {
	x := v.cfg.Seed ^ a*0x9E3779B97F4A7C15 ^ (b+1)*0xBF58476D1CE4E5B9
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
