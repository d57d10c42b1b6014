package text

import (
	"fmt"
	"time"
)

// Stamps writes the time in front of each packet, as tcpdump does. The zero value
// writes the time of day, in UTC, with microseconds.
type Stamps struct {
	// Style is how often -t was given: none at all, nothing, seconds since 1970,
	// the time since the packet before, date and time, the time since the first.
	Style int
	Nano  bool // nine digits instead of six

	first, last time.Time
}

// MaxStyle is the highest Style.
const MaxStyle = 5

// Next returns what stands in front of a packet of that time, a blank at its end
// included.
func (s *Stamps) Next(at time.Time) string {
	at = at.UTC()
	if s.first.IsZero() {
		s.first, s.last = at, at
	}
	since := at.Sub(s.last)
	s.last = at
	digits, unit := 6, time.Microsecond
	if s.Nano {
		digits, unit = 9, time.Nanosecond
	}
	fraction := func(ns int64) string { return fmt.Sprintf("%0*d", digits, ns/int64(unit)) }
	switch s.Style {
	case 1:
		return ""
	case 2:
		return fmt.Sprintf("%d.%s ", at.Unix(), fraction(int64(at.Nanosecond())))
	case 4:
		return at.Format("2006-01-02 15:04:05") + "." + fraction(int64(at.Nanosecond())) + " "
	case 3, 5:
		if s.Style == 5 {
			since = at.Sub(s.first)
		}
		sign := ""
		if since < 0 {
			sign, since = "-", -since
		}
		sec := int64(since / time.Second)
		return fmt.Sprintf("%s%02d:%02d:%02d.%s ", sign, sec/3600, sec/60%60, sec%60, fraction(int64(since%time.Second)))
	}
	return at.Format("15:04:05") + "." + fraction(int64(at.Nanosecond())) + " "
}
