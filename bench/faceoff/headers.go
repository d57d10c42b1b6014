package faceoff

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/podwire/podwire/emu/explain"
	"github.com/podwire/podwire/link"
)

// takeApart lists the headers of a frame. Packet is the IP packet of the pod that
// is in it, as it left the pod.
func takeApart(typ link.LinkType, frame, packet []byte) []Layer {
	var list []Layer
	at := 0
	add := func(name string, n int, role, text string) {
		if n > 0 {
			list = append(list, Layer{Name: name, Offset: at, Bytes: n, Role: role, Text: text})
			at += n
		}
	}
	layers := explain.Layers(typ, frame)
	for i, l := range layers {
		role := RolePod
		if l.Tunnel != "" {
			role = RoleTunnel
		}
		if l.Ethernet != nil {
			ethernet := RoleUnderlay
			if i > 0 {
				ethernet = RoleTunnel
			}
			add("Ethernet", len(l.Ethernet), ethernet, fmt.Sprintf("%v > %v", link.SrcMAC(l.Ethernet), link.DstMAC(l.Ethernet)))
		}
		add("IPv4", 20, role, fmt.Sprintf("%v > %v, TTL %d", l.Source(), l.Target(), l.TTL()))
		if l.Tunnel == "" {
			upper(add, l.IP)
			continue
		}
		end := len(frame)
		if i+1 < len(layers) {
			end = len(frame) - len(layers[i+1].IP) - len(layers[i+1].Ethernet)
		}
		if l.IP[9] == protoUDP {
			add("UDP", 8, RoleTunnel, ports(l.IP[20:]))
		}
		if name := strings.Fields(l.Tunnel)[0]; i+1 < len(layers) {
			add(name, end-at, RoleTunnel, l.Tunnel)
		} else {
			list = append(list, encrypted(name, at, end-at, packet)...)
			at = end
		}
	}
	if at < len(frame) {
		add("padding", len(frame)-at, RoleTunnel, "")
	}
	return list
}

// upper adds what an IP packet carries.
func upper(add func(name string, n int, role, text string), ip []byte) {
	body := len(ip) - 20
	switch ip[9] {
	case protoTCP:
		header := int(ip[32]>>4) * 4
		if header < 20 || header > body {
			header = body
		}
		add("TCP", header, RolePod, ports(ip[20:]))
		body -= header
	case protoUDP:
		add("UDP", 8, RolePod, ports(ip[20:]))
		body -= 8
	case protoICMP:
		add("ICMP", 8, RolePod, "")
		body -= 8
	}
	add("payload", body, RolePayload, "")
}

func ports(b []byte) string {
	return fmt.Sprintf("port %d > %d", binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
}

// encrypted lists the parts of a WireGuard data message: a header, the pod's
// packet, padding, and the tag of Poly1305 (WireGuard §5.4.6).
func encrypted(name string, at, n int, packet []byte) []Layer {
	const header, tag = 16, 16
	if n < header+tag+len(packet) || packet == nil {
		return []Layer{{Name: name, Offset: at, Bytes: n, Role: RoleTunnel, Encrypted: true}}
	}
	list := []Layer{{Name: name, Offset: at, Bytes: header, Role: RoleTunnel, Text: "type, receiver, counter"}}
	inner := takeApart(link.LinkRaw, packet, nil)
	for _, l := range inner {
		l.Offset += at + header
		l.Encrypted = true
		list = append(list, l)
	}
	if padding := n - header - tag - len(packet); padding > 0 {
		list = append(list, Layer{Name: "padding", Offset: at + header + len(packet), Bytes: padding, Role: RoleTunnel, Encrypted: true})
	}
	return append(list, Layer{Name: "tag", Offset: at + n - tag, Bytes: tag, Role: RoleTunnel, Text: "Poly1305"})
}

// payload returns the bytes of the packet that the program has sent.
func (p *Packet) payload() int {
	for _, l := range p.Layers {
		if l.Role == RolePayload {
			return l.Bytes
		}
	}
	return 0
}
