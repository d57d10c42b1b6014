// Package bench compares podwire with the least that an emulated network can
// be: two bare gVisor stacks joined back to back in the same process. It turns
// what `go test -bench` prints into one table of values and ratios.
//
//	text, err := bench.Report(os.Stdin)
//
// Absolute figures say more about the machine than about podwire. Ratios
// within one run carry over, so every run measures the bare pair too, with the
// same TCP settings, and the table says which.
//
// The benchmarks are in this package's tests. Their names follow the
// convention of benchstat (golang.org/x/perf): BenchmarkTCP/path=vxlan, where
// the result of path=bare is what others of the same benchmark are held
// against.
package bench
