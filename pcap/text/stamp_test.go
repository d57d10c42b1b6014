package text

import (
	"testing"
	"time"
)

func TestStamps(t *testing.T) {
	first := time.Date(2000, 1, 2, 3, 4, 5, 6_007_008, time.UTC)
	for style, want := range []string{
		"03:06:05.006007 ", "", "946782365.006007 ", "00:02:00.000000 ", "2000-01-02 03:06:05.006007 ", "00:02:00.000000 ",
	} {
		s := Stamps{Style: style}
		s.Next(first)
		if got := s.Next(first.Add(2 * time.Minute)); got != want {
			t.Errorf("style %d: %q, want %q", style, got, want)
		}
	}
	s := Stamps{Nano: true, Style: 3}
	s.Next(first)
	if got, want := s.Next(first.Add(-time.Nanosecond)), "-00:00:00.000000001 "; got != want {
		t.Errorf("a packet from before: %q, want %q", got, want)
	}
}
