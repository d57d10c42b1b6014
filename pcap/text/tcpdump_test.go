package text

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podwire/podwire/pcap"
)

// tcpdump runs the real tcpdump. Where it is missing the test fails, unless
// PODWIRE_NO_TCPDUMP=1 says that this is known.
func tcpdump(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("tcpdump")
	if err != nil {
		if os.Getenv("PODWIRE_NO_TCPDUMP") != "" {
			t.Skip("tcpdump is not installed")
		}
		t.Fatal("tcpdump is not installed: run `make tools`, or set PODWIRE_NO_TCPDUMP=1 to go without")
	}
	out, err := exec.Command(path, args...).Output()
	if err != nil {
		t.Fatalf("tcpdump %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// captures are those of a real kernel, and one of every tunnel.
func captures(t testing.TB) []string {
	t.Helper()
	kernel := "../../emu/conformance/testdata/kernel/"
	files := []string{kernel + "icmp-n1-eth0.pcap", kernel + "svc-cross-n1-cni0.pcap", kernel + "svc-hair-p1a-eth0.pcap"}
	for _, dir := range []string{"../diff/testdata", "testdata"} {
		found, err := filepath.Glob(filepath.Join(dir, "*.pcap"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no captures in %s: %v", dir, err)
		}
		files = append(files, found...)
	}
	return files
}

// merge puts captures into one file: starting tcpdump costs more than reading.
func merge(t *testing.T, files []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "merged.pcapng")
	out, err := pcap.Create(path, pcap.Section{})
	if err != nil {
		t.Fatal(err)
	}
	eth, err := out.AddInterface(pcap.Interface{})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		c, err := pcap.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Packets {
			p.Interface = eth
			if err := out.WritePacket(&p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := out.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTextIsTcpdumps compares every line of the captures with what the real
// tcpdump prints of it.
func TestTextIsTcpdumps(t *testing.T) {
	var plain, tunnelled []string
	for _, file := range captures(t) {
		if tunnels(t, file) {
			tunnelled = append(tunnelled, file)
		} else {
			plain = append(plain, file)
		}
	}
	for flags, printer := range map[string]Printer{"-nt": {}, "-ntev": {Ether: true, Verbose: true}, "-ntS": {Absolute: true}} {
		filter := ""
		if printer.Verbose {
			filter = "not ip6 and not udp port 6081 and not ip proto 47" // of which -v is not printed
		}
		f, err := ParseFilter(filter, nil)
		if err != nil {
			t.Fatal(err)
		}
		file, again := merge(t, plain), printer
		compare(t, flags, tcpdump(t, flags, "-r", file, filter), printed(t, file, &printer, f))
		// tcpdump takes flannel's port for another protocol, unless it is told
		file = merge(t, tunnelled)
		compare(t, flags+" -T vxlan", tcpdump(t, flags, "-T", "vxlan", "-r", file, filter), printed(t, file, &again, f))
	}
}

// tunnels reports whether a capture has VXLAN in it, and hence no other UDP.
func tunnels(t *testing.T, file string) bool {
	t.Helper()
	f, err := ParseFilter("udp port 8472", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := Printer{}
	return printed(t, file, &p, f) != ""
}

// printed is what Printer makes of a capture.
func printed(t testing.TB, file string, p *Printer, f *Filter) string {
	t.Helper()
	c, err := pcap.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, pkt := range c.Packets {
		link := c.Interfaces[pkt.Interface].LinkType
		if f.Match(link, pkt.Data) {
			fmt.Fprintln(&b, p.Packet(link, pkt.Data, pkt.OrigLen))
		}
	}
	return b.String()
}

func compare(t *testing.T, what, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Fatalf("%s, line %d:\n%s\ntcpdump has:\n%s", what, i+1, b, a)
		}
	}
}

// TestFilterIsTcpdumps compares which packets an expression chooses.
func TestFilterIsTcpdumps(t *testing.T) {
	file := merge(t, captures(t))
	c, err := pcap.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, expr := range []string{
		"", "ip", "arp", "icmp", "tcp", "udp", "ip6", "not arp", "! tcp and ip", "tcp or arp", "host 10.244.1.2", "src host 10.244.1.2", "dst 10.244.1.2",
		"net 10.244.0.0/16", "src net 10.96.0.0/12", "net 10.244.1", "port 80", "tcp port 8080", "dst port 80 or src port 8080", "portrange 80-9000",
		"udp port 8472", "ether host 9a:4b:5d:47:f8:32", "ether broadcast", "ether multicast", "less 64", "greater 100", "host 10.244.1.2 and not port 80",
		"(arp or icmp) and net 10.244.0.0/16", "arp host 10.244.1.2", "tcp[tcpflags] & tcp-syn != 0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
		"icmp[icmptype] == icmp-echo", "ip[8] < 64", "ip[6:2] & 0x1fff != 0", "ip proto 6", "ether proto 0x806", "port 80 or 8080", "src or dst host 10.244.1.2",
		"src host 10.244.1.2 and dst host 10.244.2.2", "vlan",
	} {
		f, err := ParseFilter(expr, nil)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		n, want := 0, 0
		for _, p := range c.Packets {
			if f.Match(pcap.Ethernet, p.Data) {
				n++
			}
		}
		fmt.Sscanf(tcpdump(t, "--count", "-r", file, expr), "%d packet", &want)
		if n != want {
			t.Errorf("%q chooses %d packets, tcpdump %d", expr, n, want)
		}
	}
}
