package netfilter_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/podwire/podwire/stack/netfilter"
)

// host answers what rules ask; a real one looks into its routing tables.
type host struct{}

func (host) AddrType(netip.Addr, string) netfilter.AddrType { return netfilter.TypeUnicast }
func (host) ReversePath(*netfilter.Packet, bool, bool) bool { return true }
func (host) SourceMAC(*netfilter.Packet) ([6]byte, bool)    { return [6]byte{}, false }
func (host) Alive(any) bool                                 { return true }
func (host) Now() time.Duration                             { return 0 }
func (host) Uint32() uint32                                 { return 4 }

func Example() {
	r := netfilter.New()
	err := r.Restore(`*nat
-A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
`, netfilter.RestoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := netfilter.Packet{Src: netip.MustParseAddr("10.244.1.2"), Dst: netip.MustParseAddr("1.1.1.1"), Proto: 17, Length: 60}
	fmt.Println(r.Run(netfilter.NAT, netfilter.Postrouting, &p, host{}))
	fmt.Println(r.Exec("-A FORWARD -m conntrak --ctstate NEW -j ACCEPT"))
	fmt.Print(r.SaveCounters())
	// Output:
	// nat POSTROUTING: MASQUERADE
	// netfilter: column 15: "conntrak": unknown match, nearest is "conntrack"
	// *nat
	// :PREROUTING ACCEPT [0:0]
	// :INPUT ACCEPT [0:0]
	// :OUTPUT ACCEPT [0:0]
	// :POSTROUTING ACCEPT [0:0]
	// [1:60] -A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
	// COMMIT
}
