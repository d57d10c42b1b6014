// Package shell runs the commands of a Linux host on the machines of a lab:
// ping, traceroute, ip, bridge, ss, iptables, ipset, nft, ipvsadm, conntrack, sysctl,
// tcpdump, curl and nc, with the options and the output that their users know.
//
//	var out bytes.Buffer
//	err := shell.Run(ctx, lab.Machine("client"), []string{"ping", "-c1", "web"}, shell.Streams{Out: &out})
//
// The commands are thin: what they do is done by package stack and can be called
// there, with types. Where the text of the real tool depends on its version,
// iproute2 6.1, iputils 20221126, traceroute 2.1, iptables 1.8.9, nft 1.0.6, ipset 7.17, ipvsadm 1.31, conntrack-tools
// 1.4.7 and tcpdump 4.99 are followed. An option that is not known is an error:
// nothing is ignored in silence. Names of Services, pods, nodes and machines stand
// for their addresses wherever an address may.
//
// Commands take the time of the lab's clock. In virtual time nobody can press
// Ctrl-C, so ping without -c and -w sends 3 requests.
package shell
