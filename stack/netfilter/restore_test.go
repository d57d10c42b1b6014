package netfilter

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCorpusRoundTrip(t *testing.T) {
	for _, c := range corpus(t) {
		r := New()
		if err := r.Restore(c.text(c.in), RestoreOptions{}); err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		save := r.Save()
		if !strings.Contains(save, "\n"+c.out+"\n") {
			t.Errorf("%s\nwant %s\ngot\n%s", c.in, c.out, save)
		}
		if again := mustRestore(t, save).Save(); again != save {
			t.Errorf("Save does not survive a second round:\n%s\nbecomes\n%s", save, again)
		}
	}
}

func TestNodeRoundTrip(t *testing.T) {
	text := readFixture(t, "node.rules")
	if got := mustRestore(t, text).Save(); got != text {
		t.Errorf("Save differs from what was restored:\n%s", diff(got, text))
	}
}

// TestReset leaves nothing that would show or act, and a ruleset that works.
func TestReset(t *testing.T) {
	text := readFixture(t, "node.rules")
	r := mustRestore(t, text)
	traced := 0
	r.Trace = func(*Rule) { traced++ }
	r.Reset()
	if got := r.Save(); r.Tracks() || got != New().Save() {
		t.Errorf("after Reset it tracks: %t, and has\n%s", r.Tracks(), got)
	}
	if err := r.Restore("*filter\n-A INPUT -j DROP\nCOMMIT\n", RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if v := r.Run(Filter, Input, &Packet{}, nil); v.Kind != Drop || traced != 1 {
		t.Errorf("a new rule says %v and was traced %d times, want DROP and once", v.Kind, traced)
	}
}

// TestNoFlush keeps what the text does not mention, empties the user chains that it declares, and appends to built-in
// chains, as kube-proxy relies on.
func TestNoFlush(t *testing.T) {
	r := mustRestore(t, `*nat
:A - [0:0]
:B - [0:0]
:OLD - [0:0]
-A PREROUTING -j A
-A A -s 1.1.1.1 -j ACCEPT
-A A -j OLD
-A B -j RETURN
-A OLD -j RETURN
COMMIT
*filter
:FORWARD DROP [0:0]
COMMIT
`)
	err := r.Restore(`*nat
:A - [0:0]
:OLD - [0:0]
:N - [0:0]
-A PREROUTING -j N
-A A -s 2.2.2.2 -j N
-A N -j MARK --or-mark 0x4000
-X OLD
COMMIT
`, RestoreOptions{NoFlush: true})
	if err != nil {
		t.Fatal(err)
	}
	want := `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:A - [0:0]
:B - [0:0]
:N - [0:0]
-A PREROUTING -j A
-A PREROUTING -j N
-A A -s 2.2.2.2/32 -j N
-A B -j RETURN
-A N -j MARK --set-xmark 0x4000/0x4000
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
`
	if got := r.Save(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestNoFlushAgreesWithRealTool does the same steps with the real tools.
func TestNoFlushAgreesWithRealTool(t *testing.T) {
	realTools(t, "iptables-nft-restore", "iptables-nft-save")
	steps := []string{
		"*filter\n:INPUT DROP [0:0]\n:A - [0:0]\n:B - [0:0]\n-A INPUT -j A\n-A A -s 1.1.1.1 -j ACCEPT\n-A B -j RETURN\nCOMMIT\n",
		"*filter\n:A - [0:0]\n-A INPUT -j B\n-I INPUT 2 -i lo -j ACCEPT\nCOMMIT\n",
		"*filter\n-D INPUT 1\n-I A -p tcp --dport 1 -j ACCEPT\n-A A -j DROP\n-D A -j DROP\n-N C\n-P FORWARD DROP\nCOMMIT\n",
		"*filter\n-R INPUT 1 -i eth0 -j DROP\n-F B\n-X C\n-A B -s 1.1.1.1,2.2.2.2 -d 3.3.3.3,4.4.4.4/8 -j ACCEPT\nCOMMIT\n",
		"*filter\n-D B -s 2.2.2.2,1.1.1.1 -d 3.3.3.3 -j ACCEPT\n-I B -s 7.7.7.7,8.8.8.8 -j ACCEPT\n-I B 2 -s 5.5.5.5,6.6.6.6 -d 1.1.1.1,2.2.2.2 -j ACCEPT\n:B2 - [0:0]\nCOMMIT\n*nat\n:X - [0:0]\nCOMMIT\n",
	}
	r := New()
	var script strings.Builder
	for _, step := range steps {
		if err := r.Restore(step, RestoreOptions{NoFlush: true}); err != nil {
			t.Fatalf("%v\n%s", err, step)
		}
		script.WriteString("iptables-nft-restore --noflush <<'__END__' || exit 1\n" + step + "__END__\n")
	}
	got, err := inNamespace(t, "", script.String()+"iptables-nft-save")
	if err != nil {
		t.Fatal(err)
	}
	if got = plainSave(got); got != r.Save() {
		t.Errorf("the real tool prints, and we print:\n%s", diff(got, r.Save()))
	}
}

func TestExec(t *testing.T) {
	r := New()
	for _, cmd := range []string{
		"-t nat -N KUBE",
		"-w 5 -W 100000 -A KUBE -t nat -p tcp -j DNAT --to-destination 10.0.0.1:80",
		"-t nat -I PREROUTING -m comment --comment \"a b\" -j KUBE",
		"-t nat -I PREROUTING 1 -i eth0 -j RETURN",
		"-t nat -C PREROUTING -m comment --comment \"a b\" -j KUBE",
		"-t nat -R PREROUTING 1 -i eth1 -j RETURN",
		"-t nat -D PREROUTING -i eth1 -j RETURN",
	} {
		if err := r.Exec(cmd); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
	}
	want := `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE - [0:0]
-A PREROUTING -m comment --comment "a b" -j KUBE
-A KUBE -p tcp -j DNAT --to-destination 10.0.0.1:80
COMMIT
`
	if got := r.Save(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := r.Exec("-t nat -C PREROUTING -j ACCEPT"); !errors.Is(err, ErrNoRule) {
		t.Errorf("-C of what is not there: %v, want ErrNoRule", err)
	}
	if err := r.Exec("-t nat -X KUBE"); !errors.Is(err, ErrChainInUse) {
		t.Errorf("-X of a chain in use: %v, want ErrChainInUse", err)
	}
	if err := r.Exec("-A INPUT -j ACCEPT\n-A INPUT -j DROP"); err == nil || !strings.Contains(err.Error(), "more than one line") {
		t.Errorf("two lines: %v", err)
	}
	for _, cmd := range []string{"-t nat -F", "-t nat -X"} {
		if err := r.Exec(cmd); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
	}
	if got := r.Chains(NAT); len(got) != 4 {
		t.Errorf("chains after -F and -X: %v", got)
	}
}

func TestInspection(t *testing.T) {
	r := mustRestore(t, readFixture(t, "node.rules"))
	r.Run(NAT, Prerouting, tcp("10.244.1.9:4000", "10.96.0.10:53"), newEnv())
	rules, ok := r.Rules(NAT, "KUBE-SEP-6E7XQMQ4RAYOWTTM")
	if !ok || len(rules) != 2 || rules[0].Comment() != "kube-system/kube-dns:dns" || rules[1].Target() != "DNAT" {
		t.Errorf("rules: %v %v", rules, ok)
	}
	if rules, _ = r.Rules(NAT, "PREROUTING"); rules[0].Packets != 1 || rules[0].Bytes != 60 || rules[1].Packets != 0 {
		t.Errorf("counters: %+v", rules)
	}
	if _, ok := r.Rules(NAT, "NOPE"); ok {
		t.Error("a chain that does not exist has rules")
	}
	chains := r.Chains(Filter)
	if chains[1].Name != "FORWARD" || chains[1].Policy != Drop || !chains[1].Builtin || chains[3].Name != "DOCKER" {
		t.Errorf("chains: %+v", chains)
	}
}

// TestScriptIsShared applies one script to two hosts: rules are the same objects, counters are not.
func TestScriptIsShared(t *testing.T) {
	s, err := Parse(readFixture(t, "node.rules"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := New(), New()
	for _, r := range []*Ruleset{a, b} {
		if err := r.Exec("-t nat -A POSTROUTING -s 1.1.1.1 -j ACCEPT"); err != nil {
			t.Fatal(err)
		}
		if err := r.Apply(s, RestoreOptions{NoFlush: true}); err != nil {
			t.Fatal(err)
		}
	}
	if a.tables[NAT].find("KUBE-SERVICES") != b.tables[NAT].find("KUBE-SERVICES") {
		t.Error("the two hosts do not share the chain KUBE-SERVICES")
	}
	v := a.Run(NAT, Prerouting, tcp("10.244.1.9:4000", "10.96.0.101:80"), newEnv())
	if v.Kind != DNAT {
		t.Fatalf("verdict %v", v)
	}
	count := func(r *Ruleset) uint64 {
		rules, _ := r.Rules(NAT, v.Chain)
		return rules[1].Packets
	}
	if count(a) != 1 || count(b) != 0 {
		t.Errorf("counters %d and %d, want 1 and 0", count(a), count(b))
	}
	if err := b.Exec("-t nat -F KUBE-SERVICES"); err != nil {
		t.Fatal(err)
	}
	if v = b.Run(NAT, Prerouting, tcp("10.244.1.9:4000", "10.96.0.101:80"), newEnv()); v.Kind != Accept {
		t.Errorf("b still translates after its chain was flushed: %v", v)
	}
	if v = a.Run(NAT, Prerouting, tcp("10.244.1.9:4000", "10.96.0.101:80"), newEnv()); v.Kind != DNAT {
		t.Errorf("a change to b reached a: %v", v)
	}
	if err := a.Apply(s, RestoreOptions{NoFlush: true}); err != nil {
		t.Fatal(err)
	}
	if count(a) != 0 {
		t.Errorf("a chain that was written again kept its counters")
	}
}

func TestSplitWords(t *testing.T) {
	tests := []struct {
		in   string
		want string // words between bars
		cols []int
	}{
		{`-A  INPUT`, "-A|INPUT", []int{1, 5}},
		{`  a	b `, "a|b", []int{3, 5}},
		{`--comment "a \"b\" \\ c" x`, `--comment|a "b" \ c|x`, []int{1, 11, 26}},
		{`""`, "", []int{1}},
		{`a"b c"d`, "ab c|d", []int{1, 7}},
		{`it's`, "it's", []int{1}},
		{`a\b`, `a\b`, []int{1}},
	}
	for _, tt := range tests {
		words, err := splitWords(tt.in)
		var got []string
		for i, w := range words {
			got = append(got, w.text)
			if i < len(tt.cols) && w.col != tt.cols[i] {
				t.Errorf("%q: word %d in column %d, want %d", tt.in, i, w.col, tt.cols[i])
			}
		}
		if s := strings.Join(got, "|"); s != tt.want || len(words) != len(tt.cols) || err != nil {
			t.Errorf("%q: got %q, %v, want %q", tt.in, s, err, tt.want)
		}
	}
}

// plainWordsAgree holds the quick way to cut lines against the one for every line.
func plainWordsAgree(t *testing.T, text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		got, err := splitWords(line)
		want, wantErr := appendQuotedWords(nil, line)
		if !slices.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: words %v, %v, want %v, %v", line, got, err, want, wantErr)
		}
	}
}

func FuzzRestore(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.text(c.in))
	}
	for _, c := range refusals {
		f.Add(c.text)
	}
	f.Add(readFixture(f, "node.rules"))
	f.Fuzz(func(t *testing.T, text string) {
		plainWordsAgree(t, text)
		r := New()
		if r.Restore(text, RestoreOptions{Counters: true}) != nil {
			if got := r.Save(); got != "" {
				t.Fatalf("a refused text left\n%s", got)
			}
			return
		}
		save := r.SaveCounters()
		again := New()
		if err := again.Restore(save, RestoreOptions{Counters: true}); err != nil {
			t.Fatalf("Save does not parse: %v\n%s", err, save)
		}
		if got := again.SaveCounters(); got != save {
			t.Fatalf("Save\n%s\nbecomes\n%s", save, got)
		}
		p := tcp("10.244.1.2:40000", "10.96.0.10:80")
		for h := range numHooks {
			for _, tab := range Tables(h) {
				r.Run(tab, h, p, newEnv())
			}
		}
	})
}

func FuzzRestoreSets(f *testing.F) {
	f.Add("create pods hash:net family inet\nadd pods 10.244.0.0/16\nadd pods 10.244.9.0/24 nomatch\n")
	f.Add("create p hash:ip,port\nadd p 10.96.0.10,udp:53\nadd p 10.96.0.10,80 -exist\ndel p 10.96.0.10,80\n")
	f.Add("create a hash:ip\ncreate b hash:ip\nadd a 1.2.3.4\nswap a b\nflush a\ndestroy a\nCOMMIT\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := New()
		r.RestoreSets(text)
		save := r.SaveSets()
		again := New()
		if err := again.RestoreSets(save); err != nil {
			t.Fatalf("SaveSets does not parse: %v\n%s", err, save)
		}
		if got := again.SaveSets(); got != save {
			t.Fatalf("SaveSets\n%s\nbecomes\n%s", save, got)
		}
	})
}
