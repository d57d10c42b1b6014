// Package topo reads scenario files and Kubernetes manifests, explains every
// mistake in them, and yields a typed model of the lab they describe.
//
//	sc, diags := topo.Load("quickstart.yaml")
//	for _, d := range diags {
//		fmt.Fprintln(os.Stderr, d) // quickstart.yaml:9:5: error: unknown key "desing" in cluster; hint: did you mean "design"?
//	}
//	if diags.HasErrors() {
//		os.Exit(2)
//	}
//	fmt.Println(sc.Name.Value, len(sc.Pods), "pods")
//
// A file is a sequence of YAML documents. A document with an apiVersion or a
// kind is a Kubernetes manifest; any other is the scenario itself, of which
// there is at most one. Manifests are decoded the way the Kubernetes API server
// decodes them (strictly: an unknown field is an error), but from the YAML tree,
// so that each mistake keeps its line and column and one mistake does not hide
// the next.
//
// # Positions
//
// Each value of the model is a [Field], which remembers where it was written.
// Whatever finds fault with a value later can point at the file again, and
// [Object.Position] turns a Kubernetes field path (spec.ports[0].nodePort) into
// a place in the file.
//
// # Trust
//
// Files are untrusted. At most [MaxFileSize] bytes are read, at most
// [MaxValues] values are parsed, alias expansion is bounded, and no input
// makes the package panic.
//
// Nothing here is safe for concurrent use on one Scenario; separate loads are
// independent of each other.
package topo
