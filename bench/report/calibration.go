package report

import (
	"fmt"
	"math"

	"github.com/podwire/podwire/bench/faceoff"
)

// calibration is the emulator held against theory.
type calibration struct {
	Rows    []calibrationRow
	Summary string
	Failed  []calibrationRow
}

type calibrationRow struct {
	faceoff.Calibration
	Measured, Theory, Error, Bound string
}

// newCalibration returns nil if nothing was compared.
func newCalibration(r *faceoff.Result) *calibration {
	if len(r.Calibration) == 0 {
		return nil
	}
	c := &calibration{}
	worst := 0.0
	for _, x := range r.Calibration {
		s := scaleFor(x.Unit, []float64{x.Measured, x.Theory})
		row := calibrationRow{x, s.text(x.Measured), s.text(x.Theory), percent(x.Error, 3), "±" + quantity(faceoff.Share, x.Bound)}
		c.Rows = append(c.Rows, row)
		row.Title = capital(x.Title)
		worst = max(worst, math.Abs(x.Error))
		if !x.Agrees {
			c.Failed = append(c.Failed, row)
		}
	}
	n := len(c.Rows)
	switch ok := n - len(c.Failed); {
	case ok == n:
		c.Summary = fmt.Sprintf("All %d figures agree with theory. The largest error is %s.", n, quantity(faceoff.Share, worst))
	default:
		c.Summary = fmt.Sprintf("%d of %d figures agree with theory; %d do not. The largest error is %s.", ok, n, len(c.Failed), quantity(faceoff.Share, worst))
	}
	return c
}
