package conntrack

import "encoding/binary"

// TCP header flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
	flagURG
)

// What a segment is for the state machine.
const (
	segSYN = iota
	segSYNACK
	segFIN
	segACK
	segRST
	segKinds
	segNothing = segKinds // no segment seen yet
)

// segment is a TCP header as the tracker needs it.
type segment struct {
	header   []byte // with options
	seq, ack uint32
	end      uint32 // sequence number after the segment, SYN and FIN counted
	win      uint16
	flags    uint8
	kind     uint8
}

// tcpFlagsValid has bit f set if f, without PSH, is a combination of flags that real connections use.
const tcpFlagsValid uint64 = 1<<flagSYN | 1<<(flagSYN|flagURG) | 1<<(flagSYN|flagACK) |
	1<<flagRST | 1<<(flagRST|flagACK) |
	1<<(flagFIN|flagACK) | 1<<(flagFIN|flagACK|flagURG) |
	1<<flagACK | 1<<(flagACK|flagURG)

// parse reads the header at the start of l4; false if it is cut short or its flags make no sense.
func (s *segment) parse(l4 []byte) bool {
	if len(l4) < 20 {
		return false
	}
	hlen := int(l4[12]>>4) * 4
	if hlen < 20 || hlen > len(l4) {
		return false
	}
	flags := l4[13] & (flagFIN | flagSYN | flagRST | flagACK | flagURG)
	if tcpFlagsValid>>flags&1 == 0 {
		return false
	}
	*s = segment{
		header: l4[:hlen],
		seq:    binary.BigEndian.Uint32(l4[4:]),
		ack:    binary.BigEndian.Uint32(l4[8:]),
		win:    binary.BigEndian.Uint16(l4[14:]),
		flags:  flags,
		kind:   segKind(flags),
	}
	s.end = s.seq + uint32(len(l4)-hlen)
	if flags&flagSYN != 0 {
		s.end++
	}
	if flags&flagFIN != 0 {
		s.end++
	}
	return true
}

func segKind(flags uint8) uint8 {
	switch {
	case flags&flagRST != 0:
		return segRST
	case flags&(flagSYN|flagACK) == flagSYN|flagACK:
		return segSYNACK
	case flags&flagSYN != 0:
		return segSYN
	case flags&flagFIN != 0:
		return segFIN
	}
	return segACK
}
