package explain

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/podwire/podwire/emu"
)

func short(name string) string { return strings.TrimPrefix(name, "default/") }

// reason is what the system says of an error, in perror(3)'s words.
func reason(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &errno):
		if text, ok := errnoText[errno]; ok { // Windows has other words
			return text
		}
	}
	return err.Error()
}

var errnoText = map[syscall.Errno]string{
	syscall.ECONNREFUSED: "connection refused",
	syscall.ECONNRESET:   "connection reset by peer",
	syscall.EHOSTUNREACH: "no route to host",
	syscall.ENETUNREACH:  "network is unreachable",
	syscall.EMSGSIZE:     "message too long",
	syscall.EINVAL:       "invalid argument",
	syscall.EACCES:       "permission denied",
	syscall.EPERM:        "operation not permitted",
}

// unreachable names the codes of ICMP destination unreachable (RFC 792, 1122, 1812).
var unreachable = map[byte]string{
	0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
	5: "source route failed", 6: "network unknown", 7: "host unknown",
	9: "network prohibited", 10: "host prohibited", 13: "administratively prohibited",
}

// describe says in words what a packet is.
func describe(b []byte) string {
	at := 4 * int(b[0]&15)
	if len(b) < at+8 {
		return "packet"
	}
	switch b[9] {
	case protoICMP:
		return describeICMP(b[at:])
	case protoUDP:
		return "UDP datagram"
	case protoTCP:
		if len(b) < at+14 {
			return "TCP segment"
		}
		switch flags := b[at+13]; {
		case flags&flagRST != 0:
			return "TCP RST"
		case flags&(flagSYN|flagACK) == flagSYN|flagACK:
			return "TCP SYN-ACK"
		case flags&flagSYN != 0:
			return "TCP SYN"
		}
		return "TCP segment"
	}
	return "packet"
}

// TCP flags (RFC 9293 §3.1).
const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// describeICMP says in words what an ICMP message of at least 8 bytes is.
func describeICMP(b []byte) string {
	switch b[0] {
	case echoReply:
		return "echo reply"
	case echoRequest:
		return "echo request"
	case icmpTimeExceeded:
		return "ICMP time to live exceeded"
	case icmpUnreachable:
		if b[1] == 4 { // RFC 1191 §4
			return fmt.Sprintf("ICMP fragmentation needed, MTU %d", binary.BigEndian.Uint16(b[6:]))
		}
		if what, ok := unreachable[b[1]]; ok {
			return "ICMP " + what
		}
	}
	return fmt.Sprintf("ICMP type %d code %d", b[0], b[1])
}

// names calls addresses what people call them.
type names struct {
	lab      *emu.Lab
	services map[netip.Addr]string
	real     map[netip.Addr]string // machines that are real, by TAPs
	cache    map[netip.Addr]string
}

func newNames(lab *emu.Lab) *names {
	n := &names{lab, make(map[netip.Addr]string), make(map[netip.Addr]string), make(map[netip.Addr]string)}
	for _, t := range lab.TAPs() {
		n.real[t.Addr()] = t.Name()
	}
	for _, s := range lab.Services() {
		name := "svc/" + s.Name
		if s.Namespace != "default" {
			name = "svc/" + s.Namespace + "/" + s.Name
		}
		addrs := append([]string{s.Spec.ClusterIP}, s.Spec.ExternalIPs...)
		for _, in := range s.Status.LoadBalancer.Ingress {
			addrs = append(addrs, in.IP)
		}
		for _, text := range addrs {
			if a, err := netip.ParseAddr(text); err == nil {
				n.services[a] = name
			}
		}
	}
	return n
}

// of returns the name of an address, "" if there is none. An address that is not
// a machine's first is shown with the name: a node has several.
func (n *names) of(a netip.Addr) string {
	name, ok := n.cache[a]
	if ok {
		return name
	}
	if name = cmp.Or(n.services[a], n.real[a]); name == "" {
		if m := n.lab.Owner(a); m != nil {
			if name = short(m.Name()); a != m.Addr() {
				name += "(" + a.String() + ")"
			}
		}
	}
	n.cache[a] = name
	return name
}

// or returns the name of an address, or the address.
func (n *names) or(a netip.Addr) string {
	if name := n.of(a); name != "" {
		return name
	}
	return a.String()
}

var ipv4 = regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`)

// in replaces the addresses of a text by names.
func (n *names) in(text string) string {
	return ipv4.ReplaceAllStringFunc(text, func(s string) string {
		if a, err := netip.ParseAddr(s); err == nil {
			return n.or(a)
		}
		return s
	})
}
