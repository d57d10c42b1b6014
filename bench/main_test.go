package bench

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// TestMain prints the settings that belong to every result, in the form of the
// benchmark format, if benchmarks are to run.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.bench"); f != nil && f.Value.String() != "" {
		fmt.Printf("go: %s\n", runtime.Version())
		fmt.Printf("gvisor: %s\n", gvisorVersion())
		fmt.Printf("tcp: %s\n", tcpSettings)
	}
	os.Exit(m.Run())
}

// gvisorVersion returns the version of gVisor that is linked in. The build
// information of a test program lists no modules, but the paths of sources in
// it begin with module and version.
func gvisorVersion() string {
	file, _ := runtime.FuncForPC(reflect.ValueOf(stack.New).Pointer()).FileLine(0)
	_, after, ok := strings.Cut(file, "gvisor.dev/gvisor@")
	if !ok {
		return "unknown"
	}
	version, _, _ := strings.Cut(after, "/")
	return version
}
