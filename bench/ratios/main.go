// Command ratios reads what `go test -bench` printed from standard input and
// prints the comparison with the bare pair; with -benchfmt only the ratios, in the
// benchmark format, for benchstat. It ends with status 1 if the benchmarks failed
// or the input holds no results.
//
//	go test ./bench -run '^$' -bench . -benchmem | go run ./bench/ratios
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/podwire/podwire/bench"
)

func main() {
	benchfmt := flag.Bool("benchfmt", false, "print only ratios, in the benchmark format")
	flag.Parse()
	results, err := bench.Parse(os.Stdin)
	if err == nil && *benchfmt {
		err = results.WriteRatios(os.Stdout)
	} else if err == nil {
		fmt.Print(results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}
