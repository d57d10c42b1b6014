package stack

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// gVisor's TCP handles segments in a goroutine, its processor. In virtual time the
// driver waits for that one to finish, and waking it and being woken costs as much
// as half of the handling. For connections that are established, which is where the
// packets are, the driver does the processor's work itself while that one is paused.
// What gVisor does not export for this is taken by name; the rest goes the way that
// is exported.

//go:linkname dequeueEndpoint gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*epQueue).dequeue
func dequeueEndpoint(queue unsafe.Pointer) *tcp.Endpoint

//go:linkname enqueueEndpoint gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*epQueue).enqueue
func enqueueEndpoint(queue unsafe.Pointer, ep *tcp.Endpoint)

//go:linkname noSegments gvisor.dev/gvisor/pkg/tcpip/transport/tcp.(*segmentQueue).empty
func noSegments(queue unsafe.Pointer) bool

//go:linkname handleConnected gvisor.dev/gvisor/pkg/tcpip/transport/tcp.handleConnected
func handleConnected(ep *tcp.Endpoint)

// processorFields are where the processors of a protocol and the segments of an
// endpoint are.
type processorFields struct{ dispatcher, processors, endpoints, segments reflect.StructField }

var ofProcessor, processorKnown = findProcessor()

func findProcessor() (f processorFields, ok bool) {
	ok = true
	find := func(of reflect.Type, name string, kind reflect.Kind) (field reflect.StructField) {
		if ok {
			field, ok = of.FieldByName(name)
			ok = ok && len(field.Index) == 1 && field.Type.Kind() == kind
		}
		return field
	}
	endpoint := reflect.TypeFor[tcp.Endpoint]()
	f.segments = find(endpoint, "segmentQueue", reflect.Struct)
	protocol := find(endpoint, "protocol", reflect.Pointer)
	if !ok || protocol.Type.Elem().Kind() != reflect.Struct {
		return f, false
	}
	f.dispatcher = find(protocol.Type.Elem(), "dispatcher", reflect.Struct)
	f.processors = find(f.dispatcher.Type, "processors", reflect.Slice)
	if !ok || f.processors.Type.Elem().Kind() != reflect.Struct {
		return f, false
	}
	f.endpoints = find(f.processors.Type.Elem(), "epQ", reflect.Struct)
	return f, ok
}

// processorQueue returns the endpoints that wait for the only processor of a
// protocol, or nil if there are several or they are not known.
func processorQueue(p stack.TransportProtocol) unsafe.Pointer {
	if !processorKnown {
		return nil
	}
	list := reflect.ValueOf(p).Elem().FieldByIndex(ofProcessor.dispatcher.Index).FieldByIndex(ofProcessor.processors.Index)
	if list.Len() != 1 {
		return nil
	}
	return list.Index(0).FieldByIndex(ofProcessor.endpoints.Index).Addr().UnsafePointer()
}

// process does the work of the paused processor, in its order, as long as that is
// with established connections, and reports whether all is done. Nobody else runs.
func (n *netstack) process() (done bool) {
	for n.waiting != nil {
		ep := dequeueEndpoint(n.waiting)
		if ep == nil {
			return true
		}
		segments := unsafe.Add(unsafe.Pointer(ep), ofProcessor.segments.Offset)
		if noSegments(segments) {
			continue
		}
		switch ep.EndpointState() {
		case tcp.StateEstablished, tcp.StateFinWait1, tcp.StateFinWait2, tcp.StateCloseWait, tcp.StateLastAck, tcp.StateClosing:
			handleConnected(ep)
			if !noSegments(segments) { // it takes a hundred at a time
				enqueueEndpoint(n.waiting, ep)
			}
		default: // to the back with all, which is their order again
			for next := ep; next != nil; next = dequeueEndpoint(n.waiting) {
				n.back = append(n.back, next)
			}
			for i, next := range n.back {
				enqueueEndpoint(n.waiting, next)
				n.back[i] = nil
			}
			n.back = n.back[:0]
			return false
		}
	}
	return false
}
