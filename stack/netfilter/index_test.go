package netfilter

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// linearOnly replaces the index of every chain by a plain walk.
func linearOnly(r *Ruleset) {
	for t := range numTables {
		r.tables[t].all(func(c *chain) {
			c.index()
			c.idx = index{}
			if len(c.rules) > 0 {
				c.idx.segments = []segment{{end: int32(len(c.rules))}}
			}
		})
	}
}

// randomRules makes a chain with runs that an index would take, broken by rules that it would not.
func randomRules(rng *rand.Rand) string {
	var b strings.Builder
	b.WriteString("*filter\n:A - [0:0]\n-A A -m statistic --mode nth --every 2 --packet 0 -j RETURN\n-A A -j MARK --xor-mark 1\n")
	targets := []string{"-j A", "-j A", "-g A", "", "-j DROP", "-j ACCEPT", "-j MARK --xor-mark 2", "-j RETURN"}
	for range 6 {
		shape := rng.IntN(8)
		for range 1 + rng.IntN(20) {
			n := rng.IntN(4)
			tests := []string{
				fmt.Sprintf("-d 10.0.0.%d -p tcp --dport %d", n, 80+rng.IntN(2)),
				fmt.Sprintf("-d 10.0.0.%d", n),
				fmt.Sprintf("-s 10.0.0.%d", n),
				fmt.Sprintf("-p tcp --dport %d", 80+n),
				fmt.Sprintf("-i eth%d", n),
				fmt.Sprintf("-o eth%d", n),
				fmt.Sprintf("-p tcp -m statistic --mode nth --every 2 --packet 1 -m tcp --dport %d", 80+n),
				fmt.Sprintf("! -d 10.0.0.%d -i eth%d", n, n),
			}
			fmt.Fprintf(&b, "-A FORWARD %s %s\n", tests[shape], targets[rng.IntN(4)*rng.IntN(2)+rng.IntN(5)])
		}
	}
	return b.String() + "COMMIT\n"
}

// TestIndexChangesNothing compares verdicts, counters and marks with a walk that looks at every rule.
func TestIndexChangesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	indexed := 0
	for range 300 {
		text := randomRules(rng)
		fast, slow := mustRestore(t, text), mustRestore(t, text)
		linearOnly(slow)
		for _, s := range fast.tables[Filter].find("FORWARD").index().segments {
			if s.class != linear {
				indexed++
			}
		}
		for _, r := range []*Ruleset{slow} {
			for h := range numHooks {
				if st := r.entry[Filter][h]; st != nil {
					st.idx = st.index()
				}
			}
		}
		for range 40 {
			p := tcp(fmt.Sprintf("10.0.0.%d:1000", rng.IntN(5)), fmt.Sprintf("10.0.0.%d:%d", rng.IntN(5), 80+rng.IntN(5)))
			p.In, p.Out = fmt.Sprintf("eth%d", rng.IntN(5)), fmt.Sprintf("eth%d", rng.IntN(5))
			p.Fragment = rng.IntN(6) == 0
			if rng.IntN(5) == 0 {
				p.Proto = protoUDP
			}
			q := *p
			got, want := fast.Run(Filter, Forward, p, newEnv()), slow.Run(Filter, Forward, &q, newEnv())
			if got.String() != want.String() || p.Mark != q.Mark {
				t.Fatalf("%+v: got %v mark %d, want %v mark %d\n%s", q, got, p.Mark, want, q.Mark, text)
			}
		}
		if got, want := fast.SaveCounters(), slow.SaveCounters(); got != want {
			t.Fatalf("counters differ:\n%s\n%s", diff(got, want), text)
		}
	}
	if indexed < 100 {
		t.Errorf("only %d segments were indexed, the test tests too little", indexed)
	}
}

