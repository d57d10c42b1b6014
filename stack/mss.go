package stack

import (
	"encoding/binary"

	"github.com/podwire/podwire/stack/netfilter"
)

const (
	optionMSS  = 2 // kind of the MSS option (RFC 9293 §3.2)
	mssLen     = 4
	mssAbsent  = 536 // what a peer assumes without the option (RFC 9293 §3.7.1)
	mssHeaders = ipv4MinHeader + 20
	maxTCP     = 15 * 4 // the data offset has four bits
)

// setMSS is what TCPMSS does to a SYN (xt_TCPMSS): it lowers the MSS option and
// never raises it; a SYN without the option gets one. It reports false for a
// packet that is to be dropped.
func (h *Host) setMSS(p *packet, a netfilter.MSSAction) bool {
	ip := p.ip()
	if ip.proto() != protoTCP || ip.later() {
		return true
	}
	seg := ip.payload()
	if len(seg) < 20 {
		return false
	}
	end := int(seg[12]>>4) * 4
	if end < 20 || end > len(seg) {
		return false
	}
	want := a.Set
	if a.Clamp {
		mtu := min(h.pathMTU(ip.dst(), p.out.MTU), h.reverseMTU(ip))
		if mtu <= mssHeaders {
			return false
		}
		want = uint16(mtu - mssHeaders)
	}
	if at := mssAt(seg[:end]); at > 0 {
		if binary.BigEndian.Uint16(seg[at+2:]) > want {
			putWord(seg, at+2, want)
		}
		return true
	}
	if len(seg) == end && end <= maxTCP-mssLen {
		h.addMSS(p, min(want, mssAbsent))
	}
	return true
}

// mssAt returns where the MSS option is in a TCP header, 0 if nowhere.
func mssAt(header []byte) int {
	for at := 20; at+mssLen <= len(header); {
		switch {
		case header[at] == optionMSS && header[at+1] == mssLen:
			return at
		case header[at] <= 1 || header[at+1] == 0: // end or no-op; a length of 0 goes on by one, as in the kernel
			at++
		default:
			at += int(header[at+1])
		}
	}
	return 0
}

// putWord changes one 16-bit word of a segment and mends the checksum, which
// comes out wrong for a word at an odd place: so it does in the kernel, and no
// TCP puts its options so.
func putWord(seg []byte, at int, v uint16) {
	old := binary.BigEndian.Uint16(seg[at:])
	binary.BigEndian.PutUint16(seg[at:], v)
	MendChecksum(seg[16:18], old, v)
}

// addMSS puts the option in front of the others.
func (h *Host) addMSS(p *packet, mss uint16) {
	old := p.frame
	ip, right := p.ip(), p.sumOK()
	at := ip.headerLen() + 20
	f := h.drv.NewFrame(len(ip) + mssLen)
	f.Inherit(old)
	b := f.Bytes()
	copy(b, ip[:at])
	b[at], b[at+1] = optionMSS, mssLen
	binary.BigEndian.PutUint16(b[at+2:], mss)
	copy(b[at+mssLen:], ip[at:])
	whole := ipv4(b)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	whole.fixChecksum()
	whole.payload()[12] += mssLen / 4 << 4
	if right { // a segment that was corrupt stays so
		sumTransport(whole)
	}
	copyEthernet(f, old)
	old.Release()
	p.frame = f
}

// reverseMTU is the MTU of the way back to the packet's source.
func (h *Host) reverseMTU(ip ipv4) int {
	_, dev, ok := h.Source(ip.src())
	if !ok {
		return 65535
	}
	return h.pathMTU(ip.src(), dev.MTU)
}
