package stack

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/podwire/podwire/link"
)

// TestProcessorIsKnown fails when a release of gVisor has other fields: the driver
// then wakes gVisor's goroutine for each burst, which is right and slow.
func TestProcessorIsKnown(t *testing.T) {
	if !processorKnown {
		t.Fatalf("gVisor %s: processor fields not found: %+v", GVisorVersion, ofProcessor)
	}
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{})
		manyConnections(n, a, b)
		for _, h := range []*Host{a, b} {
			if h.sockets.waiting == nil {
				t.Errorf("%s: the processor's queue was not found", h.Name())
			}
		}
	})
}

// busyHosts lets two hosts have connections of each kind at once, over a line that
// loses, and returns the packets of both. ByProcessor leaves all segments to gVisor's
// goroutine.
func busyHosts(t *testing.T, byProcessor bool) (lines []string) {
	t.Helper()
	inBubble(t, func(n *network) {
		a, b := n.pair(link.WireConfig{Latency: time.Millisecond, Rate: 50e6, Loss: 0.01, Reorder: 0.02})
		rec := n.record(a.Device("eth0"), b.Device("eth0"))
		ln, err := b.Listen("tcp", ":80")
		n.try(err)
		_, err = a.Listen("tcp", ":1") // so that both hosts have a stack
		n.try(err)
		if byProcessor {
			n.do(func() { a.sockets.waiting, b.sockets.waiting = nil, nil })
		}
		n.echo(ln)
		message := bytes.Repeat([]byte("podwire "), 40<<10/8)
		done := make(chan error)
		for i := range 8 {
			n.drv.Go(func() {
				c, err := a.Dial("tcp", "10.0.0.2:80")
				if err != nil {
					done <- err
					return
				}
				defer c.Close()
				n.drv.Go(func() {
					c.Write(message)
					if i%2 == 0 {
						c.(*Conn).CloseWrite()
					}
				})
				got := make([]byte, len(message))
				if i == 7 {
					got = got[:100] // and close with the rest unread, which resets
				}
				_, err = io.ReadFull(c, got)
				if !bytes.Equal(got, message[:len(got)]) {
					err = fmt.Errorf("connection %d: another message came back", i)
				}
				done <- err
			})
		}
		for range 8 {
			n.try(<-done)
		}
		_, err = a.Dial("tcp", "10.0.0.2:81")
		if err == nil {
			t.Error("a connection to a port that nobody listens at")
		}
		n.try(ln.Close())
		n.wait(2 * time.Minute) // TIME-WAIT ends
		lines = rec.lines()
	})
	return lines
}

// What the driver does itself gives the same packets as gVisor's processor.
func TestProcessorIsReplaced(t *testing.T) {
	own, gvisors := busyHosts(t, false), busyHosts(t, true)
	if len(own) < 1000 {
		t.Fatalf("%d packets, want 1000 or more", len(own))
	}
	for i := range min(len(own), len(gvisors)) {
		if own[i] != gvisors[i] {
			t.Fatalf("packet %d:\n%s\nby gVisor's processor:\n%s", i, own[i], gvisors[i])
		}
	}
	if !slices.Equal(own, gvisors) {
		t.Errorf("%d packets, %d by gVisor's processor", len(own), len(gvisors))
	}
}