// serviceRules makes the rules of kube-proxy for n services with one endpoint each.
func serviceRules(n int) string {
	var chains, portals, rest strings.Builder
	for i := range n {
		ip := fmt.Sprintf("10.%d.%d.%d", 96+i>>16, i>>8&255, i&255)
		fmt.Fprintf(&chains, ":KUBE-SVC-%d - [0:0]\n:KUBE-SEP-%d - [0:0]\n", i, i)
		fmt.Fprintf(&portals, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"ns/svc%d cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%d\n", ip, i, i)
		fmt.Fprintf(&rest, "-A KUBE-SVC-%d ! -s 10.244.0.0/16 -d %s/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n-A KUBE-SVC-%d -j KUBE-SEP-%d\n", i, ip, i, i)
		fmt.Fprintf(&rest, "-A KUBE-SEP-%d -s 10.244.0.1/32 -j KUBE-MARK-MASQ\n-A KUBE-SEP-%d -p tcp -m tcp -j DNAT --to-destination 10.244.0.1:8080\n", i, i)
	}
	return "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n" + chains.String() +
		"-A PREROUTING -j KUBE-SERVICES\n-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n" + portals.String() + rest.String() + "COMMIT\n"
}

// TestRunAllocatesNothing covers the service chains, an indexed miss, and matches with state.
func TestRunAllocatesNothing(t *testing.T) {
	r, env := mustRestore(t, serviceRules(100)), newEnv()
	node := mustRestore(t, readFixture(t, "node.rules"))
	hit, miss := tcp("10.244.9.9:1", "10.96.0.99:80"), tcp("10.244.9.9:1", "10.96.0.99:81")
	web, api := tcp("10.244.9.9:1", "10.96.0.101:80"), tcp("10.244.9.9:1", "10.96.0.102:9000")
	run := func() {
		r.Run(NAT, Prerouting, hit, env)
		r.Run(NAT, Prerouting, miss, env)
		node.Run(NAT, Prerouting, web, env)
		node.Run(NAT, Prerouting, api, env)
		node.Run(Filter, Forward, web, env)
		node.Run(NAT, Postrouting, web, env)
	}
	for range 100 { // the first packets make the counters of the rules they touch
		run()
	}
	if n := testing.AllocsPerRun(200, run); n != 0 {
		t.Errorf("%v allocations per run, want 0", n)
	}
}

// TestWorkIsIndependentOfServices counts the rules that are looked at, instead of time.
func TestWorkIsIndependentOfServices(t *testing.T) {
	r := mustRestore(t, serviceRules(3000))
	segments := r.tables[NAT].find("KUBE-SERVICES").index().segments
	if len(segments) != 1 || segments[0].class != byDstPort || segments[0].next != nil || len(segments[0].heads) != 3000 {
		t.Errorf("KUBE-SERVICES is not one indexed run: %d segments, first %v", len(segments), segments[0].class)
	}
}

func BenchmarkServices(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		r, env := New(), newEnv()
		if err := r.Restore(serviceRules(n), RestoreOptions{}); err != nil {
			b.Fatal(err)
		}
		i := n - 1
		hit := tcp("10.244.9.9:1", fmt.Sprintf("10.%d.%d.%d:80", 96+i>>16, i>>8&255, i&255))
		miss := tcp("10.244.9.9:1", "10.200.0.1:80")
		b.Run(fmt.Sprintf("hit/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Run(NAT, Prerouting, hit, env)
			}
		})
		b.Run(fmt.Sprintf("miss/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Run(NAT, Prerouting, miss, env)
			}
		})
	}
}

func BenchmarkLinear(b *testing.B) {
	for _, n := range []int{10, 1000, 100000} {
		var text strings.Builder
		text.WriteString("*filter\n")
		for i := range n {
			fmt.Fprintf(&text, "-A FORWARD -s 10.%d.%d.0/24 -p tcp -j DROP\n", i>>8&255, i&255)
		}
		r, env := New(), newEnv()
		if err := r.Restore(text.String()+"COMMIT\n", RestoreOptions{}); err != nil {
			b.Fatal(err)
		}
		p := tcp("192.168.0.1:1", "192.168.0.2:2")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Run(Filter, Forward, p, env)
			}
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	text := serviceRules(1000)
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := Parse(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	s, err := Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := New().Apply(s, RestoreOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
