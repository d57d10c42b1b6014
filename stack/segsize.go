package stack

import (
	"encoding/binary"
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/podwire/podwire/link"
)

// gVisor's segments are short by the room of a full SACK option, which it keeps free
// in each. Linux' are short by it only while there is something to report
// (tcp_current_mss). So an endpoint is told of larger segments when it is connected,
// and again when it has learned of a smaller path MTU; and a segment that would have
// been too large with the option goes without it. The peer learns what is missing by
// acknowledgements without data, which gVisor sends at once.

// optionFields tell which options a connection has agreed on, and where else gVisor
// keeps the size of its segments: with the list of what the peer has reported.
type optionFields struct{ sack, timestamps, scoreboard, size reflect.StructField }

var ofOptions, optionsKnown = findOptions()

func findOptions() (f optionFields, ok bool) {
	of := reflect.TypeFor[tcp.Endpoint]()
	ok = senderKnown
	find := func(of reflect.Type, name string, kind reflect.Kind) (field reflect.StructField) {
		if ok {
			field, ok = of.FieldByName(name)
			ok = ok && field.Type.Kind() == kind
		}
		return field
	}
	f.sack = find(of, "SACKPermitted", reflect.Bool)
	f.timestamps = find(of, "SendTSOk", reflect.Bool)
	f.scoreboard = find(of, "scoreboard", reflect.Pointer)
	f.size = find(reflect.TypeFor[tcp.SACKScoreboard](), "smss", reflect.Uint16)
	ok = ok && len(f.scoreboard.Index) == 1 && f.scoreboard.Type == reflect.TypeFor[*tcp.SACKScoreboard]()
	return f, ok
}

// optionSizes returns how much of each segment gVisor keeps free for timestamps, and
// how much for as many blocks of SACK as there is room for.
func optionSizes(ep *tcp.Endpoint) (timestamps, sack int) {
	v := reflect.ValueOf(ep).Elem()
	blocks := 4
	if v.FieldByIndex(ofOptions.timestamps.Index).Bool() {
		timestamps, blocks = 2+10, 3
	}
	if v.FieldByIndex(ofOptions.sack.Index).Bool() {
		sack = 2 + 2 + 8*blocks
	}
	return timestamps, sack
}

// fill lets an endpoint that has just been connected fill its segments.
func fill(ep tcpip.Endpoint) {
	resize(ep, func(now, _, sack int) int { return now + sack })
}

// refill is fill for an endpoint that has learned of a path MTU.
func refill(ep tcpip.Endpoint, mtu int) {
	resize(ep, func(now, timestamps, sack int) int {
		if most := mtu - mssHeaders - timestamps; now == most-sack {
			return most
		}
		return now // it had smaller ones before
	})
}

func resize(ep tcpip.Endpoint, size func(now, timestamps, sack int) int) {
	e, _ := ep.(*tcp.Endpoint)
	if e == nil || !optionsKnown {
		return
	}
	e.LockUser()
	defer e.UnlockUser()
	sender := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(e), ofSender.sender.Offset))
	if sender == nil {
		return
	}
	state := (*tcp.TCPSenderState)(unsafe.Add(sender, ofSender.state.Offset))
	timestamps, sack := optionSizes(e)
	state.MaxPayloadSize = size(state.MaxPayloadSize, timestamps, sack)
	if reported := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(e), ofOptions.scoreboard.Offset)); reported != nil {
		*(*uint16)(unsafe.Add(reported, ofOptions.size.Offset)) = uint16(state.MaxPayloadSize)
	}
}

// makeFit takes the SACK option out of a segment with data that would be too large
// for its device or path.
func (n *netstack) makeFit(f *link.Frame) {
	ip := ipv4(f.Bytes())
	if ip.proto() != protoTCP || len(ip) < ip.headerLen()+20 {
		return
	}
	seg := ip.payload()
	size := int(seg[12]>>4) * 4
	if size < 20+2+10 || size >= len(seg) {
		return
	}
	at := optionAt(seg, header.TCPOptionSACK, anySize)
	if at == 0 {
		return
	}
	_, dev, ok := n.host.Source(ip.dst())
	if !ok || len(ip) <= n.host.pathMTU(ip.dst(), dev.MTU) {
		return
	}
	end := at + int(seg[at+1])
	for at > 20 && seg[at-1] == header.TCPOptionNOP { // what has aligned it
		at--
	}
	gone := end - at
	if gone%4 != 0 {
		return // gVisor does not write that
	}
	copy(seg[at:], seg[end:])
	seg[12] -= byte(gone/4) << 4
	f.Truncate(f.Len() - gone)
	ip = ipv4(f.Bytes())
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[6:], 0) // gVisor had cut it, see whole
	ip.fixChecksum()
	sumTransport(ip)
}
