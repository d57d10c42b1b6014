// Package explain follows one packet and its answer through a lab, hop by hop:
// what it looked like at every device, what was done to it, and where and why
// it died if it did.
//
//	r, err := explain.Trace(lab, explain.Probe{From: lab.Machine("client"), To: "web", Network: "tcp", Port: 80})
//	if !r.Answered {
//		t.Error(r.Verdict) // client's TCP SYN died at node1/eth0: link is down
//	}
//
// Nothing is inferred from tables: the packet is sent, and the points of the lab
// report what passes.
package explain

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/stack"
)

// A Probe says which packet to send. The zero value of all but From and To is a
// ping of 56 bytes.
type Probe struct {
	From    *emu.Machine
	To      string // a name or an address, as Machine.Dial takes it
	Network string // icmp, tcp or udp; if empty, tcp with a Port and icmp without
	Port    uint16 // of tcp and udp

	Size int  // bytes of a ping after the ICMP header; 0 means 56
	TTL  byte // of a ping; 0 means 64

	// DontFragment is `ping -M do`: what is too large is refused.
	DontFragment bool

	// Timeout is how long to wait for the answer. If zero, 10 s: longer than
	// three ARP requests without answer and the error that comes of them.
	Timeout time.Duration
}

// A Hop is a packet at one device. Its JSON form is stable: fields are added,
// not changed.
type Hop struct {
	Time      time.Duration `json:"time"` // since the packet was first seen
	Of        string        `json:"of"`   // request, answer, or arp
	Machine   string        `json:"machine,omitempty"`
	Device    string        `json:"device,omitempty"` // of a pod's veth pair the node's end is "veth(web)"
	Direction string        `json:"direction,omitempty"`
	TTL       []int         `json:"ttl,omitempty"`  // of each IP header, outermost first
	Packet    string        `json:"packet"`         // as tcpdump prints it, names for addresses; tunnels inside "|"
	Bytes     int           `json:"bytes"`          // from the first header on
	Note      string        `json:"note,omitempty"` // what was done just before
	Drop      string        `json:"drop,omitempty"` // set where it died: why
}

// place is where the hop was, for people.
func (h *Hop) place() string {
	if h.Machine == "" {
		return h.Device
	}
	return h.Machine + "/" + h.Device
}

// A Report is the life of one packet and of its answer.
type Report struct {
	From    string     `json:"from"`
	To      string     `json:"to"`
	Addr    netip.Addr `json:"addr"` // that To has been resolved to
	Network string     `json:"network"`
	Port    uint16     `json:"port,omitempty"`
	Design  string     `json:"design"`

	Hops     []Hop  `json:"hops"`             // of the request, then of the answer, each in the order of events
	Answer   string `json:"answer,omitempty"` // what the answer was: "echo reply", "TCP RST", "ICMP host unreachable"
	AnswerBy string `json:"answerBy,omitempty"`
	Answered bool   `json:"answered"`        // positively: an echo reply, an open connection, a datagram
	Error    string `json:"error,omitempty"` // what the program on From was told
	Verdict  string `json:"verdict"`         // one sentence
}

// A NameError says that nobody knows the name that a probe is for.
type NameError struct {
	Name string
	Err  error // as Machine.Lookup returns it
}

// Error says which name it was.
func (e *NameError) Error() string { return "explain: " + e.Err.Error() }

// Unwrap returns why.
func (e *NameError) Unwrap() error { return e.Err }

// Trace sends the packet and follows it. The error says that there was nothing
// to send, of a name a *NameError; a packet that died is part of the report.
func Trace(lab *emu.Lab, p Probe) (*Report, error) {
	if err := p.complete(); err != nil {
		return nil, err
	}
	addr, err := p.From.Lookup(p.To)
	if err != nil {
		return nil, &NameError{p.To, err}
	}
	w := watch(lab, p)
	err = p.send(lab, addr, w.stop)
	r := &Report{
		From: short(p.From.Name()), To: p.To, Addr: addr, Network: p.Network, Port: p.Port,
		Design: lab.Config().Design, Answered: err == nil, Hops: []Hop{},
	}
	if err != nil {
		r.Error = reason(err)
	}
	w.report(r)
	return r, nil
}

// complete fills the defaults in and finds what cannot be sent.
func (p *Probe) complete() error {
	if p.Network == "" {
		if p.Network = "icmp"; p.Port != 0 {
			p.Network = "tcp"
		}
	}
	if p.Timeout == 0 {
		p.Timeout = 10 * time.Second
	}
	switch {
	case p.From == nil:
		return fmt.Errorf("explain: nobody sends, want a machine")
	case p.Network != "icmp" && p.Network != "tcp" && p.Network != "udp":
		return fmt.Errorf("explain: network %q, want icmp, tcp or udp", p.Network)
	case p.Network == "icmp" && p.Port != 0:
		return fmt.Errorf("explain: a ping with port %d, want tcp or udp", p.Port)
	case p.Network != "icmp" && p.Port == 0:
		return fmt.Errorf("explain: %s without a port, want one", p.Network)
	case p.Network != "icmp" && (p.Size != 0 || p.TTL != 0 || p.DontFragment):
		return fmt.Errorf("explain: %s with a size, a TTL or DF, which only a ping has", p.Network)
	case p.Size < 0 || p.Size > maxPing:
		return fmt.Errorf("explain: ping of %d bytes, want 0 to %d", p.Size, maxPing)
	}
	return nil
}

// maxPing is what an IPv4 packet holds besides its header and ICMP's.
const maxPing = 65535 - 20 - 8

// payload is what a datagram carries.
const payload = "podwire explain"

// send sends the packet, waits for the answer, and calls stop before what comes
// after it: the end of the connection.
func (p *Probe) send(lab *emu.Lab, to netip.Addr, stop func()) error {
	defer stop()
	if p.Network == "icmp" {
		reply, err := p.From.PingWith(to.String(), stack.PingConfig{Size: p.Size, TTL: p.TTL, DontFragment: p.DontFragment}, p.Timeout)
		if err == nil {
			err = reply.Err()
		}
		lab.Sleep(0)
		return err
	}
	ctx, cancel := lab.WithTimeout(context.Background(), p.Timeout)
	defer cancel()
	conn, err := p.From.DialContext(ctx, p.Network, netip.AddrPortFrom(to, p.Port).String())
	if err != nil {
		lab.Sleep(0)
		return err
	}
	defer conn.Close()
	if p.Network == "udp" {
		conn.SetDeadline(lab.Deadline(p.Timeout))
		if _, err = conn.Write([]byte(payload)); err == nil {
			_, err = conn.Read(make([]byte, len(payload)))
		}
	}
	lab.Sleep(0)
	stop()
	return err
}
