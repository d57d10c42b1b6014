package shell_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
	"github.com/podwire/podwire/emu/shell"
	"github.com/podwire/podwire/link"
)

// host runs commands on the machines of a lab.
type host struct {
	*testing.T
	lab *emutest.Lab
}

// sh runs a command and returns what it printed, both streams, and its exit code.
func (h host) sh(machine, line string) (string, int) {
	h.Helper()
	return h.input(machine, line, "")
}

func (h host) input(machine, line, in string) (string, int) {
	h.Helper()
	argv, err := shell.Split(line)
	if err != nil {
		h.Fatal(err)
	}
	m := h.lab.Machine(machine)
	if m == nil {
		h.Fatalf("no machine %s", machine)
	}
	var out bytes.Buffer
	err = shell.Run(context.Background(), m, argv, shell.Streams{In: strings.NewReader(in), Out: &out, Err: &out})
	return out.String(), shell.ExitCode(err)
}

// want runs a command and wants exactly this text.
func (h host) want(machine, line string, code int, want string) {
	h.Helper()
	got, c := h.sh(machine, line)
	if want = strings.TrimPrefix(want, "\n"); got != want || c != code {
		h.Errorf("%s: %s: exit code %d, want %d; printed:\n%s\nwant:\n%s", machine, line, c, code, got, want)
	}
}

// contains runs a command and wants these texts in what it prints.
func (h host) contains(machine, line string, code int, want ...string) {
	h.Helper()
	got, c := h.sh(machine, line)
	if c != code {
		h.Errorf("%s: %s: exit code %d, want %d", machine, line, c, code)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			h.Errorf("%s: %s: printed:\n%s\nwant in it: %s", machine, line, got, w)
		}
	}
}

// inLab runs f in a lab of two nodes with a pod each, and a laptop, with cables
// of 1 ms.
func inLab(t *testing.T, f func(h host)) {
	t.Helper()
	cfg := emu.Config{Nodes: 2, Underlay: emu.Underlay{Cable: link.WireConfig{Latency: time.Millisecond}}}
	emutest.Run(t, cfg, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("client", "node1")
		lab.Pod("web", "node2", 80)
		if _, err := lab.AddHost(emu.HostConfig{Name: "laptop"}); err != nil {
			t.Fatal(err)
		}
		f(host{t, lab})
	})
}

func TestPing(t *testing.T) {
	inLab(t, func(h host) {
		h.want("client", "ping -c 2 -i 0.2 web", 0, `
PING web (10.244.2.2) 56(84) bytes of data.
64 bytes from default/web (10.244.2.2): icmp_seq=1 ttl=62 time=8.00 ms
64 bytes from default/web (10.244.2.2): icmp_seq=2 ttl=62 time=4.00 ms

--- web ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 200ms
rtt min/avg/max/mdev = 4.000/6.000/8.000/2.000 ms
`)
		h.want("client", "ping -qc1 10.244.2.2 -s 0", 0, `
PING 10.244.2.2 (10.244.2.2) 0(28) bytes of data.

--- 10.244.2.2 ping statistics ---
1 packets transmitted, 1 received, 0% packet loss, time 0ms
rtt min/avg/max/mdev = 4.000/4.000/4.000/0.000 ms
`)
		h.want("client", "ping -c1 -M do -s 1423 10.244.2.2", 1, `
PING 10.244.2.2 (10.244.2.2) 1423(1451) bytes of data.
ping: local error: message too long, mtu=1450

--- 10.244.2.2 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms

`)
		h.want("client", "ping -c1 -t 1 -n web", 1, `
PING web (10.244.2.2) 56(84) bytes of data.
From 10.244.1.1 icmp_seq=1 Time to live exceeded

--- web ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms

`)
		h.contains("node1", "ping -c4 192.168.56.99", 1,
			"From 192.168.56.11 icmp_seq=1 Destination Host Unreachable\n",
			"4 packets transmitted, 0 received, +4 errors, 100% packet loss, time 3000ms\npipe 3\n")
		h.contains("client", "ping web", 0, "3 packets transmitted, 3 received")
		h.contains("client", "ping -w 2 -i 0.5 web", 0, "4 packets transmitted, 4 received", "time 1500ms")
		h.contains("node1", "ping -c1 -I cni0 client", 0, "PING client (10.244.1.2) from 10.244.1.1 cni0: 56(84) bytes of data.")
		h.contains("node1", "ping -c1 -I 10.244.1.1 192.168.56.12", 0, "from 10.244.1.1 : ")
	})
}

