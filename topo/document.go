package topo

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// document is one YAML document of a file. Its nodes carry lines of the file.
type document struct {
	src     *source
	first   int // line of the file on which the document begins
	count   int // lines
	slashes map[int]*slashComment
	lines   []string   // with // comments blanked
	root    *yaml.Node // nil when the document is empty or unreadable
}

// original is the document's text as it was written.
func (d *document) original() string {
	return strings.Join(d.src.lines[d.first-1:d.first-1+d.count], "\n")
}

// isSeparator reports whether a line ends one YAML document and may begin the
// next (YAML 1.2 §9.1.2: such a line is a marker wherever it stands).
func isSeparator(line string) bool {
	for _, mark := range []string{"---", "..."} {
		if rest, ok := strings.CutPrefix(line, mark); ok && (rest == "" || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r') {
			return true
		}
	}
	return false
}

// split cuts a file into its documents. Cutting before parsing keeps a syntax
// error in one document from hiding those that follow.
func split(src *source) []*document {
	slashes := slashComments(src.lines)
	lines := blankSlashes(src.lines, slashes)
	var docs []*document
	begin := 0
	flush := func(end int) {
		if text := lines[begin:end]; hasContent(text) {
			docs = append(docs, &document{src: src, first: begin + 1, count: end - begin, slashes: slashes, lines: text})
		}
	}
	for i, line := range lines {
		if !isSeparator(line) {
			continue
		}
		flush(i)
		begin = i + 1
		if rest := strings.TrimSpace(line[3:]); rest != "" && rest[0] != '#' {
			begin = i // "--- {a: 1}": the document begins on the marker's line
		}
	}
	flush(len(lines))
	return docs
}

// hasContent reports whether any line holds more than a comment, a directive
// such as %YAML, or a document marker.
func hasContent(lines []string) bool {
	for _, line := range lines {
		t := strings.TrimSpace(line)
		if t != "" && t[0] != '#' && line[0] != '%' && t != "---" && t != "..." {
			return true
		}
	}
	return false
}

// parseYAML parses one document. The library reports bad input through panics
// that it recovers itself; the recover here is for one it might miss, since no
// file may bring the caller down.
func parseYAML(text string) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		return nil, err
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
		return nil, nil
	}
	return n.Content[0], nil
}

// parse fills d.root, with aliases expanded, and reports what is wrong with the
// document as YAML. It returns false when there is nothing to decode.
func (l *load) parse(d *document) bool {
	root, err := parseYAML(strings.Join(d.lines, "\n"))
	if err != nil {
		l.reportSyntax(d, err)
		return false
	}
	if root == nil {
		return false
	}
	shiftLines(root, d.first-1)
	budget := maxAliasNodes
	expanded, err := expand(root, &budget, map[*yaml.Node]bool{})
	var ae *aliasError
	if errors.As(err, &ae) {
		l.report(d, ae.node.Line, ae.node.Column, Diagnostic{Rule: "yaml-alias", Message: ae.problem, Hint: "write the values out"})
		return false
	}
	d.root = expanded
	l.checkKeys(d, d.root)
	return true
}

func shiftLines(n *yaml.Node, by int) {
	if by == 0 {
		return
	}
	n.Line += by
	for _, c := range n.Content {
		shiftLines(c, by)
	}
}

// checkKeys reports keys that are repeated or are not plain words.
func (l *load) checkKeys(d *document, n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		lines := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode {
				l.report(d, k.Line, k.Column, Diagnostic{Rule: "yaml-key", Message: "a key is a " + kindName(k) + ", want a word"})
				continue
			}
			if at, dup := lines[k.Value]; dup {
				l.report(d, k.Line, k.Column, Diagnostic{
					Rule:    "duplicate-key",
					Message: fmt.Sprintf("duplicate key %s, first written on line %d", quoted(k.Value), at),
					Effect:  "kubectl keeps the last of them without a word; podwire refuses to guess",
					Hint:    "remove one of the two",
				})
			} else {
				lines[k.Value] = k.Line
			}
		}
	}
	for _, c := range n.Content {
		l.checkKeys(d, c)
	}
}

var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// kubectlParse is what kubectl prints for a file that is not YAML.
func kubectlParse(file string, err error) string {
	return fmt.Sprintf("kubectl: error parsing %s: error converting YAML to JSON: %v", file, err)
}

// reportSyntax explains why a document is not YAML.
func (l *load) reportSyntax(d *document, err error) {
	if l.reportTabs(d, err) || l.reportFlattened(d, err) {
		return
	}
	line, problem := 1, err.Error()
	if m := yamlError.FindStringSubmatch(problem); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = min(max(n, 1), d.count)
		}
		problem = m[2]
	}
	text := strings.TrimSuffix(d.lines[line-1], "\r")
	diag := Diagnostic{Rule: "yaml-syntax", Message: "not YAML: " + problem}
	if d.looksLikeManifest() {
		diag.Effect = kubectlParse(d.src.name, err)
	}
	column := 1 + len(text) - len(strings.TrimLeft(text, " \t"))
	if strings.HasPrefix(problem, "mapping values are not allowed") {
		column = max(column, secondColon(text))
		diag.Hint = "begin each key on a line of its own, or quote a value that holds a colon and a blank; check the indentation against the line above"
	}
	l.report(d, d.first-1+line, column, diag)
}

// secondColon is the column of the second "key: " of a line, the one YAML
// objects to, or 0.
func secondColon(text string) int {
	first := strings.Index(text, ": ")
	if first < 0 {
		return 0
	}
	rest := text[first+2:]
	second := strings.Index(rest+" ", ": ")
	if second < 0 {
		return 0
	}
	return len([]rune(text[:first+2+second])) + 1
}

// reportTabs reports every line indented with a tab, the usual reason for
// "cannot start any token".
func (l *load) reportTabs(d *document, err error) bool {
	if !strings.Contains(err.Error(), "cannot start any token") && !strings.Contains(err.Error(), "tab character") {
		return false
	}
	found, effect := false, ""
	if d.looksLikeManifest() {
		effect = kubectlParse(d.src.name, err)
	}
	for i, text := range d.lines {
		body := strings.TrimLeft(text, " \t")
		lead := text[:len(text)-len(body)]
		tab := strings.IndexByte(lead, '\t')
		if tab < 0 || strings.TrimSpace(body) == "" {
			continue
		}
		found = true
		l.report(d, d.first+i, tab+1, Diagnostic{
			Rule: "tab-indentation", Message: "a tab in the indentation; YAML allows only blanks there",
			Effect: effect, Hint: "replace the tab by two blanks",
			Fix: strings.ReplaceAll(lead, "\t", "  ") + strings.TrimRight(body, "\r"),
		})
	}
	return found
}

var manifestKey = regexp.MustCompile(`(?m)^\s*"?(apiVersion|kind|metadata|spec)"?\s*:`)

// looksLikeManifest guesses, for a document that could not be parsed, whether
// Kubernetes was meant to read it.
func (d *document) looksLikeManifest() bool {
	return manifestKey.MatchString(strings.Join(d.lines, "\n"))
}
