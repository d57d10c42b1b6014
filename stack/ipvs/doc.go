// Package ipvs is the load balancer of the Linux kernel, IP Virtual Server, with its forwarding method masquerading (NAT):
// virtual services, real servers, schedulers, and a table of connections with the kernel's states and timeouts.
//
//	t := ipvs.New(ipvs.Config{ExpireNodestConn: true})
//	err := t.AddService(ipvs.ServiceConfig{Addr: vip, Proto: 6, Scheduler: "rr"})
//	err = t.AddServer(key, ipvs.ServerConfig{Addr: backend, Weight: 1})
//	c, v := t.In(now, packet)        // at INPUT, or at OUTPUT for packets of the host itself
//	c = t.Out(now, packet)           // at FORWARD, INPUT and OUTPUT, for packets that come back
//
// The table decides; whoever calls it rewrites the packet, spends its TTL and sends it on. There are no goroutines and no
// clock: time is an argument that must not run backwards. Behaviour follows ip_vs of Linux 6. Left out are the forwarding
// methods direct routing, tunnelling and local, firewall marks, synchronisation, application helpers, SCTP, the drop and
// secure_tcp defences, and the schedulers lblc, lblcr, mh, fo and ovf.
//
// A Table and everything it hands out belong to one goroutine at a time.
package ipvs
