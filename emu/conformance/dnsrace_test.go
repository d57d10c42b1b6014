package conformance

import (
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// The two questions of a glibc lookup race through conntrack. With two pods of
// CoreDNS kube-proxy's rules send them to different ones half of the time: a kernel
// that drops the loser costs five seconds then, and counts an insert_failed each time;
// one that resolves the clash, none.
func TestDNSRaceOfConntrack(t *testing.T) {
	const lookups = 60
	for race, drops := range map[string]bool{"": false, "drop": true, "resolve": false} {
		cfg := withDNS
		cfg.ConntrackRace = race
		emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
			client := lab.Pod("client", "node1")
			lab.Service("web", 80, 8080, 0)
			slow := 0
			for range lookups {
				began := lab.Now()
				if _, err := client.Lookup("web"); err != nil {
					t.Fatal(err)
				}
				switch took := lab.Now() - began; took {
				case 0:
				case 5 * time.Second:
					slow++
				default:
					t.Errorf("race %q: a lookup took %v, want 0 or 5s", race, took)
				}
			}
			var failed, resolved uint64
			h := lab.Node("node1").Stack()
			lab.Driver().Do(func() {
				s := h.Conntrack().Stats()
				failed, resolved = s.InsertFailed, s.ClashResolved
			})
			if drops && (slow < lookups/4 || slow > lookups*3/4) || !drops && slow > 0 || int(failed) != slow {
				t.Errorf("race %q: %d of %d lookups were slow, %d inserts failed", race, slow, lookups, failed)
			}
			// The first pair waits for one ARP answer and so meets in any case.
			if race != "" && resolved < 2 || race == "" && resolved > 1 {
				t.Errorf("race %q: %d clashes were resolved", race, resolved)
			}
		})
	}
	if _, err := emu.New(emu.Config{ConntrackRace: "dorp"}); err == nil || err.Error() != `emu: conntrack race "dorp", want drop or resolve` {
		t.Errorf("unknown race: %v", err)
	}
}
