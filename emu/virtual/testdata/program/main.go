// Program runs a bubble where there is no test, as the podwire command does.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/podwire/podwire/emu/virtual"
)

func main() {
	for range 2 {
		err := virtual.Run(func(settle func()) error {
			start := time.Now()
			time.Sleep(1000 * time.Hour)
			settle()
			fmt.Println("slept", time.Since(start))
			return errors.New("an error")
		})
		fmt.Println(err)
	}
	err := virtual.Run(func(func()) error { panic("a panic") })
	fmt.Printf("%.23s\n", err)
}
