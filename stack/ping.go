package stack

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
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

	// Source is `ping -I ADDRESS`. The zero value lets the host choose.
	Source netip.Addr

	// Device is `ping -I NAME`: requests leave by it, whatever the route is.
	Device *Device
}

// PingConn sends echo requests with one ICMP identifier, as one run of ping
// does. Methods may be called from one goroutine at a time.
type PingConn struct {
	host   *Host
	id     uint16
	cfg    PingConfig
	wait   *link.Waiter
	sent   map[uint16]*sentPing // by sequence number
	got    []PingReply          // not yet received, in the order in which they came
	closed bool
}

// sentPing is what is remembered of one request.
type sentPing struct {
	at       time.Duration
	answered bool
}

// OpenPing returns a PingConn with a free identifier.
func (h *Host) OpenPing(cfg PingConfig) (*PingConn, error) {
	c := &PingConn{host: h, cfg: cfg, sent: make(map[uint16]*sentPing)}
	var err error
	h.drv.Do(func() {
		if len(h.pings) == 1<<16-1 {
			err = fmt.Errorf("stack: %s: no free ICMP identifier", h.name)
			return
		}
		c.wait = h.drv.NewWaiter()
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
	if err := c.Send(to, seq); err != nil {
		return PingReply{}, err
	}
	defer c.host.drv.Do(func() { delete(c.sent, seq) })
	return c.await(timeout, func(r PingReply) bool { return r.Seq == seq })
}

// Send sends one echo request with the sequence number seq and does not wait.
// Numbers that are used again are forgotten first.
func (c *PingConn) Send(to netip.Addr, seq uint16) error {
	var err error
	c.host.drv.Do(func() { err = c.send(to, seq) })
	return opError("ping", "ip", nil, &net.IPAddr{IP: to.AsSlice()}, err)
}

// Receive returns the next answer to what was sent, in the order in which they
// come in, several for one request included. It waits at most for the timeout;
// then the error is os.ErrDeadlineExceeded.
func (c *PingConn) Receive(timeout time.Duration) (PingReply, error) {
	return c.await(timeout, func(PingReply) bool { return true })
}

// SetTTL changes the TTL of the requests to come; 0 means 64.
func (c *PingConn) SetTTL(ttl byte) { c.host.drv.Do(func() { c.cfg.TTL = ttl }) }

// await returns the first answer that want accepts.
func (c *PingConn) await(timeout time.Duration, want func(PingReply) bool) (r PingReply, err error) {
	drv := c.host.drv
	expired := false
	var timer *link.Timer
	drv.Do(func() {
		timer = drv.AfterFunc(c.host.source, max(timeout, 0), func() {
			expired = true
			c.wait.Wake()
		})
	})
	for {
		again := false
		drv.Do(func() {
			i := slices.IndexFunc(c.got, want)
			switch {
			case i >= 0:
				r = c.got[i]
				c.got = slices.Delete(c.got, i, i+1)
			case c.closed || c.host.sockets.closed.Load() || drv.Closed():
				err = net.ErrClosed
			case expired:
				err = os.ErrDeadlineExceeded
			default:
				again = true
				return
			}
			timer.Stop()
		})
		if !again {
			return r, err
		}
		c.wait.Wait()
	}
}

// send sends one request. The caller holds the lock.
func (c *PingConn) send(to netip.Addr, seq uint16) error {
	h := c.host
	if c.closed || h.sockets.closed.Load() {
		return net.ErrClosed
	}
	src, dev, ok := h.Source(to)
	if d := c.cfg.Device; d != nil {
		src, dev, ok = h.sourceFor(d, to), d, true
	}
	if !ok {
		return os.NewSyscallError("sendto", syscall.ENETUNREACH)
	}
	if c.cfg.Source.IsValid() {
		src = c.cfg.Source
	}
	size := c.cfg.Size
	if size == 0 {
		size = 56
	}
	size = min(max(0, size), 65535)
	total := ipv4MinHeader + icmpHeader + size
	if total > 65535 || c.cfg.DontFragment && total > h.pathMTU(to, dev.MTU) {
		return os.NewSyscallError("sendto", syscall.EMSGSIZE)
	}
	f := h.newFrame(total)
	b := f.Bytes()
	c.header(src, to, total > h.pathMTU(to, dev.MTU) || h.pathLocked(to) && !c.cfg.DontFragment).put(b, total)
	msg := b[ipv4MinHeader:]
	c.host.fillEcho(msg[icmpHeader:])
	putICMP(msg, icmpEcho, 0, uint32(c.id)<<16|uint32(seq), msg[icmpHeader:])
	c.sent[seq] = &sentPing{at: h.now()}
	h.sendBy(c.cfg.Device, &packet{frame: f, socket: true})
	return nil
}

// fillEcho writes the data of an echo request as iputils does: bytes that count
// up, and in place of the first 16 the time of sending, if there are as many.
func (h *Host) fillEcho(data []byte) {
	for i := range data {
		data[i] = byte(i)
	}
	if len(data) >= 16 {
		at := h.drv.Epoch().Add(h.now())
		binary.LittleEndian.PutUint64(data, uint64(at.Unix()))
		binary.LittleEndian.PutUint64(data[8:], uint64(at.Nanosecond()/1000))
	}
}

// header returns the IP header of the next request: numbered, with DF, unless
// the configuration says otherwise or the packet must be cut.
func (c *PingConn) header(src, dst netip.Addr, cut bool) ipHeader {
	h := c.host
	hdr := ipHeader{tos: c.cfg.TOS, flags: flagDF, ttl: c.cfg.TTL, proto: protoICMP, src: src, dst: dst}
	group := dst.IsMulticast() || isLimitedBroadcast(dst) || h.broadcast.get(dst) != nil
	switch {
	case hdr.ttl != 0:
	case dst.IsMulticast():
		hdr.ttl = 1 // IP_MULTICAST_TTL
	default:
		hdr.ttl = h.ttl()
	}
	switch {
	case c.cfg.MayFragment || cut:
		hdr.flags = 0
	case c.cfg.DontFragment || group: // ping has -M do for all but unicast
		return hdr
	}
	hdr.id = h.nextID(src, dst, protoICMP)
	return hdr
}
