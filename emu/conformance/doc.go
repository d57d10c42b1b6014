// Package conformance holds no code, only tests: labs are run, everything is
// captured, and what an independent decoder, tshark, finds in the files is
// compared with what Linux, flannel and kube-proxy put on the wire.
//
// Each test is named after the check that it makes: H for hosts and B for
// bridges, V for flannel's VXLAN, FH, FU and FW for its host-gw, udp and
// wireguard backends, A14 for the matrix of designs, S for Services, A3 and Flow
// for the packet walks. The tests need tshark, Wireshark's command line; without it they fail,
// unless PODWIRE_NO_TSHARK=1 is set, which skips them.
package conformance
