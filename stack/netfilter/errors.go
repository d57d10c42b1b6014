package netfilter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// What an [Error] can wrap, for callers that branch on it.
var (
	ErrNoChain     = errors.New("no such chain")
	ErrNoRule      = errors.New("no such rule")
	ErrNoSet       = errors.New("no such set")
	ErrChainExists = errors.New("chain already exists")
	ErrChainInUse  = errors.New("chain is in use")
	ErrLoop        = errors.New("chains jump too deep or in a circle")
)

// Error says what is wrong with rule text, and where.
type Error struct {
	Line   int    // 1 is the first line; 0 when the text is a single command
	Column int    // in bytes, 1 is the first; 0 when the whole line is meant
	Word   string // the offending word, unquoted
	Msg    string // what is wrong with it
	Near   string // the nearest word that would be right; "" when there is none
	Err    error  // one of the sentinels of this package, or nil
}

// Error is a line such as
//
//	netfilter: line 3, column 14: "conntrak": unknown match, nearest is "conntrack"
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("netfilter: ")
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d", e.Line)
		if e.Column > 0 {
			b.WriteString(", ")
		} else {
			b.WriteString(": ")
		}
	}
	if e.Column > 0 {
		fmt.Fprintf(&b, "column %d: ", e.Column)
	}
	if e.Word != "" {
		fmt.Fprintf(&b, "%q: ", e.Word)
	}
	b.WriteString(e.Msg)
	if e.Near != "" {
		fmt.Fprintf(&b, ", nearest is %q", e.Near)
	}
	return b.String()
}

// Unwrap is the sentinel behind the error, or nil.
func (e *Error) Unwrap() error { return e.Err }

// atLine puts a line number on an error that has none yet.
func atLine(err error, line int) error {
	var e *Error
	if errors.As(err, &e) && e.Line == 0 {
		e.Line = line
	}
	return err
}

// word is one argument of a command line and the column where it starts.
type word struct {
	text string
	col  int
}

func (w word) errorf(format string, args ...any) *Error {
	return &Error{Column: w.col, Word: w.text, Msg: fmt.Sprintf(format, args...)}
}

// unknown is errorf with the nearest of the known words.
func (w word) unknown(what string, known []string) *Error {
	e := w.errorf("unknown %s", what)
	e.Near = typo.Nearest(w.text, known)
	return e
}
