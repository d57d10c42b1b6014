package pcap_test

import (
	"bytes"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/podwire/podwire/pcap"
)

// One packet on its way through two interfaces of a node, before and after
// its destination was translated.
func Example() {
	var out bytes.Buffer
	w, err := pcap.NewWriter(&out, pcap.Section{Application: "podwire", Comment: "quickstart, seed 1"})
	if err != nil {
		log.Fatal(err)
	}
	veth, err := w.AddInterface(pcap.Interface{Name: "node1/veth-web"})
	if err != nil {
		log.Fatal(err)
	}
	tunnel, err := w.AddInterface(pcap.Interface{Name: "node1/tunl0", LinkType: pcap.Raw})
	if err != nil {
		log.Fatal(err)
	}
	err = w.WriteNames([]pcap.Name{{Addr: netip.MustParseAddr("10.244.1.2"), Name: "default/web-0"}})
	if err != nil {
		log.Fatal(err)
	}
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range []pcap.Packet{
		{Interface: veth, Time: start, Data: make([]byte, 98), ID: 7, Direction: pcap.In},
		{Interface: tunnel, Time: start.Add(1500), Data: make([]byte, 84), ID: 7, Direction: pcap.Out,
			Comments: []string{"DNAT 10.96.0.10:80 -> 10.244.2.3:8080"}},
	} {
		if err := w.WritePacket(&p); err != nil {
			log.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	c, err := pcap.ReadAll(&out)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range c.Packets {
		i := c.Interfaces[p.Interface]
		fmt.Println(p.Time.Sub(start), p.ID, i.Name, i.LinkType, p.Direction, len(p.Data), p.Comments)
	}
	// Output:
	// 0s 7 node1/veth-web ethernet in 98 []
	// 1.5µs 7 node1/tunl0 raw out 84 [DNAT 10.96.0.10:80 -> 10.244.2.3:8080]
}

// A capture that is there in full or not at all.
func ExampleCreate() {
	f, err := pcap.Create("run.pcapng", pcap.Section{})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Abort() // does nothing after Commit
	if _, err := f.AddInterface(pcap.Interface{Name: "node1/eth0"}); err != nil {
		log.Print(err)
		return
	}
	if err := f.Commit(); err != nil {
		log.Print(err)
	}
}
