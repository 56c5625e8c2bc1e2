package main

import (
	"errors"
	"math"

	sluice "github.com/sluicebridge/sluice/wasm-modules/sdk/go"
)

// readBearing reads a bearing's frequencies, as multiples of the shaft's, or computes them from its geometry: of one whose inner ring turns, and
// whose balls do not slip.
func (s *settings) readBearing(config sluice.JSON) (err error) {
	given := make(map[string]float64)
	config.Get("bearing").Members(func(key, value sluice.JSON) bool {
		v, ok := value.Float()
		switch key.Text() {
		case "balls", "ball", "pitch", "bpfo", "bpfi", "bsf", "ftf":
			ok = ok && v > 0
		case "angle":
			ok = ok && v >= 0 && v < 90
		default:
			ok = false
		}
		if !ok {
			err = errors.New("bearing: " + key.Text() + " = " + string(value) + ", want balls, ball, pitch and angle, or bpfo, bpfi, bsf, ftf, each a number above 0")
		}
		given[key.Text()] = v
		return err == nil
	})
	if err != nil || len(given) == 0 {
		return err
	}
	orders := [...]line{{name: "bpfo"}, {name: "bpfi"}, {name: "bsf"}, {name: "ftf"}}
	if balls, ball, pitch := given["balls"], given["ball"], given["pitch"]; balls > 0 && ball > 0 && pitch > ball {
		ratio := ball / pitch * math.Cos(given["angle"]*math.Pi/180)
		orders[0].order, orders[1].order = balls/2*(1-ratio), balls/2*(1+ratio)
		orders[2].order, orders[3].order = pitch/(2*ball)*(1-ratio*ratio), (1-ratio)/2
	} else if balls > 0 || ball > 0 || pitch > 0 {
		return errors.New("bearing: want balls, ball and pitch, the last greater than ball")
	}
	for _, l := range orders {
		if order, is := given[l.name]; is {
			l.order = order
		}
		if l.order > 0 {
			s.bearing = append(s.bearing, l)
		}
	}
	return nil
}
