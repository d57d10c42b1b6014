package netfilter

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// hits runs n packets and notes which of them filter FORWARD drops.
func hits(r *Ruleset, env *fakeEnv, n int, step time.Duration) (list []int) {
	for i := range n {
		if r.Run(Filter, Forward, tcp("10.0.0.1:1", "10.0.0.2:2"), env).Kind == Drop {
			list = append(list, i)
		}
		env.now += step
	}
	return list
}

func TestStatisticNth(t *testing.T) {
	tests := []struct {
		rule string
		want []int
	}{
		{"--every 3 --packet 0", []int{0, 3, 6}},
		{"--every 3 --packet 1", []int{1, 4, 7}},
		{"--every 3 --packet 2", []int{2, 5, 8}},
		{"--every 1 --packet 0", []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"! --every 3 --packet 0", []int{1, 2, 4, 5, 7, 8}},
	}
	for _, tt := range tests {
		r := mustRestore(t, "*filter\n-A FORWARD -m statistic --mode nth "+tt.rule+" -j DROP\nCOMMIT\n")
		if got := hits(r, newEnv(), 9, 0); !slices.Equal(got, tt.want) {
			t.Errorf("%s: packets %v, want %v", tt.rule, got, tt.want)
		}
	}
}

// TestStatisticRandom draws the numbers on both sides of the threshold: 31 bits count, the top one does not.
func TestStatisticRandom(t *testing.T) {
	r := mustRestore(t, "*filter\n-A FORWARD -m statistic --mode random --probability 0.3333333333 -j DROP\nCOMMIT\n")
	env := newEnv()
	const threshold = 715827883 // 0.3333333333 * 2^31, rounded
	env.draws = []uint32{0, threshold - 1, threshold, 1<<31 | 5, 1<<31 | threshold, 1<<32 - 1}
	if got, want := hits(r, env, 6, 0), []int{0, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("packets %v, want %v", got, want)
	}
	const n = 30000
	if got := len(hits(r, env, n, 0)); got < n*32/100 || got > n*35/100 {
		t.Errorf("%d of %d packets, want about a third", got, n)
	}
}

func TestLimit(t *testing.T) {
	r := mustRestore(t, "*filter\n-A FORWARD -m limit --limit 1/sec --limit-burst 3 -j DROP\nCOMMIT\n")
	env := newEnv()
	env.now = time.Hour
	if got, want := hits(r, env, 10, 300*time.Millisecond), []int{0, 1, 2, 4, 7}; !slices.Equal(got, want) {
		t.Errorf("packets %v, want %v", got, want)
	}
	env.now += time.Hour
	if got, want := hits(r, env, 5, 0), []int{0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("after a rest: packets %v, want %v", got, want)
	}
	if err := r.Exec("-I FORWARD -s 9.9.9.9 -j ACCEPT"); err != nil {
		t.Fatal(err)
	}
	if got := hits(r, env, 5, 0); got != nil {
		t.Errorf("an unrelated insertion filled the bucket: packets %v", got)
	}
}

// from runs a packet of one source through mangle PREROUTING and says whether the rule matched.
func from(r *Ruleset, env *fakeEnv, src string) bool {
	p := tcp(src+":1000", "10.0.0.2:2")
	return r.Run(Mangle, Prerouting, p, env).Kind == Drop
}

func TestRecentRemembers(t *testing.T) {
	r := mustRestore(t, "*mangle\n-A PREROUTING -m recent --rcheck --seconds 10 --reap --name x -j DROP\n"+
		"-A PREROUTING -s 10.0.0.0/8 -m recent --set --name x -j ACCEPT\nCOMMIT\n")
	env := newEnv()
	if from(r, env, "10.0.0.1") {
		t.Fatal("the first packet was in the list")
	}
	env.now = 10 * time.Second
	if !from(r, env, "10.0.0.1") {
		t.Error("forgotten after 10s exactly, want remembered")
	}
	if from(r, env, "11.0.0.1") {
		t.Error("another source is in the list")
	}
	env.now = 10*time.Second + 1
	if from(r, env, "10.0.0.1") {
		t.Error("remembered after more than 10s, since --rcheck does not refresh")
	}
	want := []RecentEntry{{netip.MustParseAddr("10.0.0.1"), 64, env.now, 1}}
	if got := r.Recent("x"); !slices.Equal(got, want) { // reaped, and set again by the second rule
		t.Errorf("list %v, want %v", got, want)
	}
}

