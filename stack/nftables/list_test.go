package nftables

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// needNFT skips or fails where the real tool cannot work.
func needNFT(t *testing.T) {
	t.Helper()
	if err := exec.Command("unshare", "-n", "nft", "list", "ruleset").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("nft in a network namespace: %v (needs root and nftables)", err)
		}
		t.Skipf("nft in a network namespace: %v", err)
	}
}

// realList loads a text with the real nft, in a namespace of its own, and has it list the ruleset.
func realList(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.Command("unshare", "-n", "sh", "-c", "cat > /tmp/podwire-nft.$$ && nft -c -f /tmp/podwire-nft.$$ && nft -f /tmp/podwire-nft.$$ && nft list ruleset; e=$?; rm /tmp/podwire-nft.$$; exit $e")
	cmd.Stdin = strings.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nft: %v\n%s\n%s", err, stderr.String(), text)
	}
	return string(out)
}

func ours(t *testing.T, text string) string {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	r := New()
	if err := r.Apply(s, 0); err != nil {
		t.Fatal(err)
	}
	return r.List(0)
}

// TestListLikeNFT: what the real nft prints of a ruleset, we print, and both read it again.
func TestListLikeNFT(t *testing.T) {
	needNFT(t)
	for _, file := range []string{"testdata/kubeproxy.nft", "testdata/language.nft"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := realList(t, string(text))
		got := ours(t, string(text))
		if got != want {
			t.Errorf("%s: we print\n%s\nnft prints\n%s", file, got, want)
		}
		if again := ours(t, got); again != got {
			t.Errorf("%s: read again, we print\n%s\nwant\n%s", file, again, got)
		}
	}
}
