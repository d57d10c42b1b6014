package nftables

import (
	"fmt"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// An Error says what is wrong in a text and where.
type Error struct {
	Line, Column int    // from 1; 0 where the text as a whole is meant
	Word         string // what was found
	Msg          string // what is wrong with it, and what is wanted
	Near         string // the nearest word that would be right, or empty
}

// Error is a line such as
//
//	nftables: line 3, column 9: "dadr": unknown field of ip, nearest is "daddr"
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("nftables: ")
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
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

// errorf is an error about a token.
func (t token) errorf(format string, args ...any) *Error {
	return &Error{Line: t.line, Column: t.col, Word: t.text, Msg: fmt.Sprintf(format, args...)}
}

// unknown is an error about a word that is none of the known.
func (t token) unknown(what string, known []string) *Error {
	e := t.errorf("unknown %s", what)
	if e.Near = typo.Nearest(t.text, known); e.Near == "" {
		e.Msg += ", want one of " + strings.Join(known, ", ")
	}
	return e
}
