// Package resolv is the stub resolver of a pod: resolv.conf(5) and the
// questions that a C library asks because of it. The two libraries that
// containers have, glibc and musl, differ in what goes over the wire, and
// package net's own resolver is like neither.
package resolv

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Library is whose way of asking is followed.
type Library int

// The C libraries of container images. Glibc, of Debian and Red Hat, is the
// zero value; Musl is that of Alpine.
const (
	Glibc Library = iota
	Musl
)

// String returns "glibc" or "musl".
func (l Library) String() string {
	if l == Musl {
		return "musl"
	}
	return "glibc"
}

// ParseLibrary is the opposite of String.
func ParseLibrary(s string) (Library, error) {
	switch s {
	case "glibc":
		return Glibc, nil
	case "musl":
		return Musl, nil
	}
	return 0, fmt.Errorf("resolv: library %q, want glibc or musl", s)
}

// Limits of glibc, which Kubernetes keeps to as well.
const (
	MaxNameservers = 3
	MaxSearch      = 32
	MaxSearchChars = 2048
)

// Config is what resolv.conf(5) says. The zero value has no nameserver.
type Config struct {
	Nameservers []netip.Addr
	Search      []string // domains, in order
	Options     []Option // as written; those that are not known have no effect
}

// Option is one word of the line "options".
type Option struct {
	Name  string
	Value string // after the colon; empty if there is none
}

// String returns the file.
func (c Config) String() string {
	var b strings.Builder
	if len(c.Search) > 0 {
		b.WriteString("search " + strings.Join(c.Search, " ") + "\n")
	}
	for _, a := range c.Nameservers {
		b.WriteString("nameserver " + a.String() + "\n")
	}
	if len(c.Options) > 0 {
		b.WriteString("options")
		for _, o := range c.Options {
			b.WriteString(" " + o.String())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// String returns the option as in the file, "ndots:5".
func (o Option) String() string {
	if o.Value == "" {
		return o.Name
	}
	return o.Name + ":" + o.Value
}

// Parse reads a file as the libraries do: the last search line counts, what is
// not understood is passed over, and so are nameservers beyond the third.
func Parse(text string) Config {
	var c Config
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.ContainsAny(words[0][:1], "#;") {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(c.Nameservers) < MaxNameservers {
				c.Nameservers = append(c.Nameservers, a)
			}
		case "search", "domain":
			c.Search = words[1:]
		case "options":
			for _, w := range words[1:] {
				name, value, _ := strings.Cut(w, ":")
				c.Options = append(c.Options, Option{name, value})
			}
		}
	}
	return c
}

// flag reports whether an option is set.
func (c Config) flag(name string) bool {
	for _, o := range c.Options {
		if o.Name == name {
			return true
		}
	}
	return false
}

// number returns the value of an option, the last if there are several, within
// its bounds.
func (c Config) number(name string, or, most int) int {
	n := or
	for _, o := range c.Options {
		if v, err := strconv.Atoi(o.Value); o.Name == name && err == nil && v >= 0 {
			n = min(v, most)
		}
	}
	return n
}

// ndots is how many dots a name has that is tried as it is first: 1 unless the
// file says otherwise, at most 15.
func (c Config) ndots() int { return c.number("ndots", 1, 15) }

// timeout is how long a nameserver is waited for, attempts how often all of them
// are tried.
func (c Config) timeout() time.Duration {
	return time.Duration(max(1, c.number("timeout", 5, 30))) * time.Second
}
func (c Config) attempts() int { return max(1, c.number("attempts", 2, 5)) }
