// Package overlay holds the designs by which pods of different nodes reach
// each other, and the tunnel devices that they are made of.
//
//	d, _ := overlay.Find("flannel-vxlan")
//	cni := d.New(overlay.Network{PodCIDR: netip.MustParsePrefix("10.244.0.0/16")})
//	err := cni.AddNode(node1)
//	err = cni.AddNode(node2)
//	addr, err := cni.AddPod(node1, &overlay.Pod{Name: "web", Host: podHost})
//
// A design is one file: what it puts on a node and into a pod, the tables it
// fills, its MTU and its netfilter rules. Everything here runs with the
// driver's lock held.
package overlay
