package bench

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/virtual"
	"github.com/podwire/podwire/link"
)

// BenchmarkTCPVirtual is one TCP stream in virtual time. An operation is a lab
// with all that belongs to it and a transfer of virtualBytes. On ideal cables
// the transfer takes no virtual time, so only MB/s counts; on cables with a
// rate, vsec/s is how many seconds of the lab pass in one of the machine.
func BenchmarkTCPVirtual(b *testing.B) {
	gigabit := link.WireConfig{Rate: 1e9, Latency: 50 * time.Microsecond}
	for _, c := range []struct {
		path, node, address, cable string
		wire                       link.WireConfig
	}{
		{"same-node", "node1", "server:80", "ideal", link.WireConfig{}},
		{"vxlan", "node2", "server:80", "ideal", link.WireConfig{}},
		{"clusterip", "node2", "web:80", "ideal", link.WireConfig{}},
		{"vxlan", "node2", "server:80", "1Gbit", gigabit},
		{"clusterip", "node2", "web:80", "1Gbit", gigabit},
	} {
		b.Run(fmt.Sprintf("path=%s/cable=%s", c.path, c.cable), func(b *testing.B) {
			b.SetBytes(virtualBytes)
			var passed time.Duration
			for b.Loop() {
				passed += transferVirtual(b, c.node, c.address, c.wire)
			}
			if passed > 0 {
				b.ReportMetric(passed.Seconds()/b.Elapsed().Seconds(), "vsec/s")
			}
		})
	}
}

// virtualBytes is half a second of a gigabit cable: long enough for building
// the lab, a few milliseconds, not to count.
const virtualBytes = 64 << 20

// transferVirtual moves virtualBytes through a new lab and returns how long the
// lab thinks that took. The benchmark's own clock stays outside of the bubble.
func transferVirtual(b *testing.B, node, address string, wire link.WireConfig) (took time.Duration) {
	err := virtual.Run(func(settle func()) error {
		lab, err := emu.New(emu.Config{Nodes: 2, Underlay: emu.Underlay{Cable: wire}, Settle: settle})
		if err != nil {
			return err
		}
		defer lab.Close()
		p, err := labPair(lab, node, address)
		if err != nil {
			return err
		}
		took, err = transfer(lab, p)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// transfer sends virtualBytes through a new connection.
func transfer(lab *emu.Lab, p pair) (time.Duration, error) {
	conn, err := p.dial()
	if err != nil {
		return 0, err
	}
	to, err := p.listener.Accept()
	if err != nil {
		return 0, err
	}
	defer to.Close()
	sent := make(chan error, 1)
	start := lab.Now()
	lab.Go(func() { sent <- sendBytes(conn, virtualBytes) })
	if n, err := io.CopyBuffer(writerOnly{io.Discard}, to, make([]byte, 256<<10)); err != nil || n != virtualBytes {
		return 0, fmt.Errorf("received %d bytes, want %d: %w", n, virtualBytes, err)
	}
	return lab.Now() - start, <-sent
}

// writerOnly hides io.Discard's ReadFrom, which has a small buffer of its own.
type writerOnly struct{ io.Writer }

// sendBytes writes n bytes and closes.
func sendBytes(c net.Conn, n int) error {
	defer c.Close()
	buf := make([]byte, 256<<10)
	for n > 0 {
		m, err := c.Write(buf[:min(n, len(buf))])
		if err != nil {
			return err
		}
		n -= m
	}
	return nil
}
