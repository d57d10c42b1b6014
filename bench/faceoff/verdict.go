package faceoff

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// verdict says in words what the figures say. Every sentence is computed.
func verdict(r *Result) []string {
	var list []string
	best := r.lightest()
	var prices []string
	who := make(map[string][]string)
	for _, d := range r.Designs {
		if p := r.price(d.Name, best); p != "" {
			if who[p] == nil {
				prices = append(prices, p)
			}
			who[p] = append(who[p], d.Name)
		}
	}
	for _, p := range prices {
		list = append(list, fmt.Sprintf("%s %s %s", and(who[p]), verb(who[p], "costs", "cost"), p))
	}
	for _, s := range []string{r.alike(best), r.slowFirst(), r.cut(), r.reserve(), r.recoveries(), r.disagreements()} {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

// lightest returns the design with the highest goodput, the first of equals; if
// none has one, that which adds least.
func (r *Result) lightest() string {
	for _, id := range []string{"goodput", "goodput-10g", "encapsulation"} {
		m := r.Find(id)
		best, at := 0.0, ""
		for _, d := range r.Designs {
			v := m.Of(d.Name)
			if v == nil {
				continue
			}
			if at == "" || m.Better == Higher && *v > best*(1+nothing) || m.Better == Lower && *v < best {
				best, at = *v, d.Name
			}
		}
		if at != "" {
			return at
		}
	}
	return ""
}

// nothing is a difference too small to speak of.
const nothing = 0.0005

// price is what a design costs against the best one, the rest of a sentence.
func (r *Result) price(design, best string) string {
	if design == best || best == "" {
		return ""
	}
	cost, ok := r.cost("goodput", design, best)
	if !ok || math.Abs(cost) < nothing {
		return ""
	}
	s := fmt.Sprintf("%s goodput against %s at MTU %d", percent(cost), best, r.Settings.MTU)
	if jumbo, ok := r.cost("goodput-9000", design, best); ok && r.Settings.MTU != 9000 {
		switch {
		case math.Abs(jumbo) < nothing:
			s += ", nothing at MTU 9000"
		default:
			s += fmt.Sprintf(", %s at MTU 9000", percent(jumbo))
		}
	}
	if e, b := r.Find("encapsulation").Of(design), r.Find("encapsulation").Of(best); e != nil && b != nil && *e != *b {
		s += fmt.Sprintf(": each packet has %s more", Text(*e-*b, Bytes))
	}
	if core, ok := r.cost("goodput-core", design, best); ok && math.Abs(core) >= nothing {
		word := "less"
		if core < 0 {
			word = "more"
		}
		s += fmt.Sprintf("; a core moves %s %s", percent(math.Abs(core)), word)
	}
	return s + "."
}

// percent prints a share with two digits that count.
func percent(share float64) string { return digits(100*share, 2) + " %" }

// cost is how much less a design reaches, as a share.
func (r *Result) cost(id, design, best string) (float64, bool) {
	m := r.Find(id)
	v, b := m.Of(design), m.Of(best)
	if v == nil || b == nil || *b == 0 {
		return 0, false
	}
	return 1 - *v / *b, true
}

// alike names the designs that cost nothing.
func (r *Result) alike(best string) string {
	var same []string
	for _, d := range r.Designs {
		if cost, ok := r.cost("goodput", d.Name, best); ok && d.Name != best && math.Abs(cost) < nothing {
			same = append(same, d.Name)
		}
	}
	if len(same) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s as much goodput as %s.", and(same), verb(same, "has", "have"), best)
}

// slowFirst names the designs whose first connection takes clearly longer than
// that of most.
func (r *Result) slowFirst() string {
	m := r.Find("connect-cold")
	var times []float64
	for _, d := range r.Designs {
		if v := m.Of(d.Name); v != nil {
			times = append(times, *v)
		}
	}
	if len(times) < 2 {
		return ""
	}
	usual := lowMedian(times)
	var slow []string
	for _, d := range r.Designs {
		if v := m.Of(d.Name); v != nil && *v > 1.2*usual {
			slow = append(slow, fmt.Sprintf("under %s %s", d.Name, Text(*v, Seconds)))
		}
	}
	if len(slow) == 0 {
		return ""
	}
	return fmt.Sprintf("The very first connection usually takes %s, %s.", Text(usual, Seconds), and(slow))
}

// cut names the designs that fragment a datagram of full size.
func (r *Result) cut() string {
	var names []string
	for _, d := range r.Designs {
		if n := r.Find("frames-datagram").Of(d.Name); n != nil && *n > 1.01 {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("A UDP datagram of %d bytes, which fits the underlay, is cut into fragments by %s.", r.Settings.MTU-28, and(names))
}

// reserve names the designs whose pods could have a larger MTU.
func (r *Result) reserve() string {
	var list []string
	for _, d := range r.Designs {
		mtu, e := r.Find("mtu").Of(d.Name), r.Find("encapsulation").Of(d.Name)
		if mtu == nil || e == nil {
			continue
		}
		if spare := float64(r.Settings.MTU) - *mtu - *e; spare > 0 {
			list = append(list, fmt.Sprintf("%s (%s)", d.Name, Text(spare, Bytes)))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("The MTU of pods is lower than the encapsulation asks for under %s.", and(list))
}

// recoveries compares how long it takes until packets flow again.
func (r *Result) recoveries() string {
	m := r.Find("recover-node")
	var slow, never []string
	least := math.Inf(1)
	for _, d := range r.Designs {
		if v := m.Of(d.Name); v != nil {
			least = min(least, *v)
		}
	}
	if m == nil || math.IsInf(least, 1) {
		return ""
	}
	for _, v := range m.Values {
		switch {
		case v.Value == nil:
			never = append(never, v.Design)
		case *v.Value > 2*least:
			slow = append(slow, fmt.Sprintf("%s after %s", v.Design, Text(*v.Value, Seconds)))
		}
	}
	s := fmt.Sprintf("After a node has crashed and booted, its new pod answers within %s", Text(least, Seconds))
	if len(slow) > 0 {
		s += "; under " + and(slow)
	}
	if len(never) > 0 {
		s += "; under " + and(never) + " not in time"
	}
	return s + "."
}

// disagreements names what theory does not confirm.
func (r *Result) disagreements() string {
	var off []string
	for _, c := range r.Calibration {
		if !c.Agrees {
			off = append(off, fmt.Sprintf("%s of %s", c.Title, c.Design))
		}
	}
	if len(off) == 0 {
		if len(r.Calibration) == 0 {
			return ""
		}
		return fmt.Sprintf("All %d figures that theory can tell agree with it.", len(r.Calibration))
	}
	return fmt.Sprintf("%d of %d figures that theory can tell do not agree with it: %s.", len(off), len(r.Calibration), and(off))
}

// and joins words as a sentence does.
func and(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(slices.Clone(words[:n-1]), ", ") + " and " + words[n-1]
	}
}

func verb(subjects []string, one, many string) string {
	if len(subjects) == 1 {
		return one
	}
	return many
}
