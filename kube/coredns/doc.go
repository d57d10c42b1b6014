// Package coredns answers DNS questions about a cluster as CoreDNS does with
// the configuration that kubeadm writes:
//
//	kubernetes cluster.local in-addr.arpa ip6.arpa {
//		pods insecure
//		fallthrough in-addr.arpa ip6.arpa
//		ttl 30
//	}
//	forward . /etc/resolv.conf
//	loadbalance
//
// which is the Kubernetes DNS specification 1.1.0 with CoreDNS's own choices where
// that leaves some. It turns one message into another and opens no socket: what
// other servers must be asked, the caller asks.
//
//	s := coredns.New(cluster, coredns.Config{})
//	a := s.Answer(query, coredns.UDP)
//	if a.Reply == nil {
//		// forward the query
//	}
//
// A Server reads its cluster and is not safe for concurrent use.
package coredns
