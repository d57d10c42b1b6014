package emu_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/link"
	"github.com/podwire/podwire/stack"
)

// Scenarios for one goroutine and functions that the network calls.

var oracleCalls = map[string]oracleScenario{
	"bulk TCP with loss": {
		cable:  link.WireConfig{Latency: 3 * time.Millisecond, Rate: 50e6, Loss: 0.01, Queue: 50},
		events: 700,
		run: func(lab *emu.Lab, a, b *emu.Pod) error {
			s, err := oracleStream(lab, a, b.Addr().String(), b, 512<<10)
			if err != nil {
				return err
			}
			return s.finish(lab, time.Minute)
		},
	},
	"datagrams that overtake and double": {
		cable:  link.WireConfig{Latency: 2 * time.Millisecond, Loss: 0.02, Duplicate: 0.02, Reorder: 0.05, Corrupt: 0.01},
		events: 3000,
		run: func(lab *emu.Lab, a, b *emu.Pod) error {
			if err := oracleDatagrams(lab, a, b, time.Millisecond, 1000); err != nil {
				return err
			}
			lab.Sleep(50 * time.Millisecond)                                           // two handshakes of WireGuard at once fail
			if err := oracleDatagrams(lab, b, a, time.Millisecond, 1000); err != nil { // in the same instants
				return err
			}
			lab.Sleep(2 * time.Second)
			return nil
		},
	},
	"pings through a failure": {
		cable:  link.WireConfig{Latency: time.Millisecond, Loss: 0.05},
		events: 60,
		run: func(lab *emu.Lab, a, b *emu.Pod) error {
			for i := range 60 {
				switch i {
				case 20:
					lab.Node("node2").SetUp(false)
				case 40:
					lab.Node("node2").SetUp(true)
				}
				_, err := a.Ping(b.Addr().String(), 100*time.Millisecond)
				if up := i < 20 || i >= 45; !up && i < 40 && err == nil {
					return fmt.Errorf("ping %d came through a node that is off", i)
				}
			}
			return nil
		},
	},
	"faults under load": {
		cable:  link.WireConfig{Latency: time.Millisecond, Rate: 20e6, Loss: 0.005, Reorder: 0.01},
		events: 1500,
		run: func(lab *emu.Lab, a, b *emu.Pod) error {
			if _, err := lab.AddService(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "sink"},
				Spec: corev1.ServiceSpec{
					ClusterIP: "10.96.0.77", Selector: map[string]string{"app": "sink"},
					Ports: []corev1.ServicePort{{Port: oraclePort}},
				},
			}); err != nil {
				return err
			}
			s, err := oracleStream(lab, a, "10.96.0.77", b, 512<<10)
			if err != nil {
				return err
			}
			if err := oracleDatagrams(lab, b, a, time.Millisecond, 2000); err != nil {
				return err
			}
			lab.Sleep(200 * time.Millisecond)
			a.SetLink(false)
			lab.Sleep(150 * time.Millisecond)
			a.SetLink(true)
			lab.Sleep(300 * time.Millisecond)
			lab.Node("node2").SetUp(false)
			lab.Sleep(time.Second)
			lab.Node("node2").SetUp(true)
			if _, err := lab.AddPod(emu.PodConfig{Name: "late", Node: "node1"}); err != nil {
				return err
			}
			for range 10 {
				lab.Pod("late").Ping(b.Addr().String(), 50*time.Millisecond) // some are lost
			}
			return s.finish(lab, time.Minute)
		},
	},
}

const oraclePort = 5001

// oracleBulk is a TCP connection that functions fill and drain.
type oracleBulk struct {
	ln             net.Listener
	client, server *stack.Conn
	over           *link.Waiter
	left, got      int
	err            error
}

// oracleStream begins to send bytes from one pod to an address that is another's.
func oracleStream(lab *emu.Lab, from *emu.Pod, addr string, to *emu.Pod, bytes int) (*oracleBulk, error) {
	ln, err := to.Listen("tcp", fmt.Sprintf(":%d", oraclePort))
	if err != nil {
		return nil, err
	}
	c, err := from.Dial("tcp", fmt.Sprintf("%s:%d", addr, oraclePort))
	if err != nil {
		return nil, err
	}
	peer, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	drv := lab.Driver()
	s := &oracleBulk{ln: ln, client: c.(*stack.Conn), server: peer.(*stack.Conn), over: drv.NewWaiter(), left: bytes}
	drv.Do(func() {
		s.server.Handle(func() { s.drain(bytes) }, nil)
		s.client.Handle(nil, s.fill)
		s.fill()
	})
	return s, nil
}

func (s *oracleBulk) fill() {
	for buf := make([]byte, 32<<10); s.left > 0; {
		n, err := s.client.TryWrite(buf[:min(len(buf), s.left)])
		s.left -= n
		if err != nil {
			if err != stack.ErrWouldBlock {
				s.fail(err)
			}
			return
		}
	}
}

func (s *oracleBulk) drain(all int) {
	for buf := make([]byte, 64<<10); ; {
		n, err := s.server.TryRead(buf)
		if s.got += n; s.got == all {
			s.over.Wake()
			return
		}
		if err != nil {
			if err != stack.ErrWouldBlock {
				s.fail(err)
			}
			return
		}
	}
}

func (s *oracleBulk) fail(err error) {
	s.err = err
	s.over.Wake()
}

// finish waits until all has arrived, and closes the connection.
func (s *oracleBulk) finish(lab *emu.Lab, within time.Duration) error {
	lab.Driver().Do(func() {
		lab.Driver().Every(within, func() time.Duration {
			if s.err == nil {
				s.err = os.ErrDeadlineExceeded
			}
			s.over.Wake()
			return -1
		})
	})
	s.over.Wait()
	got, err := 0, error(nil)
	lab.Driver().Do(func() {
		got, err = s.got, s.err
		s.client.Unhandle()
		s.server.Unhandle()
	})
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", got, err)
	}
	err = errors.Join(s.client.Close(), s.server.Close(), s.ln.Close())
	lab.Sleep(2 * time.Second) // FINs, and those that are sent again
	return err
}

// oracleDatagrams begins to send datagrams, each of which is answered.
func oracleDatagrams(lab *emu.Lab, from, to *emu.Pod, every time.Duration, count int) error {
	in, err := to.ListenPacket("udp", ":5002")
	if err != nil {
		return err
	}
	c, err := from.Dial("udp", to.Addr().String()+":5002")
	if err != nil {
		return err
	}
	out, server := c.(*stack.Conn), in.(*stack.PacketConn)
	lab.Driver().Do(func() {
		buf, echo := make([]byte, 400), make([]byte, 2000)
		server.Handle(func() {
			for {
				if _, err := server.TryRead(echo); err != nil {
					return
				}
			}
		})
		lab.Driver().Every(0, func() time.Duration {
			out.TryWrite(buf)
			if count--; count == 0 {
				return -1
			}
			return every
		})
	})
	return nil
}
