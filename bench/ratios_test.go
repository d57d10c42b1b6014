package bench

import (
	"os"
	"strings"
	"testing"
)

func TestWriteRatios(t *testing.T) {
	r, err := Parse(strings.NewReader(`cpu: some
BenchmarkTCP/path=bare-2 10 100 ns/op 400 MB/s 4 allocs/op
BenchmarkTCP/path=vxlan-2 10 100 ns/op 200 MB/s 8 allocs/op
BenchmarkTCP/path=bare-2 10 100 ns/op 500 MB/s 4 allocs/op
BenchmarkTCP/path=vxlan-2 10 100 ns/op 200 MB/s 6 allocs/op
BenchmarkGrowth/what=x/n=10 10 100 ns/op
BenchmarkGrowth/what=x/n=100 10 150 ns/op
BenchmarkOther 10 100 ns/op
`))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := r.WriteRatios(&got); err != nil {
		t.Fatal(err)
	}
	want := `cpu: some
BenchmarkTCP/path=vxlan-2 1 0.5 to-bare:MB/s 2 to-bare:allocs/op
BenchmarkTCP/path=vxlan-2 1 0.4 to-bare:MB/s 1.5 to-bare:allocs/op
BenchmarkGrowth/what=x/n=100 1 1.5 to-n=10:ns/op
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
	if again, err := Parse(strings.NewReader(got.String())); err != nil || len(again.Series) != 2 {
		t.Errorf("read again: %+v, %v", again, err)
	}
}

// The committed baseline is complete enough to be held against.
func TestBaseline(t *testing.T) {
	f, err := os.Open("testdata/baseline.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"TCP/path=vxlan", "Connect/path=clusterip"} {
		found := false
		for _, s := range r.Series {
			found = found || s.Name == name && len(s.Values["ns/op"]) >= 6 // what benchstat needs for a confidence
		}
		if !found {
			t.Errorf("the baseline has no six measurements of %s", name)
		}
	}
}
