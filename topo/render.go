package topo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// sourceWidth is how many characters of a source line the long form shows. A
// manifest flattened into one line runs to hundreds.
const sourceWidth = 100

// Detail returns the long form: the one-line form without its hint, the source
// line with a caret under the column, then effect, hint and fix, each on lines
// of its own. It ends with a newline.
func (d Diagnostic) Detail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s [%s]\n", d.Pos, d.Severity, d.Message, d.Rule)
	if d.IsValid() && d.Source != "" {
		text, lead := window(d.Source, d.Column)
		fmt.Fprintf(&b, "%5d | %s\n      | %s^\n", d.Line, text, lead)
	}
	section(&b, "effect", d.Effect)
	section(&b, "hint", d.Hint)
	section(&b, "fix", d.Fix)
	return b.String()
}

// WriteDetail writes the long form of each finding to w, separated by blank
// lines.
func (ds Diagnostics) WriteDetail(w io.Writer) error {
	for i, d := range ds {
		sep := "\n"
		if i == 0 {
			sep = ""
		}
		if _, err := io.WriteString(w, sep+d.Detail()); err != nil {
			return err
		}
	}
	return nil
}

// section writes "  name: text"; a text of several lines starts below its name
// so that it can be copied from the terminal as it is.
func section(b *strings.Builder, name, text string) {
	switch {
	case text == "":
	case strings.Contains(text, "\n"):
		fmt.Fprintf(b, "  %s:\n", name)
		for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
			b.WriteString("    " + line)
		}
	default:
		fmt.Fprintf(b, "  %s: %s\n", name, text)
	}
}

// window cuts line to sourceWidth characters around column and returns it with
// the blanks that bring a caret under that column. Tabs stay tabs, and a wide
// character takes two blanks, so the caret lines up in a terminal.
func window(line string, column int) (text, lead string) {
	runes := []rune(line)
	col := min(max(column-1, 0), len(runes))
	start, end := 0, len(runes)
	if end > sourceWidth {
		start = max(0, min(col-sourceWidth/3, end-sourceWidth))
		end = min(end, start+sourceWidth)
	}
	text, before := string(runes[start:end]), runes[start:col]
	var pad strings.Builder
	if start > 0 {
		text = "…" + text
		pad.WriteByte(' ')
	}
	if end < len(runes) {
		text += "…"
	}
	for _, r := range before {
		switch {
		case r == '\t':
			pad.WriteByte('\t')
		case isWide(r):
			pad.WriteString("  ")
		default:
			pad.WriteByte(' ')
		}
	}
	return text, pad.String()
}

// isWide reports whether a terminal draws r two cells wide (the CJK blocks of
// Unicode Annex 11, East Asian Width W and F, without the rare planes).
func isWide(r rune) bool {
	return r >= 0x1100 && (r <= 0x115f ||
		r >= 0x2e80 && r <= 0xa4cf ||
		r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff ||
		r >= 0xfe30 && r <= 0xfe6f ||
		r >= 0xff00 && r <= 0xff60 ||
		r >= 0xffe0 && r <= 0xffe6 ||
		r >= 0x20000 && r <= 0x3fffd)
}

// quoted returns s quoted for a message, shortened so that a message stays one
// readable line whatever the file held.
func quoted(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%q...", string([]rune(s)[:most]))
}
