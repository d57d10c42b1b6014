package emutest_test

import (
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/link"
)

func TestHello(t *testing.T) {
	emutest.Run(t, emu.Config{Nodes: 2}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node2", 80)
		if got := lab.Pod("client", "node1").Get("http://web/hostname"); got != "web" {
			t.Errorf("GET /hostname = %q, want web", got)
		}
	})
}

// A GET over two cables of 250 ms: a packet takes 500 ms each way, the TCP
// handshake one round trip, request and response another.
func TestGetTakesExactlyTwoSeconds(t *testing.T) {
	cables := emu.Underlay{Cable: link.WireConfig{Latency: 250 * time.Millisecond}}
	emutest.Run(t, emu.Config{Nodes: 2, Underlay: cables}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node2", 80)
		client := lab.Pod("client", "node1")
		client.Ping("web") // the nodes have asked for each other's MAC

		start := time.Now()
		client.Get("http://web/")
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("GET took %v, want 2s", took)
		}
	})
}
