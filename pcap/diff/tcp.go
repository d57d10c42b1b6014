package diff

import (
	"fmt"
	"strings"
)

// tcp is a TCP header (RFC 9293 §3.1) with the options of RFC 2018 and 7323.
type tcp struct {
	src, dst       uint16
	seq, ack       uint32
	flags          uint16 // the low 9 bits, NS to FIN
	window, urgent uint16
	sum            string
	rawSum         uint16
	short          bool     // quoted by an ICMP error: only ports and seq are there
	head           int      // bytes of header
	order          []string // names of the options as they come
	mss            int      // -1: absent; so are the next two
	wscale         int
	hasTS          bool
	tsval, tsecr   uint32
	sack           []uint32 // left and right edges in turn
	other          []byte   // options that are not known, with kind and length, and bad ones
	raw            []byte   // all options
}

const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
	flagURG
	flagECE
	flagCWR
	flagNS
)

// flagNames are in the order of the bits from FIN.
var flagNames = [9]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS"}

// flagText names flags the way people do: SYN-ACK, FIN-ACK, PSH-ACK.
func flagText(f uint16) string {
	var names []string
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if names == nil {
		return "no flags"
	}
	return strings.Join(names, "-")
}

func (l *level) readTCP(b []byte) {
	t := &tcp{
		src: be.Uint16(b), dst: be.Uint16(b[2:]), seq: be.Uint32(b[4:]), ack: be.Uint32(b[8:]), flags: be.Uint16(b[12:]) & 0x1ff,
		window: be.Uint16(b[14:]), rawSum: be.Uint16(b[16:]), urgent: be.Uint16(b[18:]), mss: -1, wscale: -1,
	}
	t.sum = sumState(l.ip, b, 16, true)
	t.head = min(max(int(b[12]>>4)*4, 20), len(b))
	t.raw = b[20:t.head]
	t.readOptions(t.raw)
	l.tcp, l.rest = t, b[t.head:]
}

func (t *tcp) readOptions(b []byte) {
	for len(b) > 0 {
		switch {
		case b[0] == 0:
			t.order = append(t.order, "end")
			return
		case b[0] == 1:
			t.order, b = append(t.order, "nop"), b[1:]
			continue
		case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
			t.order, t.other = append(t.order, "malformed"), append(t.other, b...)
			return
		}
		t.order = append(t.order, t.option(b[:b[1]]))
		b = b[b[1]:]
	}
}

// option reads one option with kind and length, and returns its name.
func (t *tcp) option(o []byte) string {
	v := o[2:]
	switch {
	case o[0] == 2 && len(v) == 2:
		t.mss = int(be.Uint16(v))
		return "mss"
	case o[0] == 3 && len(v) == 1:
		t.wscale = int(v[0])
		return "wscale"
	case o[0] == 4 && len(v) == 0:
		return "sack-permitted"
	case o[0] == 5 && len(v)%8 == 0:
		for ; len(v) > 0; v = v[4:] {
			t.sack = append(t.sack, be.Uint32(v))
		}
		return "sack"
	case o[0] == 8 && len(v) == 8:
		t.hasTS, t.tsval, t.tsecr = true, be.Uint32(v), be.Uint32(v[4:])
		return "timestamps"
	}
	t.other = append(t.other, o...)
	return fmt.Sprintf("option-%d", o[0])
}
