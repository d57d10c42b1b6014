package pcap

import (
	"fmt"
	"math/bits"
	"time"
)

// clock turns the timestamps of one interface into times: if_tsresol and
// if_tsoffset. The zero value counts seconds.
type clock struct {
	exp    uint8 // a tick is 10^-exp seconds, or 2^-exp if binary
	binary bool
	offset int64 // seconds to add
}

// The default resolution is microseconds, draft-ietf-opsawg-pcapng section
// 4.2; this package writes nanoseconds.
const (
	resolMicro = 6
	resolNano  = 9
)

// newClock decodes if_tsresol: the highest bit chooses the base, the others
// are the negative exponent.
func newClock(resol byte) clock {
	return clock{exp: resol & 0x7f, binary: resol&0x80 != 0}
}

// maxSeconds keeps a time far from where time.Time wraps: 9 million years.
const maxSeconds = 1 << 48

// time returns the time of a timestamp, cut to nanoseconds.
func (c clock) time(ticks uint64) (time.Time, error) {
	sec, nsec := c.split(ticks)
	if sec > maxSeconds || c.offset > maxSeconds || c.offset < -maxSeconds {
		return time.Time{}, fmt.Errorf("time %d s with offset %d s, want at most %d s", sec, c.offset, int64(maxSeconds))
	}
	return time.Unix(int64(sec)+c.offset, int64(nsec)).UTC(), nil
}

// split returns the whole seconds and the nanoseconds in ticks.
func (c clock) split(ticks uint64) (sec, nsec uint64) {
	if c.binary {
		sec = ticks >> c.exp // 0 from 2^-64 on
		hi, lo := bits.Mul64(ticks-sec<<c.exp, 1e9)
		if c.exp < 64 {
			return sec, hi<<(64-c.exp) | lo>>c.exp
		}
		return sec, hi >> (c.exp - 64)
	}
	if unit, ok := pow10(c.exp); ok {
		sec, ticks = ticks/unit, ticks%unit
	}
	if c.exp <= resolNano {
		unit, _ := pow10(resolNano - c.exp)
		return sec, ticks * unit
	}
	if unit, ok := pow10(c.exp - resolNano); ok {
		return sec, ticks / unit
	}
	return sec, 0
}

// pow10 returns 10^n, and false if that needs more than 64 bits.
func pow10(n uint8) (uint64, bool) {
	if n > 19 {
		return 0, false
	}
	v := uint64(1)
	for range n {
		v *= 10
	}
	return v, true
}

// nanoseconds returns t as a timestamp of resolution resolNano.
func nanoseconds(t time.Time) (uint64, error) {
	const last = (1<<64-1)/1_000_000_000 - 1 // a whole second that fits
	sec := t.Unix()
	if sec < 0 || sec > last {
		return 0, fmt.Errorf("time %s, want from 1970 to 2554", t.UTC().Format(time.RFC3339))
	}
	return uint64(sec)*1e9 + uint64(t.Nanosecond()), nil
}