// Nobody answers: ping waits as long as -W says, and counts what is missing.
func TestPingWaits(t *testing.T) {
	inLab(t, func(h host) {
		h.lab.Node("node2").SetUp(false)
		h.contains("client", "ping -c1 web", 1, "100% packet loss") // and node1 learns that node2 is gone
		start := h.lab.Now()
		h.contains("laptop", "ping -c1 -W 3 10.244.2.2", 1, "1 packets transmitted, 0 received, 100% packet loss, time 0ms\n\n")
		if took := h.lab.Now() - start; took != 3*time.Second {
			t.Errorf("ping -W 3 took %v, want 3s", took)
		}
	})
}

func TestPingMistakes(t *testing.T) {
	inLab(t, func(h host) {
		h.want("client", "ping -c1 nobody", 2, "ping: nobody: Name or service not known\n")
		h.want("client", "ping -c1 -I wlan0 web", 2, "ping: unknown iface: wlan0\n")
		h.want("client", "ping -c1 -I 10.9.9.9 web", 2, "ping: bind: Cannot assign requested address\n")
		h.want("laptop", "ping 192.168.56.255", 2, "ping: Do you want to ping broadcast? Then -b. If not, check your local firewall rules\n")
		h.contains("client", "ping", 2, "found 0 destinations, want one", "usage: ping [-bnq]")
		h.contains("client", "ping -M maybe web", 2, "wrong value for -M: do, dont, want are valid ones")
		h.contains("client", "ping -t 256 web", 2, "'256': out of range: 1 <= value <= 255")
		h.contains("client", "ping -z web", 2, "unknown shorthand flag: 'z' in -z")
		h.contains("client", "ping --help", 0, "usage: ping")
		h.contains("client", "pnig web", 127, "did you mean ping?")
	})
}

// Two of three machines on the underlay answer a broadcast: those that are told to.
func TestPingBroadcast(t *testing.T) {
	inLab(t, func(h host) {
		for _, n := range []string{"node1", "node2"} {
			h.want(n, "sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0", 0, "net.ipv4.icmp_echo_ignore_broadcasts = 0\n")
		}
		h.want("laptop", "ping -b -c2 -n -i 1 192.168.56.255", 0, `
WARNING: pinging broadcast address
PING 192.168.56.255 (192.168.56.255) 56(84) bytes of data.
64 bytes from 192.168.56.11: icmp_seq=1 ttl=64 time=8.00 ms
64 bytes from 192.168.56.12: icmp_seq=1 ttl=64 time=8.00 ms (DUP!)
64 bytes from 192.168.56.11: icmp_seq=2 ttl=64 time=4.00 ms

--- 192.168.56.255 ping statistics ---
2 packets transmitted, 2 received, +1 duplicates, 0% packet loss, time 1000ms
rtt min/avg/max/mdev = 4.000/6.666/8.000/1.885 ms
`)
	})
}

func TestTraceroute(t *testing.T) {
	inLab(t, func(h host) {
		h.sh("client", "ping -c1 web") // fills the ARP tables
		h.want("client", "traceroute -q2 web", 0, `
traceroute to web (10.244.2.2), 30 hops max, 60 byte packets
 1  node1 (10.244.1.1)  0.000 ms  0.000 ms
 2  node2 (10.244.2.0)  4.000 ms  4.000 ms
 3  default/web (10.244.2.2)  4.000 ms  4.000 ms
`)
		h.contains("client", "traceroute -nI 10.244.2.2", 0, " 3  10.244.2.2  4.000 ms  4.000 ms  4.000 ms\n")
		h.contains("client", "traceroute -nT -p 80 10.244.2.2", 0, " 3  10.244.2.2  4.000 ms  4.000 ms  4.000 ms\n")
		h.lab.Sleep(20 * time.Second) // the limit of ICMP errors per destination recovers
		h.contains("client", "traceroute -n -m 2 -w 1 10.244.2.2", 0, " 2  10.244.2.0")
		h.contains("client", "traceroute -I -T web", 2, "-I and -T exclude each other")
		h.contains("client", "traceroute nobody", 2, "Name or service not known")
		h.contains("client", "traceroute -q 11 web", 1, "11 probes per hop, want 1 to 10")
	})
}

