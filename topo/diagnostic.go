package topo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Severity says how bad a [Diagnostic] is. The zero value is Error.
type Severity int

// The three severities. An Error makes the input unusable, a Warning is
// probably not what was meant, a Note explains something legal that surprises.
const (
	Error Severity = iota
	Warning
	Note
)

var severityNames = [...]string{Error: "error", Warning: "warning", Note: "note"}

// String returns "error", "warning" or "note".
func (s Severity) String() string {
	if s < 0 || int(s) >= len(severityNames) {
		return fmt.Sprintf("severity(%d)", int(s))
	}
	return severityNames[s]
}

// MarshalText implements encoding.TextMarshaler with the words of String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severityNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("topo: severity: found %q, want error, warning or note", text)
	}
	*s = Severity(i)
	return nil
}

// Pos is a place in a file. Lines and columns count from 1; a column counts
// characters, not bytes. The zero Pos means "not written in any file".
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// IsValid reports whether p points into a file.
func (p Pos) IsValid() bool { return p.Line > 0 }

// String returns file:line:column, or the file alone when there is no line.
func (p Pos) String() string {
	if !p.IsValid() {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Diagnostic is one finding about an input. Its JSON form is stable.
type Diagnostic struct {
	Pos
	Severity Severity `json:"severity"`
	// Rule identifies the kind of finding, e.g. "unknown-field". Rule ids do
	// not change between versions; messages may.
	Rule string `json:"rule"`
	// Message says what was found and, if short, what was wanted.
	Message string `json:"message"`
	// Effect says what Kubernetes (or podwire) would do with the input as it
	// stands, in the API server's own words where those are known.
	Effect string `json:"effect,omitempty"`
	// Hint says what was probably meant.
	Hint string `json:"hint,omitempty"`
	// Fix is the corrected text of the line, or a whole corrected manifest.
	Fix string `json:"fix,omitempty"`
	// Source is the text of the line as it stands, without its line end.
	Source string `json:"source,omitempty"`
}

// String returns the one-line form:
//
//	file:line:column: error: message; hint: what was meant
func (d Diagnostic) String() string {
	s := fmt.Sprintf("%s: %s: %s", d.Pos, d.Severity, d.Message)
	if d.Hint != "" {
		s += "; hint: " + d.Hint
	}
	return s
}

// Diagnostics is a list of findings, ordered by file and position as [Load] and
// [Parse] return it. The zero value is an empty list.
type Diagnostics []Diagnostic

// HasErrors reports whether any finding is an Error.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}

// Err joins the findings of severity Error into one error, or returns nil if
// there are none.
func (ds Diagnostics) Err() error {
	var errs []error
	for _, d := range ds {
		if d.Severity == Error {
			errs = append(errs, errors.New(d.String()))
		}
	}
	return errors.Join(errs...)
}

// MarshalJSON encodes the list as a JSON array, an empty one as [].
func (ds Diagnostics) MarshalJSON() ([]byte, error) {
	if ds == nil {
		ds = Diagnostics{}
	}
	return json.Marshal([]Diagnostic(ds))
}

// sortStable orders by file (in the order files were first read), then line and
// column; findings about one place keep the order in which they were made.
func (ds Diagnostics) sortStable(fileOrder map[string]int) {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(
			cmp.Compare(fileOrder[a.File], fileOrder[b.File]),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}
