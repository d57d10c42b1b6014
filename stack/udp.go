package stack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/podwire/podwire/link"
)

// pieceKey names a datagram that gVisor is handing over in pieces.
type pieceKey struct {
	src, dst [4]byte
	id       uint16
}

// whole undoes gVisor's fragmentation: it cuts a datagram at the device's MTU
// before the host sees it, whereas Linux takes it through OUTPUT and POSTROUTING
// in one piece and then cuts it at the path MTU. It returns the whole datagram,
// or nil while pieces are missing, and owns f. Pieces come in order.
func (n *netstack) whole(f *link.Frame) *link.Frame {
	ip := ipv4(f.Bytes())
	if !ip.fragment() {
		return f
	}
	defer f.Release()
	k := pieceKey{[4]byte(ip[12:16]), [4]byte(ip[16:20]), ip.id()}
	b := n.pieces[k]
	if int(ip.flags()&fragOffset) == 0 {
		b = append([]byte(nil), ip[:ip.headerLen()]...)
	}
	b = append(b, ip.payload()...)
	if ip.flags()&flagMF != 0 {
		if n.pieces == nil {
			n.pieces = make(map[pieceKey][]byte)
		}
		n.pieces[k] = b
		return nil
	}
	delete(n.pieces, k)
	g := n.host.newFrame(len(b))
	copy(g.Bytes(), b)
	binary.BigEndian.PutUint16(g.Bytes()[2:], uint16(len(b)))
	return g
}

// hardError is what an ICMP error makes of a connected UDP socket, 0 for
// nothing: transient errors are not reported without IP_RECVERR (__udp4_lib_err,
// icmp_err_convert). 3/8, which no router sends (RFC 1812 §5.2.7.1), is ENONET on
// Linux, and that other systems lack.
func hardError(typ, code byte) syscall.Errno {
	switch {
	case typ == icmpParameter:
		return syscall.EPROTO
	case typ != icmpUnreachable:
		return 0
	}
	switch code {
	case codeProtocol:
		return syscall.ENOPROTOOPT
	case codePort:
		return syscall.ECONNREFUSED
	case codeFragNeeded:
		return syscall.EMSGSIZE
	case 6, 9: // network unknown, prohibited
		return syscall.ENETUNREACH
	case 7: // host unknown
		return syscall.EHOSTDOWN
	case 8, 10, codeProhibited, 14, 15: // host isolated, prohibited; filtered, precedence
		return syscall.EHOSTUNREACH
	}
	return 0
}

// datagramError tells the connected UDP socket that has sent a datagram of an
// ICMP error about it. Sockets that are not connected never hear of one.
func (n *netstack) datagramError(msg []byte, quoted ipv4) {
	e := hardError(msg[0], msg[1])
	if e == 0 {
		return
	}
	sport, dport, ok := quoted.ports()
	if !ok {
		return
	}
	for _, s := range n.list() {
		c, is := s.(*Conn)
		if !is || c.net != "udp" || !isAt(c.local, quoted.src(), sport) || !isAt(c.remote, quoted.dst(), dport) {
			continue
		}
		c.hard.Store(e)
		c.read.wait.Load().Wake()
		c.write.wait.Load().Wake()
		return
	}
}

// isAt reports whether a socket's address is that one.
func isAt(a net.Addr, ip netip.Addr, port uint16) bool {
	u, ok := a.(*net.UDPAddr)
	return ok && u.AddrPort() == netip.AddrPortFrom(ip, port)
}

// takeHard returns the error that an ICMP message has left, once: whichever call
// comes first has it, and a write that has it sends nothing (sock_error).
func (c *Conn) takeHard(call string) error {
	if c.net != "udp" {
		return nil
	}
	if e, _ := c.hard.Swap(syscall.Errno(0)).(syscall.Errno); e != 0 {
		return os.NewSyscallError(call, e)
	}
	return nil
}
