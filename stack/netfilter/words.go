package netfilter

import "strings"

// splitWords cuts a command line as iptables-restore does: blanks separate words; a double quote opens a quoted part
// that ends the word where it closes; a backslash takes its meaning from the next character, but only inside quotes.
// Single quotes mean nothing.
func splitWords(line string) ([]word, error) { return appendWords(nil, line) }

// appendWords is splitWords for a caller that brings the slice. Nearly all words are
// parts of the line; only those with something to leave out are made anew.
func appendWords(words []word, line string) ([]word, error) {
	if strings.IndexByte(line, '\\') < 0 {
		if more, ok := appendPlainWords(words, line); ok {
			return more, nil
		}
	}
	return appendQuotedWords(words, line)
}

// appendQuotedWords is appendWords for every line.
func appendQuotedWords(words []word, line string) ([]word, error) {
	var buf []byte
	start, quoted, escaped := -1, -1, false
	i := 0
	flush := func() {
		text, end := "", i
		if end > start && line[start] == '"' {
			text = line[start+1 : end]
		} else {
			text = line[start:end]
		}
		if text != string(buf) { // does not allocate
			text = string(buf)
		}
		words = append(words, word{text, start + 1})
		buf, start = buf[:0], -1
	}
	for i = range len(line) {
		c := line[i]
		if start < 0 && (quoted >= 0 || c != ' ' && c != '\t') {
			start = i
		}
		switch {
		case quoted >= 0 && escaped:
			buf, escaped = append(buf, c), false
		case quoted >= 0 && c == '\\':
			escaped = true
		case quoted >= 0 && c == '"':
			quoted = -1
			flush()
		case quoted >= 0:
			buf = append(buf, c)
		case c == '"':
			quoted = i
		case c != ' ' && c != '\t':
			buf = append(buf, c)
		case start >= 0:
			flush()
		}
	}
	if quoted >= 0 {
		return nil, &Error{Column: quoted + 1, Msg: "the quote is never closed"}
	}
	if start >= 0 {
		i = len(line)
		flush()
	}
	return words, nil
}

// appendPlainWords is appendWords for a line without backslashes whose quotes stand around whole words. ok says that it
// is one.
func appendPlainWords(words []word, line string) (all []word, ok bool) {
	for i := 0; i < len(line); i++ {
		start := i
		switch line[i] {
		case ' ', '\t':
			continue
		case '"':
			n := strings.IndexByte(line[i+1:], '"')
			if n < 0 {
				return words, false
			}
			words = append(words, word{line[i+1 : i+1+n], start + 1})
			i += 1 + n
			continue
		}
		for i < len(line) && line[i] != ' ' && line[i] != '\t' {
			if line[i] == '"' {
				return words, false
			}
			i++
		}
		words = append(words, word{line[start:i], start + 1})
	}
	return words, true
}

// plain reports whether a string is printed without quotes.
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// appendQuoted prints a free string, such as a comment, the way iptables-save does: bare if it is made of letters,
// digits, _ and - alone, else quoted with \, " and ' escaped.
func appendQuoted(b []byte, s string) []byte {
	if plain(s) {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if strings.IndexByte(`"'\`, s[i]) >= 0 {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
