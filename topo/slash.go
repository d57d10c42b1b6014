package topo

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

// slashComment is a comment written // in a YAML file, where only # begins one.
type slashComment struct {
	line   int  // from 1
	column int  // of the first slash, in characters from 1
	offset int  // of the first slash in the line, in bytes
	used   bool // a finding that knows the field has been made
}

// yamlState follows just enough YAML across lines to know which characters are
// content: quoted strings and block scalars may hold // and # freely.
type yamlState struct {
	quote byte // the open quote, or 0
	block int  // indentation of the block scalar's parent, or -1
}

var blockHeader = regexp.MustCompile(`(?:^|\s)[|>][-+0-9]{0,2}\s*$`)

// slashComments finds every // comment of text, at most one on each line.
func slashComments(lines []string) map[int]*slashComment {
	found := map[int]*slashComment{}
	st := yamlState{block: -1}
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if st.quote == 0 && isSeparator(line) {
			st = yamlState{block: -1}
			continue
		}
		if off := st.scan(line); off >= 0 {
			found[i+1] = &slashComment{line: i + 1, column: utf8.RuneCountInString(line[:off]) + 1, offset: off}
		}
	}
	return found
}

// scan advances over one line and returns the offset of its // comment, or -1.
func (st *yamlState) scan(line string) int {
	indent := len(line) - len(strings.TrimLeft(line, " "))
	if st.block >= 0 {
		if indent > st.block || strings.TrimSpace(line) == "" {
			return -1
		}
		st.block = -1
	}
	slash, end := st.scanContent(line)
	if st.quote == 0 && blockHeader.MatchString(line[:end]) {
		st.block = parentIndent(line)
	}
	return slash
}

// scanContent walks the characters of a line outside block scalars. It returns
// the offset of a // comment or -1, and where the content ends.
func (st *yamlState) scanContent(line string) (slash, end int) {
	before := byte(0) // last character that is not blank, 0 at the line's start
	for i := 0; i < len(line); i++ {
		c := line[i]
		blankBefore := i == 0 || line[i-1] == ' ' || line[i-1] == '\t'
		switch {
		case st.quote != 0:
			i += st.skipQuoted(line[i:])
		case c == '#' && blankBefore:
			return -1, i
		case c == '/' && blankBefore && beginsComment(line[i:], before):
			return i, i
		case (c == '"' || c == '\'') && opensValue(before, blankBefore):
			st.quote = c
		}
		if i < len(line) && line[i] != ' ' && line[i] != '\t' {
			before = line[i]
		}
	}
	return -1, len(line)
}

// skipQuoted handles the first character of rest inside a quoted string and
// returns how many further bytes it takes.
func (st *yamlState) skipQuoted(rest string) int {
	switch {
	case st.quote == '"' && rest[0] == '\\':
		return 1
	case st.quote == '\'' && strings.HasPrefix(rest, "''"):
		return 1
	case rest[0] == st.quote:
		st.quote = 0
	}
	return 0
}

func opensValue(before byte, blankBefore bool) bool {
	switch before {
	case 0, '[', '{', ',':
		return true
	case ':', '-', '?':
		return blankBefore
	}
	return false
}

// beginsComment tells "port: 80 // why" from a value that begins with slashes,
// as in "path: //host/share": where a value may begin, a comment needs a blank
// after its slashes.
func beginsComment(rest string, before byte) bool {
	if !strings.HasPrefix(rest, "//") {
		return false
	}
	valueMayBegin := before == ':' || before == '-' || before == ',' || before == '[' || before == '{'
	return !valueMayBegin || len(rest) == 2 || rest[2] == ' ' || rest[2] == '\t'
}

// parentIndent is the column that the lines of a block scalar begun on this line
// must exceed.
func parentIndent(line string) int {
	i := len(line) - len(strings.TrimLeft(line, " "))
	for strings.HasPrefix(line[i:], "- ") {
		next := i + 2
		for next < len(line) && line[next] == ' ' {
			next++
		}
		if !strings.Contains(line[next:], ":") {
			return i
		}
		i = next
	}
	return i
}

// blankSlashes returns text with every // comment turned into a # comment of
// the same length, so that no column moves.
func blankSlashes(lines []string, found map[int]*slashComment) []string {
	if len(found) == 0 {
		return lines
	}
	out := append([]string(nil), lines...)
	for n, c := range found {
		l := out[n-1]
		out[n-1] = l[:c.offset] + "# " + l[c.offset+2:]
	}
	return out
}

// hashLine is the corrected line: the comment kept, its slashes turned into #.
func (c *slashComment) hashLine(line string) string { return line[:c.offset] + "#" + line[c.offset+2:] }

// slashAt returns the // comment that follows the plain scalar n on its line.
func (d *document) slashAt(n *yaml.Node) *slashComment {
	if n.Kind != yaml.ScalarNode || n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return nil
	}
	if c := d.slashes[n.Line]; c != nil && n.Column < c.column {
		return c
	}
	return nil
}

// rawScalar is the string YAML reads where a value is followed by // words.
func (d *document) rawScalar(n *yaml.Node) string {
	runes := []rune(d.src.line(n.Line))
	return strings.TrimRight(string(runes[min(n.Column-1, len(runes)):]), " \t")
}

// reportSlash makes the finding for the // comment behind the field at path.
func (l *load) reportSlash(d *document, c *slashComment, n *yaml.Node, path string, sev Severity, effect string) {
	c.used = true
	line := d.src.line(c.line)
	l.report(d, c.line, c.column, Diagnostic{
		Severity: sev, Rule: "slash-comment",
		Message: fmt.Sprintf("// begins no comment in YAML: %s is the string %s", path, quoted(d.rawScalar(n))),
		Effect:  effect,
		Hint:    fmt.Sprintf("begin the comment with #; the value meant is %s", n.Value),
		Fix:     c.hashLine(line),
	})
}

// reportUnusedSlashes makes a finding for each // comment that stands behind no
// value, in the words of the parser that would have met it.
func (l *load) reportUnusedSlashes(d *document) {
	effect := "the text becomes part of a value"
	if _, err := parseYAML(d.original()); err != nil {
		effect = kubectlParse(d.src.name, err)
	}
	for n := d.first; n < d.first+d.count; n++ {
		c := d.slashes[n]
		if c == nil || c.used {
			continue
		}
		l.report(d, n, c.column, Diagnostic{
			Rule: "slash-comment", Message: "// begins no comment in YAML", Effect: effect,
			Hint: "begin the comment with #", Fix: c.hashLine(d.src.line(n)),
		})
	}
}
