package netfilter

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// statisticMatch is -m statistic.
type statisticMatch struct {
	mode      string // random or nth
	threshold uint32 // random: probability in units of 2^-31, as the kernel holds it
	every     uint32 // nth
	packet    uint32
	hasProb   bool
	hasEvery  bool
	hasPacket bool
	neg       bool
}

// test draws 31 random bits, or counts. The counter lives per rule, starting so that packet number m.packet of each
// m.every matches (xt_statistic).
func (m *statisticMatch) test(e *eval, mem []uint64) bool {
	if m.mode == "random" {
		return (e.env.Uint32()&math.MaxInt32 < m.threshold) != m.neg
	}
	if mem[0]++; mem[0] >= uint64(m.every) {
		mem[0] = 0
	}
	return (mem[0] == 0) != m.neg
}

func (m *statisticMatch) impure() {}

func (m *statisticMatch) words() int {
	if m.mode == "nth" {
		return 1
	}
	return 0
}

func (m *statisticMatch) initial(mem []uint64, _ *eval) {
	if m.mode == "nth" {
		mem[0] = uint64(m.every) - 1 - uint64(m.packet)
	}
}

func (m *statisticMatch) appendTo(b []byte) []byte {
	b = append(append(b, " --mode "...), m.mode...)
	if m.mode == "random" {
		b = append(appendNot(b, m.neg), " --probability "...)
		return strconv.AppendFloat(b, float64(m.threshold)/(1<<31), 'f', 11, 64)
	}
	b = strconv.AppendUint(append(appendNot(b, m.neg), " --every "...), uint64(m.every), 10)
	return strconv.AppendUint(append(b, " --packet "...), uint64(m.packet), 10)
}

func (m *statisticMatch) finish(_ *Rule, name word) error {
	switch {
	case m.mode == "":
		return name.errorf("statistic needs --mode random or --mode nth")
	case m.mode == "random" && (!m.hasProb || m.hasEvery || m.hasPacket):
		return name.errorf("mode random needs --probability and nothing else")
	case m.mode == "nth" && (m.hasProb || !m.hasEvery || !m.hasPacket):
		return name.errorf("mode nth needs --every and --packet and nothing else")
	case m.mode == "nth" && m.packet >= m.every:
		return name.errorf("packet %d never comes in a round of %d, the first is 0", m.packet, m.every)
	}
	return nil
}

var statisticKind = &kind{"statistic", []option{
	opt("--mode", 1, false, func(m *statisticMatch, a arg) error {
		if m.mode = a.w[0].text; m.mode != "random" && m.mode != "nth" {
			return a.w[0].unknown("mode", []string{"random", "nth"})
		}
		return nil
	}),
	opt("--probability", 1, true, func(m *statisticMatch, a arg) error {
		f, err := strconv.ParseFloat(a.w[0].text, 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return a.w[0].errorf("not a probability, wanted 0 to 1")
		}
		m.threshold, m.hasProb, m.neg = uint32(math.Round(f*(1<<31))), true, a.neg
		return nil
	}),
	opt("--every", 1, true, func(m *statisticMatch, a arg) error {
		n, err := parseNumber(a.w[0], math.MaxUint32)
		if err == nil && n == 0 {
			err = a.w[0].errorf("every 0th packet, wanted 1 or more")
		}
		m.every, m.hasEvery, m.neg = uint32(n), true, a.neg
		return err
	}),
	opt("--packet", 1, false, func(m *statisticMatch, a arg) error {
		n, err := parseNumber(a.w[0], math.MaxUint32)
		m.packet, m.hasPacket = uint32(n), true
		return err
	}),
}, alike(statisticMatch{})}

// limitMatch is -m limit: a token bucket. The average is held as the kernel holds it, in units of 100 us per packet,
// which is why iptables prints 3000/sec back as 3333/sec.
type limitMatch struct {
	avg   uint32
	burst uint32
}

var limitUnits = []struct {
	name string
	mult uint32
}{{"sec", 10000}, {"min", 10000 * 60}, {"hour", 10000 * 60 * 60}, {"day", 10000 * 60 * 60 * 24}}

func (m *limitMatch) cost() int64 { return int64(m.avg) * int64(100*time.Microsecond) }

// test refills the bucket for the time that has passed and takes the price of one packet, if there. Time is exact
// where the kernel counts jiffies.
func (m *limitMatch) test(e *eval, mem []uint64) bool {
	now, limit := int64(e.env.Now()), m.cost()*int64(m.burst)
	credit := min(int64(mem[0])+now-int64(mem[1]), limit)
	mem[1] = uint64(now)
	ok := credit >= m.cost()
	if ok {
		credit -= m.cost()
	}
	mem[0] = uint64(credit)
	return ok
}

func (m *limitMatch) impure() {}

func (m *limitMatch) words() int { return 2 }

func (m *limitMatch) initial(mem []uint64, e *eval) {
	mem[0], mem[1] = uint64(m.cost()*int64(m.burst)), uint64(e.env.Now())
}

func (m *limitMatch) appendTo(b []byte) []byte {
	b = appendRate(append(b, " --limit "...), m.avg)
	if m.burst != defaultBurst {
		b = strconv.AppendUint(append(b, " --limit-burst "...), uint64(m.burst), 10)
	}
	return b
}

// appendRate prints a rate in the largest unit that does not lose much.
func appendRate(b []byte, avg uint32) []byte {
	unit := limitUnits[len(limitUnits)-1]
	for i := len(limitUnits) - 2; i >= 0; i-- {
		mult := limitUnits[i].mult
		if avg > mult || mult/avg < mult%avg {
			break
		}
		unit = limitUnits[i]
	}
	b = strconv.AppendUint(b, uint64(unit.mult/avg), 10)
	return append(append(b, '/'), unit.name...)
}

const defaultBurst = 5

var limitKind = &kind{"limit", []option{
	opt("--limit", 1, false, func(m *limitMatch, a arg) (err error) {
		m.avg, err = parseRate(a.w[0])
		return err
	}),
	opt("--limit-burst", 1, false, func(m *limitMatch, a arg) error {
		n, err := parseNumber(a.w[0], 10000)
		if err == nil && n == 0 {
			err = a.w[0].errorf("a burst of 0 never lets a packet pass")
		}
		m.burst = uint32(n)
		return err
	}),
}, of(limitMatch{avg: limitUnits[2].mult / 3, burst: defaultBurst})}

// parseRate reads N, N/s, N/min and so on; the unit may be any beginning of its long name.
func parseRate(w word) (uint32, error) {
	number, unit, hasUnit := strings.Cut(w.text, "/")
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 || hasUnit && unit == "" {
		return 0, w.errorf("not a rate, wanted for example 5/min")
	}
	mult := limitUnits[0].mult
	if hasUnit {
		i := 0
		for i < 4 && !beginsFold([]string{"second", "minute", "hour", "day"}[i], unit) {
			i++
		}
		if i == 4 {
			return 0, word{unit, w.col + len(number) + 1}.unknown("unit of time", []string{"second", "minute", "hour", "day"})
		}
		mult = limitUnits[i].mult
	}
	if n > uint64(mult) {
		return 0, w.errorf("faster than 10000/s, the most that the kernel can count")
	}
	return uint32(uint64(mult) / n), nil
}

func beginsFold(s, begin string) bool {
	return len(begin) <= len(s) && strings.EqualFold(s[:len(begin)], begin)
}