// TestRecentReapsTheOldest: a look at one address drops another one that has not been seen for longer than asked.
func TestRecentReapsTheOldest(t *testing.T) {
	r := mustRestore(t, "*mangle\n-A PREROUTING -m recent --rcheck --seconds 10 --reap --name x -j DROP\n-A PREROUTING -m recent --set --name x\nCOMMIT\n")
	env := newEnv()
	from(r, env, "10.0.0.1")
	env.now = 5 * time.Second
	from(r, env, "10.0.0.2")
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{10 * time.Second, 2}, {10*time.Second + 1, 1}} {
		env.now = tt.at
		if !from(r, env, "10.0.0.2") || len(r.Recent("x")) != tt.want {
			t.Errorf("at %v the list has %d entries, want %d", tt.at, len(r.Recent("x")), tt.want)
		}
	}
}

func TestRecentUpdateRefreshes(t *testing.T) {
	r := mustRestore(t, "*mangle\n-A PREROUTING -m recent --update --seconds 10 -j DROP\n-A PREROUTING -m recent --set\nCOMMIT\n")
	env := newEnv()
	from(r, env, "10.0.0.1")
	for range 5 {
		env.now += 9 * time.Second
		if !from(r, env, "10.0.0.1") {
			t.Fatalf("forgotten at %v although refreshed 9s ago", env.now)
		}
	}
}

func TestRecentOperations(t *testing.T) {
	r := mustRestore(t, "*mangle\n-A PREROUTING -p tcp -m recent --set --name a --rdest\n"+
		"-A PREROUTING -m recent --rcheck --hitcount 3 --name a --rdest -j DROP\n"+
		"-A OUTPUT -m recent --remove --name a --rdest -j DROP\nCOMMIT\n")
	env := newEnv()
	for i := range 4 {
		if got, want := from(r, env, fmt.Sprintf("10.0.0.%d", i)), i >= 2; got != want {
			t.Errorf("packet %d: matched %v, want %v", i, got, want)
		}
	}
	p := tcp("10.0.0.1:1", "10.0.0.2:2")
	if v := r.Run(Mangle, Output, p, env); v.Kind != Drop || len(r.Recent("a")) != 0 {
		t.Errorf("--remove: %v, list %v", v, r.Recent("a"))
	}
	if v := r.Run(Mangle, Output, p, env); v.Kind != Accept {
		t.Errorf("--remove of what is not there: %v", v)
	}
}

// TestRecentListIsBounded fills a list beyond 100 addresses: the least recently used one makes room.
func TestRecentListIsBounded(t *testing.T) {
	r := mustRestore(t, "*mangle\n-A PREROUTING -m recent --update --name x -j DROP\n-A PREROUTING -m recent --set --name x\nCOMMIT\n")
	env := newEnv()
	addr := func(i int) string { return fmt.Sprintf("10.0.%d.1", i) }
	for i := range 100 {
		from(r, env, addr(i))
	}
	from(r, env, addr(0)) // used again, so 1 is the oldest
	from(r, env, addr(100))
	list := r.Recent("x")
	in := func(i int) bool {
		return slices.ContainsFunc(list, func(e RecentEntry) bool { return e.Addr == netip.MustParseAddr(addr(i)) })
	}
	if len(list) != 100 || !in(0) || in(1) || !in(2) || !in(100) {
		t.Errorf("%d entries; 0 %v, 1 %v, 2 %v, 100 %v", len(list), in(0), in(1), in(2), in(100))
	}
}

