package netfilter

// slab hands out values from blocks of many: the rules of a script come and go together, and one value at a time they
// would keep the allocator and the garbage collector busier than all else. The zero value is ready.
type slab[T any] struct {
	free []T
	size int // of the last block
}

// slabMost bounds how much memory one value that lives on can hold back.
const slabMost = 64

// take is n zero values in a row.
func (s *slab[T]) take(n int) []T {
	if n > len(s.free) {
		s.size = min(max(2*s.size, 1), slabMost)
		if n >= s.size {
			return make([]T, n)
		}
		s.free = make([]T, s.size)
	}
	list := s.free[:n:n]
	s.free = s.free[n:]
	return list
}

// put is a copy of v.
func (s *slab[T]) put(v T) *T {
	p := &s.take(1)[0]
	*p = v
	return p
}

// memory is where a parser puts what its rules are made of.
type memory struct {
	commands slab[command]
	rules    slab[Rule]
	lists    slab[*Rule]
	matches  slab[ruleMatch]
	verdicts slab[Verdict]
	addrs    slab[addrTest]
	stocks   map[*kind]stock
}

// stock is the parser's stock of an extension.
func (m *memory) stock(k *kind) stock {
	s := m.stocks[k]
	if s == nil {
		if m.stocks == nil {
			m.stocks = make(map[*kind]stock)
		}
		s = k.make()
		m.stocks[k] = s
	}
	return s
}
