package conformance

import (
	"slices"
	"strings"
	"testing"
)

// wantClean checks what must hold for every frame.
func wantClean(t *testing.T, f *frame) {
	t.Helper()
	if f.iface == "" || f.id == "" || f.id == "0" || f.dir == "" {
		t.Errorf("%v: interface %q, packet id %q, direction %q, want all three", f, f.iface, f.id, f.dir)
	}
	if f.has("_ws.malformed") || strings.Contains(f.first("frame.protocols"), "malformed") {
		t.Errorf("%v is malformed: %v", f, f.fields["_ws.expert.message"])
	}
	if f.tunnelled() && isSet(f.outer("ip.flags.mf")) { // the inner packet goes on in the next frame
		if got := f.outer("ip.checksum.status"); got != "1" {
			t.Errorf("%v: outer ip.checksum.status = %s, want 1, good", f, got)
		}
		return
	}
	if slices.Contains(f.fields["_ws.expert.severity"], "8388608") { // PI_ERROR
		t.Errorf("%v: tshark reports an error, one of %v", f, f.fields["_ws.expert.message"])
	}
	wantSums(t, f)
}

// wantSums checks all checksums of a frame. Those of packets in fragments, and
// of packets that an ICMP error quotes in part, cannot be checked: status 2.
func wantSums(t *testing.T, f *frame) {
	t.Helper()
	partial := f.isError() || slices.ContainsFunc(f.fields["ip.flags.mf"], isSet) ||
		slices.ContainsFunc(f.fields["ip.frag_offset"], func(v string) bool { return v != "0" })
	for _, field := range []string{"ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status"} {
		for _, status := range f.fields[field] {
			if status != "1" && !(partial && status == "2") {
				t.Errorf("%v: %s = %s, want 1, good", f, field, status)
			}
		}
	}
}

func isSet(v string) bool { return v == "1" || v == "True" }

// wantList compares two lists of strings.
func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
