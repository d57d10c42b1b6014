package shell

import (
	"errors"
	"fmt"
	"strings"

	"github.com/podwire/podwire/internal/typo"
)

// Split splits a line into words as a POSIX shell does: blanks separate, '...'
// and "..." hold together, \ takes the next character as it is, # begins a
// comment. Nothing is expanded: a word with a variable, a pattern or a pipe in it
// is refused rather than taken for what it is not.
func Split(line string) ([]string, error) {
	var words []string
	var b strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'':
			b.WriteByte(c)
		case quote == '"' && c == '\\' && i+1 < len(line) && strings.IndexByte("\"\\$`", line[i+1]) >= 0:
			i++
			b.WriteByte(line[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote, in = c, true
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
			in = true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if in {
				words = append(words, b.String())
				b.Reset()
				in = false
			}
		case c == '#' && !in:
			i = len(line)
		case strings.IndexByte("|;<>$`", c) >= 0:
			return nil, fmt.Errorf("%q is not understood: there are no pipes, lists, redirections and variables; quote it if it is meant", string(c))
		default:
			b.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is never closed", quote)
	}
	if in {
		words = append(words, b.String())
	}
	return words, nil
}

// Known reports whether there is a command of that name; the error says which
// was probably meant.
func Known(name string) error {
	var names []string
	for _, c := range commands {
		if c.Name == name {
			return nil
		}
		names = append(names, c.Name)
	}
	if near := typo.Nearest(name, names); near != "" {
		return fmt.Errorf("%s: command not found, did you mean %s?", name, near)
	}
	return errors.New(name + ": command not found, want one of " + strings.Join(names, ", "))
}