// TestRecentSurvivesRestore: kube-proxy rewrites its chains on every sync; clients keep their endpoint.
func TestRecentSurvivesRestore(t *testing.T) {
	text := "*mangle\n:A -\n-A PREROUTING -j A\n-A A -m recent --rcheck --name x -j DROP\n-A A -m recent --set --name x\nCOMMIT\n"
	r, env := mustRestore(t, text), newEnv()
	from(r, env, "10.0.0.1")
	if err := r.Restore(text, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if !from(r, env, "10.0.0.1") {
		t.Error("a restore with the same list forgot its entries")
	}
	if err := r.Exec("-t mangle -F"); err != nil {
		t.Fatal(err)
	}
	if got := r.RecentLists(); len(got) != 0 {
		t.Errorf("lists that no rule names are left: %v", got)
	}
}

func TestSets(t *testing.T) {
	r := New()
	err := r.RestoreSets(`create pods hash:net family inet hashsize 1024
add pods 10.244.0.0/16
add pods 10.244.9.0/24 nomatch
create hosts hash:ip
add hosts 192.168.56.11
create ports hash:ip,port
add ports 10.96.0.10,udp:53
add ports 10.96.0.10,80
`)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Restore("*filter\n-A FORWARD -m set --match-set pods src -m set ! --match-set hosts dst -j DROP\n"+
		"-A INPUT -m set --match-set ports dst,dst -j DROP\nCOMMIT\n", RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		h    Hook
		p    *Packet
		want Kind
	}{
		{Forward, tcp("10.244.1.2:1", "1.1.1.1:1"), Drop},
		{Forward, tcp("10.244.9.2:1", "1.1.1.1:1"), Accept},
		{Forward, tcp("10.244.1.2:1", "192.168.56.11:1"), Accept},
		{Forward, tcp("10.245.1.2:1", "1.1.1.1:1"), Accept},
		{Input, tcp("1.1.1.1:1", "10.96.0.10:80"), Drop},
		{Input, tcp("1.1.1.1:1", "10.96.0.10:53"), Accept}, // UDP only
		{Input, tcp("1.1.1.1:1", "10.96.0.11:80"), Accept},
	}
	for _, tt := range tests {
		if v := r.Run(Filter, tt.h, tt.p, newEnv()); v.Kind != tt.want {
			t.Errorf("%v %v -> %v:%d: %v, want %v", tt.h, tt.p.Src, tt.p.Dst, tt.p.DstPort, v.Kind, tt.want)
		}
	}
	want := `create hosts hash:ip family inet
add hosts 192.168.56.11
create pods hash:net family inet
add pods 10.244.0.0/16
add pods 10.244.9.0/24 nomatch
create ports hash:ip,port family inet
add ports 10.96.0.10,tcp:80
add ports 10.96.0.10,udp:53
`
	if got := r.SaveSets(); got != want {
		t.Errorf("SaveSets:\n%s\nwant\n%s", got, want)
	}
	for _, tt := range []struct{ text, want string }{
		{"destroy pods", `netfilter: line 1, column 9: "pods": the set is in use by a rule`},
		{"\nadd host 1.1.1.1", `netfilter: line 2, column 5: "host": no such set, nearest is "hosts"`},
		{"add hosts 192.168.56.11", `netfilter: line 1, column 11: "192.168.56.11": the entry is in the set already`},
		{"add hosts 10.0.0.0/8", `netfilter: line 1, column 11: "10.0.0.0/8": not an entry for a set of type hash:ip`},
		{"create x hash:mac", `netfilter: line 1, column 10: "hash:mac": unknown set type`},
		{"add hosts -exist 192.168.56.11\ndel hosts 192.168.56.11\n-exist del hosts 192.168.56.11\nflush pods", ""},
	} {
		err := r.RestoreSets(tt.text)
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%q:\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
	if v := r.Run(Filter, Forward, tcp("10.244.1.2:1", "1.1.1.1:1"), newEnv()); v.Kind != Accept {
		t.Errorf("after the set was flushed: %v", v)
	}
}
