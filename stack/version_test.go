package stack

import (
	"os"
	"strings"
	"testing"
)

// Reports name the gVisor release: it must be the one that is built in.
func TestGVisorVersion(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "gvisor.dev/gvisor v0.0.0-"+GVisorVersion) {
		t.Errorf("GVisorVersion is %s, which is not what go.mod requires", GVisorVersion)
	}
}
