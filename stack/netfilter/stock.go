package netfilter

// maker makes the stock of an extension for one parser.
type maker func() stock

// stock is where a parser takes matches and targets of one extension from.
type stock interface {
	take() any      // one for the options to fill
	keep(x any) any // what the rule is to hold of a filled one
}

// of is for extensions of which every rule has its own, which begin as initial.
func of[T any](initial T) maker { return func() stock { return &ownStock[T]{initial: initial} } }

type ownStock[T any] struct {
	initial T
	slab    slab[T]
}

func (s *ownStock[T]) take() any    { return s.slab.put(s.initial) }
func (*ownStock[T]) keep(x any) any { return x }

// alike is for extensions without an identity: of equal ones, rules that are near each other share one.
func alike[T comparable](initial T) maker {
	return func() stock { return &likeStock[T]{ownStock: ownStock[T]{initial: initial}} }
}

type likeStock[T comparable] struct {
	ownStock[T]
	spare *T
	last  [16]*T // a ring; kube-proxy writes a probability per endpoint, from 1/n to 1/2
	at    int
}

func (s *likeStock[T]) take() any {
	p := s.spare
	if p == nil {
		return s.ownStock.take()
	}
	*p, s.spare = s.initial, nil
	return p
}

func (s *likeStock[T]) keep(x any) any {
	p := x.(*T)
	for i := range s.last {
		old := s.last[(s.at-i)&(len(s.last)-1)]
		if old == nil {
			break
		}
		if *old == *p {
			s.spare = p
			return old
		}
	}
	s.at = (s.at + 1) & (len(s.last) - 1)
	s.last[s.at] = p
	return x
}
