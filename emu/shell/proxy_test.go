package shell

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/podwire/podwire/emu"
	"github.com/podwire/podwire/emu/emutest"
)

// output runs a command line on a machine of a lab in a mode of kube-proxy, with
// a Service web whose cluster IP is VIP in what is printed.
func output(t *testing.T, mode, where, input string, lines ...string) (out string) {
	t.Helper()
	emutest.Run(t, emu.Config{Nodes: 2, Seed: 1, Proxy: mode}, func(t *testing.T, lab *emutest.Lab) {
		lab.Pod("web", "node2", 8080)
		client := lab.Pod("client", "node1")
		ip := lab.Service("web", 80, 8080, 30002).Spec.ClusterIP
		if got := client.Get("http://web/hostname"); got != "web" {
			t.Fatalf("GET = %q, want web", got)
		}
		var b bytes.Buffer
		for _, line := range lines {
			b.WriteString("$ " + line + "\n")
			Run(context.Background(), lab.Machine(where), strings.Fields(strings.ReplaceAll(line, "VIP", ip)), Streams{In: strings.NewReader(input), Out: &b, Err: &b})
		}
		out = strings.ReplaceAll(b.String(), ip, "VIP")
	})
	return out
}

func wantOutput(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The text is that of ipvsadm 1.31, but for the width of the address that VIP
// stands for.
func TestIPVSAdm(t *testing.T) {
	got := output(t, emu.ProxyIPVS, "node1", "", "ipvsadm -Ln", "ipvsadm -Ln --stats", "ipvsadm -S -n", "ipvsadm -L -x", "ip -br addr show kube-ipvs0", "ipset list KUBE-CLUSTER-IP", "ipset list -n nobody")
	wantOutput(t, got, `$ ipvsadm -Ln
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  VIP:80 rr
  -> 10.244.2.2:8080              Masq    1      1          0         
TCP  10.244.1.0:30002 rr
  -> 10.244.2.2:8080              Masq    1      0          0         
TCP  10.244.1.1:30002 rr
  -> 10.244.2.2:8080              Masq    1      0          0         
TCP  192.168.56.11:30002 rr
  -> 10.244.2.2:8080              Masq    1      0          0         
$ ipvsadm -Ln --stats
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  VIP:80                   1        4        3      308      283
  -> 10.244.2.2:8080                     1        4        3      308      283
TCP  10.244.1.0:30002                    0        0        0        0        0
  -> 10.244.2.2:8080                     0        0        0        0        0
TCP  10.244.1.1:30002                    0        0        0        0        0
  -> 10.244.2.2:8080                     0        0        0        0        0
TCP  192.168.56.11:30002                 0        0        0        0        0
  -> 10.244.2.2:8080                     0        0        0        0        0
$ ipvsadm -S -n
-A -t VIP:80 -s rr
-a -t VIP:80 -r 10.244.2.2:8080 -m -w 1
-A -t 10.244.1.0:30002 -s rr
-a -t 10.244.1.0:30002 -r 10.244.2.2:8080 -m -w 1
-A -t 10.244.1.1:30002 -s rr
-a -t 10.244.1.1:30002 -r 10.244.2.2:8080 -m -w 1
-A -t 192.168.56.11:30002 -s rr
-a -t 192.168.56.11:30002 -r 10.244.2.2:8080 -m -w 1
$ ipvsadm -L -x
ipvsadm: unknown shorthand flag: 'x' in -x
usage: ipvsadm {-L|-S|-Z} [-n] [-c] [--stats]
$ ip -br addr show kube-ipvs0
kube-ipvs0       DOWN           VIP/32
$ ipset list KUBE-CLUSTER-IP
Name: KUBE-CLUSTER-IP
Type: hash:ip,port
Header: family inet
References: 3
Number of entries: 1
Members:
VIP,tcp:80
$ ipset list -n nobody
ipset: The set with the given name does not exist
`)
	conns := output(t, emu.ProxyIPVS, "node1", "", "ipvsadm -Lnc")
	if !strings.Contains(conns, "IPVS connection entries\npro expire state       source             virtual            destination\nTCP 15:00  ESTABLISHED 10.244.1.2:") {
		t.Errorf("ipvsadm -Lnc lists\n%s", conns)
	}
}

// nft lists and takes what the real one does.
func TestNFT(t *testing.T) {
	const table = "table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1 }\n\t}\n\n\tchain c {\n\t\tip saddr @s drop\n\t}\n}\n"
	got := output(t, emu.ProxyNFTables, "node1", table, "nft list tables", "nft list map ip kube-proxy service-ips", "nft -c -f -", "nft list table t",
		"nft -f -", "nft list table ip t", "nft add element ip t s { 10.0.0.2 }", "nft list set t s", "nft add rule ip t c jmp x", "nft list chain ip t nobody", "nft delete table ip t", "nft list tables")
	wantOutput(t, got, `$ nft list tables
table ip kube-proxy
$ nft list map ip kube-proxy service-ips
table ip kube-proxy {
	map service-ips {
		type ipv4_addr . inet_proto . inet_service : verdict
		comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"
		elements = { VIP . tcp . 80 : goto service-PFISGYVC-default/web/tcp/ }
	}
}
$ nft -c -f -
$ nft list table t
nft: Error: No such file or directory: list table ip t
$ nft -f -
$ nft list table ip t
`+table+`$ nft add element ip t s { 10.0.0.2 }
$ nft list set t s
table ip t {
	set s {
		type ipv4_addr
		elements = { 10.0.0.1, 10.0.0.2 }
	}
}
$ nft add rule ip t c jmp x
nft: nftables: line 1, column 17: "jmp": unknown statement, nearest is "jump"
$ nft list chain ip t nobody
nft: Error: No such file or directory: list chain ip t nobody
$ nft delete table ip t
$ nft list tables
table ip kube-proxy
`)
}
