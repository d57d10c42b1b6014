package topo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// MaxFileSize is the size of the largest file that is read, in bytes. Not one
// byte beyond it is read.
const MaxFileSize = 16 << 20

// MaxValues bounds the values in one file. A value costs some two hundred bytes
// once parsed, so a file of 16 MiB made of nothing but commas would otherwise
// take gigabytes.
const MaxValues = 1_000_000

// source is the text of one input.
type source struct {
	name  string
	text  string // without byte order mark
	lines []string
}

func newSource(name, text string) *source {
	return &source{name: name, text: text, lines: strings.Split(text, "\n")}
}

// line returns line n (counted from 1) without its end, or "".
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return strings.TrimSuffix(s.lines[n-1], "\r")
}

// readFile returns the content of path, or a sentence that says why not. A path
// that a person typed may be a pipe (validate <(helm template ...)); one that a
// file names may not, since opening it could block for ever.
func readFile(path string, pipes bool) (data []byte, problem string) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, "cannot read the file: " + reason(err)
	case st.IsDir():
		return nil, "found a directory, want a YAML file"
	case !st.Mode().IsRegular() && !pipes:
		return nil, "found a device or pipe, want a YAML file"
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "cannot read the file: " + reason(err)
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, "cannot read the file: " + reason(err)
	}
	return data, ""
}

// reason strips the path from an error that Open or Read made: the diagnostic
// has it already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return err.Error()
}

// checkText returns the text of data ready for the YAML parser, or a finding
// when no parser should see it. A UTF-8 byte order mark is dropped; Windows line
// ends are left alone, YAML 1.2 §5.4 accepts them.
func checkText(name string, data []byte) (*source, *Diagnostic) {
	bad := func(rule, message, hint string) (*source, *Diagnostic) {
		return nil, &Diagnostic{Pos: Pos{File: name}, Rule: rule, Message: message, Hint: hint}
	}
	if len(data) > MaxFileSize {
		return bad("file-size", fmt.Sprintf("the file is larger than %d bytes (16 MiB), the most that is read", MaxFileSize),
			"split it: a scenario names other files under manifests")
	}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return bad("encoding", "the file is UTF-16, want UTF-8", "save it again as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		return bad("empty-file", "the file is empty, want a scenario or Kubernetes manifests", "")
	}
	src := newSource(name, string(data))
	if d := checkBytes(src); d != nil {
		return nil, d
	}
	if n := countValues(src.text); n > MaxValues {
		return bad("file-size", fmt.Sprintf("the file holds about %d values, more than the %d that are read", n, MaxValues), "")
	}
	return src, nil
}

// checkBytes finds the first byte that makes the text something other than text.
func checkBytes(src *source) *Diagnostic {
	line, col := 1, 1
	for i := 0; i < len(src.text); {
		r, n := utf8.DecodeRuneInString(src.text[i:])
		at := Pos{File: src.name, Line: line, Column: col}
		switch {
		case r == utf8.RuneError && n == 1:
			return &Diagnostic{Pos: at, Rule: "encoding", Message: fmt.Sprintf("byte 0x%02x is not UTF-8", src.text[i]),
				Hint: "save the file as UTF-8"}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return &Diagnostic{Pos: at, Rule: "binary-file", Message: fmt.Sprintf("found the control character %U: this is a binary file, want YAML text", r)}
		case r == '\n':
			line, col = line+1, 0
		}
		i, col = i+n, col+1
	}
	return nil
}

// countValues is an upper estimate of the nodes the parser would make: every
// value but the first follows a line end, a comma, a colon or a dash.
func countValues(text string) int {
	n := 1
	for i := range len(text) {
		switch text[i] {
		case '\n', ',', '[', '{':
			n++
		case ':', '-', '?':
			if i+1 < len(text) && (text[i+1] == ' ' || text[i+1] == '\t') {
				n++
			}
		}
	}
	return n
}
