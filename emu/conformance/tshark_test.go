package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// needTshark ends the test if tshark is not there: a missing decoder must not
// look like a passed check, unless somebody has asked for that.
func needTshark(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("tshark")
	switch {
	case err == nil:
	case os.Getenv("PODWIRE_NO_TSHARK") == "1":
		t.Skip("no tshark, and PODWIRE_NO_TSHARK=1 says that this is all right")
	default:
		t.Fatal("these checks read captures with tshark: apt-get install tshark, or set PODWIRE_NO_TSHARK=1 to skip them")
	}
}

// fields are what tshark is asked for, once per capture.
var fields = []string{
	"frame.number", "frame.time_relative", "frame.interface_name", "frame.packet_id", "frame.packet_flags_direction",
	"frame.len", "frame.md5_hash", "frame.protocols", "frame.comment",
	"eth.src", "eth.dst", "eth.type",
	"arp.opcode", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.hw_mac", "arp.dst.proto_ipv4",
	"ip.src", "ip.dst", "ip.ttl", "ip.id", "ip.len", "ip.proto", "ip.dsfield", "ip.flags.df", "ip.flags.mf", "ip.frag_offset", "ip.checksum.status",
	"icmp.type", "icmp.code", "icmp.ident", "icmp.seq", "icmp.mtu", "icmp.checksum.status",
	"udp.srcport", "udp.dstport", "udp.length", "udp.checksum", "udp.checksum.status",
	"tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw", "tcp.window_size_value", "tcp.len", "tcp.options", "tcp.checksum.status",
	"vxlan.flags", "vxlan.gbp", "vxlan.vni", "udp.payload",
	"wg.type", "wg.sender", "wg.receiver", "wg.static.known_pubkey", "wg.handshake_ok", "wg.timestamp.value",
	"dns.id", "dns.flags", "dns.qry.name", "dns.qry.type", "dns.resp.ttl", "dns.a", "dns.count.answers",
	"_ws.malformed", "_ws.expert.message", "_ws.expert.severity",
}

// decode reads a capture with tshark. Datagrams and streams are not put
// together: every row speaks of one frame.
func decode(t *testing.T, path string) frames {
	t.Helper()
	args := []string{
		"-n", "-r", path, "-d", "udp.port==8472,vxlan", "-d", "udp.port==8285,ip",
		"-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
		"-o", "ip.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "frame.generate_md5_hash:TRUE",
		"-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|", "-E", "separator=/t",
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("tshark: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("tshark: %v", err)
	}
	var list frames
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		list = append(list, parseRow(t, lines.Text()))
	}
	if len(list) == 0 {
		t.Fatal("tshark finds no frame in the capture")
	}
	return list
}

func parseRow(t *testing.T, row string) *frame {
	t.Helper()
	cells := strings.Split(row, "\t")
	if len(cells) != len(fields) {
		t.Fatalf("tshark: a row of %d cells, want %d: %q", len(cells), len(fields), row)
	}
	f := &frame{fields: make(map[string][]string, len(fields))}
	for i, c := range cells {
		if c != "" {
			f.fields[fields[i]] = strings.Split(c, "|")
		}
	}
	f.iface = f.first("frame.interface_name")
	f.id = f.first("frame.packet_id")
	f.note = strings.Join(f.fields["frame.comment"], "|")
	f.dir = map[string]string{"0x00000001": "in", "0x00000002": "out"}[f.first("frame.packet_flags_direction")]
	f.depth = depthOf(f.first("frame.protocols"))
	sec, err := strconv.ParseFloat(f.first("frame.time_relative"), 64)
	if err != nil {
		t.Fatalf("tshark: time %q", f.first("frame.time_relative"))
	}
	f.at = time.Duration(sec*1e9 + 0.5) // scenes are short: the sum is exact to the nanosecond
	return f
}

// depthOf finds out how many headers of each protocol are around the packet of
// interest: the one inside a tunnel, and of an ICMP error the error itself, not
// what it quotes.
func depthOf(protocols string) map[string]int {
	depth := map[string]int{"eth": -1, "ip": -1}
	layers := append(strings.Split(protocols, ":"), "")
	for i, l := range layers {
		inTunnel := slices.Contains([]string{"vxlan", "wg", "ip"}, layers[min(i+1, len(layers)-1)])
		switch {
		case l == "eth" || l == "ip" || l == "udp" && inTunnel:
			depth[l]++
		case l == "udp" || l == "icmp" || l == "tcp" || l == "arp":
			return depth
		}
	}
	return depth
}