func TestIP(t *testing.T) {
	inLab(t, func(h host) {
		h.want("client", "ip -br addr", 0, `
lo               UNKNOWN        127.0.0.1/8
eth0             UP             10.244.1.2/24
`)
		h.want("client", "ip route", 0, `
default via 10.244.1.1 dev eth0
10.244.0.0/16 via 10.244.1.1 dev eth0
10.244.1.0/24 dev eth0 proto kernel scope link src 10.244.1.2
`)
		h.want("node1", "ip route get 10.244.2.2", 0, "10.244.2.2 via 10.244.2.0 dev flannel.1 src 10.244.1.0 uid 0\n    cache\n")
		h.want("node1", "ip route get node1", 0, "local 192.168.56.11 dev lo src 192.168.56.11 uid 0\n    cache <local>\n")
		h.want("node1", "ip route get 192.168.56.255", 0, "broadcast 192.168.56.255 dev eth0 src 192.168.56.11 uid 0\n    cache <local,brd>\n")
		h.want("gateway", "ip r get 8.8.8.8", 2, "RTNETLINK answers: Invalid argument\n")
		h.want("client", "ip -j route show default", 0, `[{"dst":"default","gateway":"10.244.1.1","dev":"eth0","flags":[]}]`+"\n")
		h.contains("node1", "ip addr show flannel.1", 0, "flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default\n    link/ether ",
			"    inet 10.244.1.0/32 scope global flannel.1\n       valid_lft forever preferred_lft forever\n")
		h.contains("node1", "ip link", 0, "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536", "link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00", " master cni0 state UP ")
		h.contains("node1", "ip -j addr show cni0", 0, `"local":"10.244.1.1","prefixlen":24,"broadcast":"10.244.1.255","scope":"global","label":"cni0"`)
		h.sh("client", "ping -c1 web")
		h.contains("node1", "ip neigh show dev flannel.1", 0, "10.244.2.0 dev flannel.1 lladdr ", " PERMANENT\n")
		h.contains("node2", "ip -j n", 0, `"dst":"10.244.2.2","dev":"cni0","lladdr":`, `"state":["REACHABLE"]`)
	})
}

// ip route get says what routers have said, as iproute2 prints it.
func TestIPRouteGetShowsExceptions(t *testing.T) {
	inLab(t, func(h host) {
		h.want("node1", "ip link set flannel.1 mtu 1400", 0, "")
		h.sh("client", "ping -c1 -W1 -s 1422 web")
		h.want("client", "ip route get web", 0, "10.244.2.2 via 10.244.1.1 dev eth0 src 10.244.1.2 uid 0\n    cache expires 600sec mtu 1400\n")
		h.want("client", "ip -j route get web", 0, `[{"dst":"10.244.2.2","gateway":"10.244.1.1","dev":"eth0","prefsrc":"10.244.1.2","flags":[],"uid":0,"cache":[],"expires":600,"metrics":[{"mtu":1400}]}]`+"\n")
		h.contains("client", "ping -c1 -W1 -M do -s 1400 web", 1, "message too long, mtu=1400")
		h.want("node1", "ip link set flannel.1 mtu 500", 0, "")
		h.sh("client", "ping -c1 -W1 -s 1300 web")
		h.contains("client", "ip route get web", 0, "    cache expires 600sec mtu lock 552\n")

		h.want("gateway", "ip route replace 10.244.0.0/16 via node1", 0, "")
		h.want("laptop", "ip route add 10.244.0.0/16 via gateway", 0, "")
		h.sh("laptop", "ping -c1 node1") // the new next hop must be known
		h.sh("laptop", "ping -c1 client")
		h.want("laptop", "ip route get client", 0, "10.244.1.2 via 192.168.56.11 dev eth0 src 192.168.56.254 uid 0\n    cache <redirected> expires 299sec\n")
	})
}

