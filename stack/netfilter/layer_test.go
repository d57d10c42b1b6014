package netfilter

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// model is the simplest thing that behaves like a table under iptables-restore --noflush.
type model map[string][]string

// play carries out a script whose lines are of the forms :C -, -A C ..., -F C and -X C. It returns false, and leaves
// the model half changed, where the script is wrong.
func (m model) play(lines []string) bool {
	for _, line := range lines {
		f := strings.Fields(line)
		if f[0][0] == ':' {
			m[f[0][1:]] = nil
			continue
		}
		rules, ok := m[f[1]]
		switch {
		case !ok, f[0] == "-X" && len(rules) > 0:
			return false
		case f[0] == "-A":
			m[f[1]] = append(rules, line)
		case f[0] == "-F":
			m[f[1]] = nil
		case f[0] == "-X":
			delete(m, f[1])
		}
	}
	for _, rules := range m {
		for _, rule := range rules {
			f := strings.Fields(rule)
			if to := f[len(f)-1]; to[0] == 'C' {
				if _, ok := m[to]; !ok {
					return false
				}
			}
		}
	}
	return true
}

func (m model) save() string {
	var b strings.Builder
	b.WriteString("*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n")
	names := sortedKeys(m)
	for _, name := range names[:len(names)-1] { // PREROUTING sorts behind C0 to C9
		b.WriteString(":" + name + " - [0:0]\n")
	}
	for _, name := range append([]string{"PREROUTING"}, names[:len(names)-1]...) {
		for _, rule := range m[name] {
			b.WriteString(rule + "\n")
		}
	}
	return b.String() + "COMMIT\n"
}

func (m model) clone() model {
	c := make(model)
	for k, v := range m {
		c[k] = slices.Clone(v)
	}
	return c
}

// walk lists the rules that a packet from an interface matches. An ACCEPT ends it.
func (m model) walk(chain, in string) (path []string) {
	for _, rule := range m[chain] {
		f := strings.Fields(rule)
		if strings.Contains(rule, " -i ") && !strings.Contains(rule, " -i "+in+" ") {
			continue
		}
		path = append(path, rule)
		if to := f[len(f)-1]; to != "ACCEPT" {
			path = append(path, m.walk(to, in)...)
		}
		if strings.HasSuffix(path[len(path)-1], "ACCEPT") {
			break
		}
	}
	return path
}

var counters = regexp.MustCompile(`\[\d+:\d+\]`)

// randomScript declares, fills, empties and deletes chains. Jumps go upwards only, so there are no circles.
func randomScript(rng *rand.Rand) []string {
	var lines []string
	name := func() int { return rng.IntN(8) }
	for range rng.IntN(6) {
		lines = append(lines, fmt.Sprintf(":C%d -", name()))
	}
	for range rng.IntN(8) {
		c := name()
		switch rng.IntN(9) {
		case 0:
			lines = append(lines, fmt.Sprintf("-X C%d", c))
		case 1:
			lines = append(lines, fmt.Sprintf("-F C%d", c))
		case 2:
			lines = append(lines, fmt.Sprintf("-A PREROUTING -j C%d", c))
		case 3, 4:
			lines = append(lines, fmt.Sprintf("-A C%d -i eth%d -j C%d", c, rng.IntN(3), c+1+rng.IntN(2)))
		default:
			lines = append(lines, fmt.Sprintf("-A C%d -i eth%d -j ACCEPT", c, rng.IntN(3)))
		}
	}
	return lines
}

// TestLayersActLikeTables applies random scripts to rulesets that share chains, each to two of them that differ, and
// compares with the model, also when a script is refused.
func TestLayersActLikeTables(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	taken := 0
	for range 400 {
		hosts, models := []*Ruleset{New(), New()}, []model{{"PREROUTING": nil}, {"PREROUTING": nil}}
		for range 12 {
			lines := randomScript(rng)
			s, err := Parse("*mangle\n" + strings.Join(lines, "\n") + "\nCOMMIT\n")
			if err != nil {
				t.Fatal(err)
			}
			skip := rng.IntN(6) // now and then only one of the two hosts gets it
			for i, r := range hosts {
				if i == skip {
					continue
				}
				after := models[i].clone()
				want := after.play(lines)
				err := r.Apply(s, RestoreOptions{NoFlush: true})
				if (err == nil) != want {
					t.Fatalf("host %d: error %v, want taken %v\nbefore\n%s\nscript\n%s", i, err, want, models[i].save(), strings.Join(lines, "\n"))
				}
				if want {
					models[i] = after
					taken++
				}
				got, want2 := counters.ReplaceAllString(r.Save(Mangle), "[0:0]"), models[i].save()
				if got != want2 {
					t.Fatalf("host %d:\n%s\nscript\n%s", i, diff(got, want2), strings.Join(lines, "\n"))
				}
				// The walk must use the chains as they are now, not those it remembers.
				p := with(tcp("1.1.1.1:1", "2.2.2.2:2"), func(p *Packet) { p.In = fmt.Sprintf("eth%d", rng.IntN(3)) })
				var path []string
				r.Trace = func(rule *Rule) { path = append(path, rule.String()) }
				v := r.Run(Mangle, Prerouting, p, nil)
				if want := models[i].walk("PREROUTING", p.In); !slices.Equal(path, want) {
					t.Fatalf("host %d: %v by %q, want %q\n%s", i, v, path, want, models[i].save())
				}
			}
		}
	}
	if taken < 1000 {
		t.Errorf("only %d scripts were taken, the test tests too little", taken)
	}
}
