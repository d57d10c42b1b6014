// Package faceoff measures the same network under several designs and puts the
// figures side by side: which overlay design, at what price?
//
//	r, err := faceoff.Run(scene, faceoff.Config{Designs: []string{"flannel-vxlan", "flannel-host-gw"}})
//	err = r.WriteText(os.Stdout)
//
// A [Scene] builds the labs; package topo has one for scenario files. Every
// experiment has a lab of its own, in virtual time unless it is told otherwise, so
// that none depends on what another has left behind. A [Result] holds what was
// found together with what it means; all outputs are renderings of it.
//
// Run may be called from several goroutines; a Result is plain data.
package faceoff
