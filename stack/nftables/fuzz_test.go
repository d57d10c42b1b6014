package nftables

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/podwire/podwire/stack/netfilter"
)

// FuzzParse: no text makes the reader or the rules panic, and what is printed is
// read again as the same.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/kubeproxy.nft", "testdata/language.nft", "testdata/older.nft"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("add table ip t\nadd chain ip t c { type filter hook input priority 0 ; }\nadd rule ip t c ip saddr { 1.0.0.0/8, 2.0.0.1 } drop\n")                   // commands
	f.Add("table ip t {\n map m { type mark . ipv4_addr : verdict; }\n chain c {\n type nat hook output priority -100\n meta mark . ip daddr vmap @m\n }\n}\n") // a key of two parts
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		r := New()
		if r.Apply(s, 0) != nil {
			return
		}
		for h := range netfilter.Hook(5) {
			for _, c := range r.Chains(h) {
				r.Run(c, &netfilter.Packet{Src: netip.AddrFrom4([4]byte{1, 2, 3, 4}), Dst: netip.AddrFrom4([4]byte{10, 96, 0, 1}), Proto: 6, Bytes: make([]byte, 40)}, nobody{})
			}
		}
		printed := r.List(0)
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%v in what was printed:\n%s", err, printed)
		}
		r2 := New()
		if err := r2.Apply(again, 0); err != nil {
			t.Fatalf("%v in what was printed:\n%s", err, printed)
		}
		if got := r2.List(0); got != printed {
			t.Fatalf("read again, it prints\n%s\nwant\n%s", got, printed)
		}
	})
}

// nobody is a host without addresses.
type nobody struct{}

func (nobody) AddrType(netip.Addr, string) netfilter.AddrType     { return netfilter.TypeUnicast }
func (nobody) ReversePath(*netfilter.Packet, bool, bool) bool     { return true }
func (nobody) SourceMAC(*netfilter.Packet) (mac [6]byte, ok bool) { return mac, false }
func (nobody) Alive(any) bool                                     { return false }
func (nobody) Now() time.Duration                                 { return 0 }
func (nobody) Uint32() uint32                                     { return 0x80000000 }
