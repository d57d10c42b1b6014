package stack

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/podwire/podwire/link"
)

// PingConfig describes echo requests. The zero value sends what `ping -s 56`
// sends.
type PingConfig struct {
	Size int  // bytes after the ICMP header; 0 means 56, negative none
	TTL  byte // 0 means 64
	TOS  byte

	// DontFragment is `ping -M do`: a packet larger than the device's MTU is
	// refused with EMSGSIZE, and the identification is 0.
	DontFragment bool

	// MayFragment is `ping -M dont`: DF is clear.
	MayFragment bool
}

// A PingReply says what came back for one echo request.
type PingReply struct {
	From netip.Addr    // who answered: the destination, or who sent an error
	RTT  time.Duration // exact in virtual time
	TTL  byte          // of the answer as it came in
	Type byte          // ICMP type: 0 for an echo reply, else an error
	Code byte
	MTU  int // of a "fragmentation needed" error (RFC 1191 §4)
}

// Err returns what an error reply means to a socket, nil for an echo reply.
func (r PingReply) Err() error {
	switch {
	case r.Type == icmpEchoReply:
		return nil
	case r.Type == icmpTimeExceeded:
		return fmt.Errorf("time to live exceeded, from %v", r.From)
	case r.Type == icmpUnreachable && r.Code == codeFragNeeded:
		return fmt.Errorf("message too long, mtu=%d, from %v", r.MTU, r.From)
	case r.Type == icmpUnreachable:
		return fmt.Errorf("%s, from %v", unreachableText(r.Code), r.From)
	}
	return fmt.Errorf("ICMP type %d code %d, from %v", r.Type, r.Code, r.From)
}

func unreachableText(code byte) string {
	switch code {
	case codeNet:
		return "destination net unreachable"
	case codeHost:
		return "destination host unreachable"
	case codeProtocol:
		return "destination protocol unreachable"
	case codePort:
		return "destination port unreachable"
	case codeProhibited:
		return "packet filtered"
	}
	return fmt.Sprintf("destination unreachable, code %d", code)
}

// PingConn sends echo requests with one ICMP identifier, as one run of ping
// does. Methods may be called from one goroutine at a time.
type PingConn struct {
	host   *Host
	id     uint16
	ipID   uint16
	cfg    PingConfig
	wait   *link.Waiter
	timer  *link.Timer
	sent   map[uint16]time.Duration // when each sequence number left
	got    map[uint16]PingReply
	closed bool
}

// OpenPing returns a PingConn with a free identifier.
func (h *Host) OpenPing(cfg PingConfig) (*PingConn, error) {
	c := &PingConn{host: h, cfg: cfg, sent: make(map[uint16]time.Duration), got: make(map[uint16]PingReply)}
	var err error
	h.drv.Do(func() {
		if len(h.pings) == 1<<16-1 {
			err = fmt.Errorf("stack: %s: no free ICMP identifier", h.name)
			return
		}
		c.wait = h.drv.NewWaiter()
		c.ipID = uint16(h.rng.Uint32()) | 1
		for c.id = uint16(h.rng.Uint32()); c.id == 0 || h.pings[c.id] != nil; {
			c.id++
		}
		h.pings[c.id] = c
	})
	return c, err
}

// Close ends the PingConn; a Ping that waits returns net.ErrClosed.
func (c *PingConn) Close() error {
	c.host.drv.Do(func() {
		delete(c.host.pings, c.id)
		c.closed = true
		c.wait.Wake()
	})
	return nil
}

