package stack

import (
	"reflect"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// senderFields are those fields of gVisor's sender that a congestion control
// needs. gVisor knows its own congestion controls only and exports none of this:
// the fields are found by name and type. A test says when a release of gVisor has
// them no more; then its own congestion control stays.
type senderFields struct {
	sender, state, minRTO, control, timer, target reflect.StructField
}

var ofSender, senderKnown = findSender()

func findSender() (f senderFields, ok bool) {
	find := func(of reflect.Type, name string, is func(reflect.Type) bool) reflect.StructField {
		field, found := of.FieldByName(name)
		ok = ok && found && len(field.Index) == 1 && is(field.Type)
		return field
	}
	ok = true
	f.sender = find(reflect.TypeFor[tcp.Endpoint](), "snd", func(t reflect.Type) bool {
		return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
	})
	if !ok {
		return f, false
	}
	sender := f.sender.Type.Elem()
	f.state = find(sender, "TCPSenderState", func(t reflect.Type) bool { return t == reflect.TypeFor[tcp.TCPSenderState]() })
	f.minRTO = find(sender, "minRTO", func(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() })
	f.control = find(sender, "cc", func(t reflect.Type) bool {
		return t.Kind() == reflect.Interface && reflect.TypeFor[*congestion]().Implements(t) && t.Implements(reflect.TypeFor[controller]())
	})
	f.timer = find(sender, "resendTimer", func(t reflect.Type) bool { return t.Kind() == reflect.Struct })
	if ok {
		f.target = find(f.timer.Type, "target", func(t reflect.Type) bool { return t == reflect.TypeFor[tcpip.MonotonicTime]() })
	}
	return f, ok
}

// controlled sees to it that the endpoint that sends a segment with data has our
// congestion control. The endpoint is locked, as it is while it sends; in real time
// it would not be, for there the host sends later.
func (fl *flow) controlled(n *netstack, ip ipv4) {
	if fl.control == nil {
		fl.control = n.control(keyOf(ip))
	}
	if fl.control != nil {
		fl.control.sends()
	}
}

// control returns the congestion control of an endpoint that is locked, having
// given it ours; nil if there is none.
func (n *netstack) control(k flowKey) *congestion {
	ep, _ := n.endpoint(k, 0).(*tcp.Endpoint)
	if ep == nil || !senderKnown {
		return nil
	}
	sender := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(ep), ofSender.sender.Offset))
	if sender == nil {
		return nil
	}
	control := reflect.NewAt(ofSender.control.Type, unsafe.Add(sender, ofSender.control.Offset)).Elem()
	own, _ := control.Interface().(controller)
	if ours, ok := own.(*congestion); ok || own == nil {
		return ours
	}
	c := &congestion{
		slowStart: own,
		sender:    (*tcp.TCPSenderState)(unsafe.Add(sender, ofSender.state.Offset)),
		minRTO:    (*time.Duration)(unsafe.Add(sender, ofSender.minRTO.Offset)),
		timeout:   (*tcpip.MonotonicTime)(unsafe.Add(sender, ofSender.timer.Offset+ofSender.target.Offset)),
		now:       n.host.now,
		avoid:     newAvoidance(getCongestion(&n.host.cfg)),
		left:      -1,
	}
	control.Set(reflect.ValueOf(c))
	return c
}
