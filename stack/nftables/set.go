package nftables

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"
)

// set is a set, a map or a verdict map, named or not. It does not change; what rules add to it is in [state].
type set struct {
	name     string
	types    []*datatype // of the parts of a key
	data     []*datatype // of a map's values; typeVerdict alone for a verdict map, nil for a set
	comment  string
	flags    []string
	timeout  time.Duration // after which elements go; 0 never
	size     int
	elements *elements
}

func (s *set) has(flag string) bool { return slices.Contains(s.flags, flag) }

// dynamic reports whether rules may add elements.
func (s *set) dynamic() bool { return s.has("dynamic") }

// same reports whether elements of one are at home in the other.
func (s *set) same(o *set) bool {
	return slices.Equal(s.types, o.types) && slices.Equal(s.data, o.data) && s.dynamic() == o.dynamic()
}

// element is a key, or an interval of keys, and what it maps to.
type element struct {
	lo, hi  key
	comment string
	verdict *verdict
	data    key
	timeout time.Duration // its own
	expires time.Duration // when it goes; 0 never
}

// elements are found by their key alone: by hash, intervals by halving.
type elements struct {
	interval bool
	sweep    int              // the number at which what has timed out is looked for
	exact    map[key]*element // without interval
	ranges   []*element       // with it: in order, none overlaps another
}

func newElements(interval bool) *elements {
	return &elements{interval: interval, exact: make(map[key]*element)}
}

func (e *elements) len() int { return len(e.exact) + len(e.ranges) }

// find returns the element that a key is in, or nil.
func (e *elements) find(k key, now time.Duration) *element {
	x := e.exact[k]
	if e.interval {
		i, ok := slices.BinarySearchFunc(e.ranges, k, func(r *element, k key) int {
			switch {
			case bytes.Compare(r.hi[:], k[:]) < 0:
				return -1
			case bytes.Compare(r.lo[:], k[:]) > 0:
				return 1
			}
			return 0
		})
		if ok {
			x = e.ranges[i]
		}
	}
	if x == nil || x.expires != 0 && x.expires <= now {
		return nil
	}
	return x
}

// add puts an element in, and reports whether it could: no interval may overlap another.
func (e *elements) add(x *element) bool {
	if !e.interval {
		e.exact[x.lo] = x
		return x.lo == x.hi
	}
	i, _ := slices.BinarySearchFunc(e.ranges, x.lo, func(r *element, k key) int { return bytes.Compare(r.lo[:], k[:]) })
	if i < len(e.ranges) && e.ranges[i].lo == x.lo && e.ranges[i].hi == x.hi {
		e.ranges[i] = x
		return true
	}
	if i > 0 && bytes.Compare(e.ranges[i-1].hi[:], x.lo[:]) >= 0 || i < len(e.ranges) && bytes.Compare(e.ranges[i].lo[:], x.hi[:]) <= 0 {
		return false
	}
	e.ranges = slices.Insert(e.ranges, i, x)
	return true
}

// timed returns an element that was read, whose time runs from now on.
func (s *set) timed(x *element, now time.Duration) *element {
	left := x.expires
	if left == 0 {
		left = cmp.Or(x.timeout, s.timeout)
	}
	if left == 0 {
		return x
	}
	c := *x
	c.expires = now + left
	return &c
}

// remove takes an element out, and reports whether it was there.
func (e *elements) remove(x *element) bool {
	if !e.interval {
		_, ok := e.exact[x.lo]
		delete(e.exact, x.lo)
		return ok
	}
	n := len(e.ranges)
	e.ranges = slices.DeleteFunc(e.ranges, func(r *element) bool { return r.lo == x.lo && r.hi == x.hi })
	return len(e.ranges) < n
}

// expire drops what has timed out.
func (e *elements) expire(now time.Duration) {
	for k, x := range e.exact {
		if x.expires != 0 && x.expires <= now {
			delete(e.exact, k)
		}
	}
}

func (e *elements) clone() *elements {
	c := newElements(e.interval)
	for k, x := range e.exact {
		c.exact[k] = x
	}
	c.ranges = slices.Clone(e.ranges)
	return c
}

// sorted returns the elements in the order in which nft prints them: single values by number, concatenations by the
// number that their bytes are when the last is the highest.
func (e *elements) sorted(parts int) []*element {
	list := make([]*element, 0, e.len())
	for _, x := range e.exact {
		list = append(list, x)
	}
	list = append(list, e.ranges...)
	slices.SortFunc(list, func(a, b *element) int {
		if parts == 1 {
			return bytes.Compare(a.lo[:], b.lo[:])
		}
		for i := len(a.lo) - 1; i >= 0; i-- {
			if c := cmp.Compare(a.lo[i], b.lo[i]); c != 0 {
				return c
			}
		}
		return 0
	})
	return list
}

// text prints an element.
func (s *set) text(x *element, now time.Duration) string {
	var b strings.Builder
	b.WriteString(formatKey(s.types, x.lo, x.hi))
	if x.timeout != 0 {
		b.WriteString(" timeout " + formatDuration(x.timeout))
	}
	if x.expires != 0 {
		b.WriteString(" expires " + formatDuration(max(x.expires-now, 0)))
	}
	if x.comment != "" {
		b.WriteString(` comment "` + x.comment + `"`)
	}
	switch {
	case x.verdict != nil:
		b.WriteString(" : " + x.verdict.String())
	case s.data != nil:
		b.WriteString(" : " + formatKey(s.data, x.data, x.data))
	}
	return b.String()
}

func formatKey(types []*datatype, lo, hi key) string {
	words, at := make([]string, len(types)), 0
	for i, d := range types {
		words[i] = d.format(lo[at:], hi[at:])
		at += d.padded()
	}
	return strings.Join(words, " . ")
}

// list prints the elements of a set without a name, on one line.
func (s *set) list() string {
	var words []string
	for _, x := range s.elements.sorted(len(s.types)) {
		words = append(words, s.text(x, 0))
	}
	return "{ " + strings.Join(words, ", ") + " }"
}