// Ping sends one echo request with the sequence number seq and waits for what
// comes back, at most for the timeout. Without an answer the error is
// os.ErrDeadlineExceeded; a packet that cannot be sent is a system error.
func (c *PingConn) Ping(to netip.Addr, seq uint16, timeout time.Duration) (PingReply, error) {
	var err error
	expired := false
	c.host.drv.Do(func() {
		if err = c.send(to, seq); err == nil {
			c.timer = c.host.drv.AfterFunc(c.host.source, timeout, func() {
				expired = true
				c.wait.Wake()
			})
		}
	})
	if err != nil {
		return PingReply{}, &net.OpError{Op: "ping", Net: "ip", Addr: &net.IPAddr{IP: to.AsSlice()}, Err: err}
	}
	for {
		c.wait.Wait()
		var r PingReply
		var ok, gone bool
		c.host.drv.Do(func() {
			r, ok = c.got[seq]
			gone = c.closed || c.host.sockets.closed.Load() || c.host.drv.Closed()
			if ok || expired || gone {
				c.timer.Stop()
				delete(c.got, seq)
				delete(c.sent, seq)
			}
		})
		switch {
		case ok:
			return r, nil
		case gone:
			return r, net.ErrClosed
		case expired:
			return r, os.ErrDeadlineExceeded
		}
	}
}

// send sends one request. The caller holds the lock.
func (c *PingConn) send(to netip.Addr, seq uint16) error {
	h := c.host
	if c.closed || h.sockets.closed.Load() {
		return net.ErrClosed
	}
	src, dev, ok := h.Source(to)
	if !ok {
		return os.NewSyscallError("sendto", syscall.ENETUNREACH)
	}
	size := c.cfg.Size
	if size == 0 {
		size = 56
	}
	size = min(max(0, size), 65535)
	total := ipv4MinHeader + icmpHeader + size
	if total > 65535 || c.cfg.DontFragment && total > dev.MTU {
		return os.NewSyscallError("sendto", syscall.EMSGSIZE)
	}
	f := h.newFrame(total)
	b := f.Bytes()
	c.header(src, to, total > dev.MTU).put(b, total)
	msg := b[ipv4MinHeader:]
	for i := range msg[icmpHeader:] {
		msg[icmpHeader+i] = byte(i)
	}
	putICMP(msg, icmpEcho, 0, uint32(c.id)<<16|uint32(seq), msg[icmpHeader:])
	c.sent[seq] = h.now()
	h.sendLocal(&packet{frame: f})
	return nil
}

// header returns the IP header of the next request: numbered, with DF, unless
// the configuration says otherwise or the packet must be cut.
func (c *PingConn) header(src, dst netip.Addr, cut bool) ipHeader {
	hdr := ipHeader{tos: c.cfg.TOS, id: c.ipID, flags: flagDF, ttl: c.cfg.TTL, proto: protoICMP, src: src, dst: dst}
	if c.ipID++; c.ipID == 0 {
		c.ipID = 1
	}
	if hdr.ttl == 0 {
		hdr.ttl = defaultTTL
	}
	switch {
	case c.cfg.DontFragment:
		hdr.id = 0
	case c.cfg.MayFragment || cut:
		hdr.flags = 0
	}
	return hdr
}

// pingReply hands an echo reply to the PingConn that asked. It owns p.
func (h *Host) pingReply(p *packet) {
	msg := p.ip().payload()
	h.pingResult(p, binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:]))
}

// pingError hands an ICMP error about an echo request to whoever sent it.
func (h *Host) pingError(p *packet, quoted ipv4) {
	msg := quoted.payload()
	if msg[0] != icmpEcho {
		h.drop(p, DropNoSocket)
		return
	}
	h.pingResult(p, binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:]))
}

func (h *Host) pingResult(p *packet, id, seq uint16) {
	c := h.pings[id]
	if c == nil {
		h.drop(p, DropNoSocket)
		return
	}
	at, ok := c.sent[seq]
	if !ok {
		h.drop(p, DropNoSocket)
		return
	}
	ip := p.ip()
	msg := ip.payload()
	r := PingReply{From: ip.src(), RTT: h.now() - at, TTL: ip.ttl(), Type: msg[0], Code: msg[1]}
	if r.Type == icmpUnreachable && r.Code == codeFragNeeded {
		r.MTU = int(binary.BigEndian.Uint16(msg[6:]))
	}
	c.got[seq] = r
	c.wait.Wake()
	p.frame.Release()
}

// Close ends the host: its sockets, timers of its own and goroutines. What is
// still in flight towards it is dropped. The caller does not hold the lock.
func (h *Host) Close() {
	h.drv.Do(func() {
		h.sockets.close()
		for _, c := range h.pings {
			c.wait.Wake()
		}
	})
}