// Tunnels have the flags and link types that their drivers give them.
func TestIPLinkOfTunnels(t *testing.T) {
	for _, c := range []struct{ design, device, want string }{
		{"flannel-vxlan", "flannel.1", "<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default\n    link/ether "},
		{"flannel-ipip", "flannel.ipip", "<NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UNKNOWN group default\n    link/ipip 192.168.56.11 brd 0.0.0.0\n"},
		{"calico-ipip", "tunl0", "<NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UNKNOWN group default\n    link/ipip 0.0.0.0 brd 0.0.0.0\n"},
		{"flannel-udp", "flannel0", "<POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1472 qdisc noqueue state UNKNOWN group default\n    link/none\n"},
		{"flannel-wireguard", "flannel-wg", "<POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN group default\n    link/none\n"},
	} {
		emutest.Run(t, emu.Config{Nodes: 2, Design: c.design}, func(t *testing.T, lab *emutest.Lab) {
			host{t, lab}.contains("node1", "ip link show "+c.device, 0, c.device+": "+c.want)
		})
	}
}

func TestIPChanges(t *testing.T) {
	inLab(t, func(h host) {
		ok := func(machine, line string) { h.Helper(); h.want(machine, line, 0, "") }
		ok("laptop", "ip route add 10.244.0.0/16 via node1")
		h.contains("laptop", "ping -c1 client", 0, "1 received")
		h.want("laptop", "ip route get client", 0, "10.244.1.2 via 192.168.56.11 dev eth0 src 192.168.56.254 uid 0\n    cache\n")
		h.contains("laptop", "ip route add 10.244.0.0/16 via node2", 2, "RTNETLINK answers: ", "already")
		ok("laptop", "ip route replace 10.244.0.0/16 via node2 dev eth0 proto static")
		h.contains("laptop", "ip route", 0, "10.244.0.0/16 via 192.168.56.12 dev eth0 proto static\n")
		ok("laptop", "ip route del 10.244.0.0/16")
		h.want("laptop", "ip route del 10.244.0.0/16", 2, "RTNETLINK answers: No such process\n")
		ok("laptop", "ip route add blackhole 10.244.0.0/16")
		h.contains("laptop", "ip route", 0, "blackhole 10.244.0.0/16\n")
		h.want("laptop", "ping -c1 client", 2, "PING client (10.244.1.2) 56(84) bytes of data.\nping: connect: Network is unreachable\n")

		ok("laptop", "ip link set dev eth0 down")
		h.contains("laptop", "ip link show eth0", 0, "<BROADCAST,MULTICAST> mtu 1500 qdisc noqueue state DOWN")
		h.contains("laptop", "ip route", 0, "dev eth0 linkdown\n")
		ok("laptop", "ip link set eth0 up mtu 1400")
		h.contains("laptop", "ip link show eth0", 0, "mtu 1400", "state UP")
		ok("laptop", "ip addr add 192.168.56.77/24 dev eth0")
		h.contains("node1", "ping -c1 192.168.56.77", 0, "1 received")
		h.contains("laptop", "ip addr", 0, "inet 192.168.56.77/24 brd 192.168.56.255 scope global secondary eth0")
		ok("laptop", "ip addr del 192.168.56.77/24 dev eth0")
		h.want("laptop", "ip addr del 192.168.56.77/24 dev eth0", 2, "RTNETLINK answers: Cannot assign requested address\n")
		ok("laptop", "ip neigh replace 192.168.56.88 lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
		h.contains("laptop", "ip neigh", 0, "192.168.56.88 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT\n")
		ok("laptop", "ip neigh del 192.168.56.88 dev eth0")
		h.want("laptop", "ip neigh del 192.168.56.88 dev eth0", 2, "RTNETLINK answers: No such file or directory\n")

		h.want("laptop", "ip tunnel", 1, "Object \"tunnel\" is unknown, want addr, link, route or neigh.\n")
		h.want("laptop", "ip route flush", 1, "Command \"flush\" is unknown, want one of show, add, del, replace, get.\n")
		h.want("laptop", "ip link set wlan0 up", 1, "Cannot find device \"wlan0\"\n")
		h.want("laptop", "ip link show wlan0", 1, "Device \"wlan0\" does not exist.\n")
		h.want("laptop", "ip addr add 1.2.3 dev eth0", 1, "Error: any valid prefix is expected rather than \"1.2.3\".\n")
		h.want("laptop", "ip route add 1.2.3.4 via", 255, "Error: argument \"via\" needs a value\n")
		h.contains("laptop", "ip link set eth0 mtu 1", 2, "MTU 1, want 68 to 65535")
		h.contains("laptop", "ip -6 route", 2, "option \"-6\" is not known")
	})
}

func TestBridge(t *testing.T) {
	inLab(t, func(h host) {
		h.sh("client", "ping -c1 web")
		mac := strings.Fields(first(h.sh("client", "ip -br link show eth0")))[2]
		h.contains("node1", "bridge fdb show br cni0", 0, mac+" dev veth", " master cni0\n", " master cni0 permanent\n")
		h.contains("node1", "bridge fdb show dev flannel.1", 0, " dev flannel.1 dst 192.168.56.12 self permanent\n")
		h.contains("node1", "bridge link", 0, "mtu 1450 master cni0 state forwarding priority 32 cost 2\n")
		h.contains("node1", "bridge -d link", 0, "    hairpin on isolated off\n")
		h.contains("node1", "bridge -j fdb", 0, `"dst":"192.168.56.12","flags":["self"],"state":"permanent"`)
		h.contains("node1", "bridge vlan", 2, "want fdb or link")
	})
}

func first(s string, _ int) string { return s }

func TestSockets(t *testing.T) {
	inLab(t, func(h host) {
		h.want("web", "ss -tln", 0, `
Netid State      Recv-Q Send-Q    Local Address:Port     Peer Address:Port
tcp   LISTEN     0      4096              0.0.0.0:80             0.0.0.0:*
`)
		h.want("client", "ss -H", 0, "")
		conn, err := h.lab.Machine("client").Dial("tcp", "web:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		h.contains("client", "ss -tni", 0, "tcp   ESTAB      0      0", "10.244.2.2:80\n\t cubic rto:", " cwnd:10 ")
		h.lab.Sleep(time.Second)
		h.contains("web", "ss -a", 0, "LISTEN", "ESTAB")
		h.contains("web", "ss dport 80", 2, "only options are understood")
	})
}

func TestIptables(t *testing.T) {
	inLab(t, func(h host) {
		ok := func(line string) { h.Helper(); h.want("laptop", line, 0, "") }
		h.want("laptop", "iptables-save", 0, "")
		ok(`iptables -A INPUT -s 192.168.56.11/32 -p icmp -m comment --comment "not you" -j DROP`)
		h.contains("node1", "ping -c1 -W1 laptop", 1, "100% packet loss")
		h.contains("node2", "ping -c1 -W1 laptop", 0, "1 received")
		h.want("laptop", "iptables-save -c", 0, `
*filter
:INPUT ACCEPT [1:84]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [1:84]
[1:84] -A INPUT -s 192.168.56.11/32 -p icmp -m comment --comment "not you" -j DROP
COMMIT
`)
		h.want("laptop", "iptables -S INPUT", 0, "-P INPUT ACCEPT\n"+`-A INPUT -s 192.168.56.11/32 -p icmp -m comment --comment "not you" -j DROP`+"\n")
		h.want("laptop", "iptables -vnL INPUT --line-numbers", 0, `
Chain INPUT (policy ACCEPT 1 packets, 84 bytes)
num      pkts    bytes target     prot opt in     out    source               destination
1           1       84 DROP       icmp --  *      *      192.168.56.11        0.0.0.0/0            -m comment --comment "not you"
`)
		ok("iptables -F INPUT")
		h.contains("node1", "ping -c1 -W1 laptop", 0, "1 received")
		ok("iptables -N MINE")
		h.contains("laptop", "iptables -L", 0, "Chain INPUT (policy ACCEPT)\n", "\nChain MINE (0 references)\n")
		h.contains("laptop", "iptables -A INPUT -j NOWHERE", 1, "iptables: ", "NOWHERE")
		h.contains("laptop", "iptables -L NOWHERE", 1, "No chain/target/match by that name.")
		h.contains("laptop", "iptables -t nut -L", 3, "Table does not exist")
		h.contains("laptop", "iptables", 2, "no command specified")

		saved, _ := h.sh("node1", "iptables-save")
		if out, code := h.input("laptop", "iptables-restore", saved); code != 0 {
			t.Errorf("the rules of node1 do not load: %s", out)
		}
		nat, _ := h.sh("laptop", "iptables -t nat -S")
		h.want("node1", "iptables -t nat -S", 0, nat)
		if !strings.Contains(nat, "\n-A KUBE-SERVICES ") {
			t.Errorf("the nat table has no kube-proxy chains:\n%s", nat)
		}
		if out, code := h.input("laptop", "iptables-restore", "*filter\n-A INPUT -j NOWHERE\nCOMMIT\n"); code != 1 || !strings.Contains(out, "line 2") {
			t.Errorf("a bad script: exit code %d, %s", code, out)
		}
		h.contains("laptop", "iptables-restore /nonexistent", 1, "no such file")
	})
}

func TestConntrack(t *testing.T) {
	inLab(t, func(h host) {
		h.sh("client", "ping -c1 web")
		h.want("node1", "conntrack -L -p icmp -s client", 0, first(h.sh("node1", "conntrack -L --src 10.244.1.2 -p icmp")))
		h.contains("node1", "conntrack -L -p icmp", 0, "icmp     1 ", "src=10.244.1.2 dst=10.244.2.2 type=8 code=0 id=", " mark=0 use=1\n", "conntrack: 1 flow entries have been shown.\n")
		h.contains("node1", "cat /proc/net/nf_conntrack", 0, "ipv4     2 icmp     1 30 src=10.244.1.2")
		h.want("node1", "conntrack -L -p tcp", 0, "conntrack: 0 flow entries have been shown.\n")
		h.contains("node1", "conntrack -D -d 10.244.2.2", 0, "conntrack: 1 flow entries have been deleted.\n")
		h.contains("node1", "conntrack -D -d 10.244.2.2", 1, "conntrack: 0 flow entries have been deleted.\n")
		h.contains("node1", "conntrack -F", 0, "emptied")
		h.want("node1", "conntrack -C", 0, "0\n")
		h.want("client", "conntrack -L", 0, "conntrack: 0 flow entries have been shown.\n")
		h.contains("node1", "conntrack", 2, "found 0 commands")
		h.contains("node1", "conntrack -L -p ip", 2, "want icmp, tcp, udp, sctp or gre")
	})
}

func TestSysctl(t *testing.T) {
	inLab(t, func(h host) {
		h.want("node1", "sysctl net.ipv4.ip_forward", 0, "net.ipv4.ip_forward = 1\n")
		h.want("node1", "sysctl -n net/ipv4/ip_forward", 0, "1\n")
		h.want("node1", "cat /proc/sys/net/ipv4/ip_forward", 0, "1\n")
		h.want("node1", "sysctl net.ipv4.ip_forward=0", 0, "net.ipv4.ip_forward = 0\n")
		h.contains("client", "ping -c1 -W1 web", 1, "100% packet loss")
		h.contains("node1", "sysctl net.ipv4.ip_foward", 1, "cannot stat", "did you mean net.ipv4.ip_forward?")
		h.contains("node1", "sysctl net.ipv4.ip_forward=2", 1, "want 0 or 1")
		h.contains("node1", "sysctl -a", 0, "net.netfilter.nf_conntrack_max = ")
		h.contains("node1", "cat /etc/passwd", 1, "No such file")
	})
}

func TestCurl(t *testing.T) {
	inLab(t, func(h host) {
		h.want("client", "curl -s http://web/hostname", 0, "web")
		h.want("client", `curl -so /dev/null -w "%{http_code} %{remote_ip}:%{remote_port} %{time_connect} %{time_total}\n" web`, 0, "200 10.244.2.2:80 0.004000 0.008000\n")
		h.contains("client", "curl -si -X POST -d hello web/echo", 0, "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello")
		h.contains("client", "curl -sv -H 'X-Mine: 1' web", 0, "*   Trying 10.244.2.2:80...\n* Connected to web (10.244.2.2) port 80 (#0)\n> GET / HTTP/1.1\n> Host: web\n", "> X-Mine: 1\n", "< HTTP/1.1 200 OK\n")
		h.want("client", "curl http://web:81/", 7, "curl: (7) Failed to connect to web port 81 after 4 ms: Connection refused\n")
		h.want("client", "curl -s http://web:81/", 7, "")
		h.want("client", "curl -sS http://nobody/", 6, "curl: (6) Could not resolve host: nobody\n")
		h.want("client", "curl https://web/", 1, "curl: (1) Protocol \"https\" not supported, want http\n")
		h.contains("client", "curl -o file web", 2, "a lab has no files")
		h.lab.Node("node2").SetUp(false)
		h.want("client", "curl -m 2 http://web/", 28, "curl: (28) Connection timed out after 2000 milliseconds\n")
		h.want("client", "curl --connect-timeout 1.5 http://web/", 28, "curl: (28) Failed to connect to web port 80 after 1500 ms: Timeout was reached\n")
	})
}

func TestNetcat(t *testing.T) {
	inLab(t, func(h host) {
		h.want("client", "nc -zv web 80", 0, "Connection to web (10.244.2.2) 80 port [tcp/*] succeeded!\n")
		h.want("client", "nc -zv web 79-80", 0, "nc: connect to web (10.244.2.2) port 79 (tcp) failed: Connection refused\nConnection to web (10.244.2.2) 80 port [tcp/*] succeeded!\n")
		h.want("client", "nc -z web 79", 1, "")
		h.want("client", "nc -zuv web 53", 1, "nc: connect to web (10.244.2.2) port 53 (udp) failed: Connection refused\n")
		got, code := h.input("client", "nc web 80", "GET /hostname HTTP/1.0\r\n\r\n")
		if code != 0 || !strings.HasSuffix(got, "\r\n\r\nweb") {
			t.Errorf("nc web 80: exit code %d, %q", code, got)
		}
		var heard string
		h.lab.Go(func() { heard, _ = h.input("laptop", "nc -lv 5000", "") })
		h.lab.Sleep(time.Millisecond)
		h.input("node1", "nc laptop 5000", "over here")
		h.lab.Sleep(time.Second)
		if !strings.HasPrefix(heard, "Connection received on 192.168.56.11:") || !strings.HasSuffix(heard, "\nover here") {
			t.Errorf("nc -l heard %q", heard)
		}
		start := h.lab.Now()
		h.want("laptop", "nc -w 2 -l 5000", 1, "")
		if took := h.lab.Now() - start; took != 2*time.Second {
			t.Errorf("nc -w 2 -l waited %v, want 2s", took)
		}
		h.contains("client", "nc web http", 2, "want a number from 1 to 65535")
		h.contains("client", "nc web 1-2", 2, "wants -z")
	})
}

// Commands that run out of time in the same instant do so in the order in which
// they began.
func TestTimeoutsAreInOrder(t *testing.T) {
	lines := []string{"curl -m 2 http://web/", "nc -w 2 -l 5000", "curl --connect-timeout 2 http://web/", "nc -w 2 web 80", "nc -zw 2 web 80", "nc -w 2 -l 5001"}
	inLab(t, func(h host) {
		h.sh("client", "ping -c 1 web")
		h.lab.Node("node2").SetUp(false)
		start := h.lab.Now()
		var ended []string
		for _, line := range lines {
			h.lab.Go(func() {
				h.sh("client", line)
				ended = append(ended, line+" "+(h.lab.Now()-start).String())
			})
		}
		h.lab.Sleep(3 * time.Second)
		for i, line := range lines {
			if i >= len(ended) || ended[i] != line+" 2s" {
				t.Fatalf("ended %q, want each after 2s in the order %q", ended, lines)
			}
		}
	})
}

// A context that was given ends a command before its own time.
func TestCommandsAreCancelled(t *testing.T) {
	inLab(t, func(h host) {
		h.sh("client", "ping -c 1 web")
		h.lab.Node("node2").SetUp(false)
		for _, line := range []string{"curl -m 9 http://web/", "curl http://web/", "nc -l 5000", "nc web 80"} {
			argv, _ := shell.Split(line)
			start := h.lab.Now()
			ctx, cancel := h.lab.WithTimeout(context.Background(), time.Second)
			err := shell.Run(ctx, h.lab.Machine("client"), argv, shell.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
			if took := h.lab.Now() - start; err == nil || took != time.Second {
				t.Errorf("%s: %v after %v, want an error after 1s", line, err, took)
			}
			cancel()
		}
	})
}

func TestHelp(t *testing.T) {
	inLab(t, func(h host) {
		out, code := h.sh("client", "help")
		for _, c := range shell.Commands() {
			if !strings.Contains(out, c.Name) || code != 0 || c.Summary == "" {
				t.Errorf("help does not tell of %s", c.Name)
			}
		}
		h.contains("client", "''", 127, "found no command")
	})
}

func TestSplit(t *testing.T) {
	for in, want := range map[string]string{
		`ping -c1 web`:           "ping|-c1|web",
		`a 'b c' "d \"e\"" f\ g`: `a|b c|d "e"|f g`,
		`a ""`:                   "a|",
		"  a\t# rest":            "a",
		`a'b'"c"`:                "abc",
		``:                       "",
	} {
		got, err := shell.Split(in)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"a | b", "a; b", "a > f", "$HOME", "`id`", `"a`, "'a"} {
		if got, err := shell.Split(in); err == nil {
			t.Errorf("%s: %q, want an error", in, got)
		}
	}
}

func TestTcpdump(t *testing.T) {
	inLab(t, func(h host) {
		var heard, rest string
		h.lab.Go(func() { heard, _ = h.sh("node1", "tcpdump -n -ttttt -i flannel.1 -c 2 icmp and host web") })
		h.lab.Go(func() { rest, _ = h.sh("node1", "tcpdump -i any -t --time 2 arp or udp") })
		h.lab.Sleep(0)
		h.sh("client", "ping -c2 -i 0.5 web")
		h.lab.Sleep(2 * time.Second)
		id := strings.Fields(heard + strings.Repeat("? ", 20))[15]
		if want := `listening on flannel.1, link-type EN10MB (Ethernet)
00:00:00.000000 IP 10.244.1.2 > 10.244.2.2: ICMP echo request, id ` + id + ` seq 1, length 64
00:00:00.008000 IP 10.244.2.2 > 10.244.1.2: ICMP echo reply, id ` + id + ` seq 1, length 64
2 packets captured
`; heard != want {
			t.Errorf("tcpdump printed:\n%s\nwant:\n%s", heard, want)
		}
		for _, want := range []string{
			"\ncni0  In  ARP, Request who-has 10.244.1.1 tell 10.244.1.2, length 28\n",
			"\ncni0  Out ARP, Reply 10.244.1.1 is-at ",
			"\neth0  Out IP 192.168.56.11.", ".8472: VXLAN, flags [I] (0x08), vni 1\nIP 10.244.1.2 > 10.244.2.2: ICMP echo request, id ",
		} {
			if !strings.Contains(rest, want) {
				t.Errorf("tcpdump -i any printed:\n%s\nwant in it: %s", rest, want)
			}
		}
		start := h.lab.Now()
		h.want("client", "tcpdump -c1 tcp", 0, "listening on eth0, link-type EN10MB (Ethernet)\n0 packets captured\n")
		if took := h.lab.Now() - start; took != 10*time.Second {
			t.Errorf("tcpdump without traffic took %v, want 10s", took)
		}
		h.contains("client", "tcpdump -i wlan0", 1, "tcpdump: wlan0: No such device exists")
		h.contains("client", "tcpdump hots web", 1, "did you mean host?")
	})
}
