// Command ratios reads what `go test -bench` printed from standard input and
// prints the comparison with the bare pair. It ends with status 1 if the
// benchmarks failed or the input holds no results.
//
//	go test ./bench -run '^$' -bench . -benchmem | go run ./bench/ratios
package main

import (
	"fmt"
	"os"

	"github.com/podwire/podwire/bench"
)

func main() {
	text, err := bench.Report(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
	fmt.Print(text)
}
