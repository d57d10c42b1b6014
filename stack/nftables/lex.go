package nftables

import "strings"

// token is a word, a quoted string, a sign or the end of a line.
type token struct {
	text      string
	kind      tokenKind
	line, col int
}

type tokenKind uint8

const (
	tokEnd     tokenKind = iota // of the text
	tokWord                     // names, numbers, addresses, ranges
	tokString                   // quoted
	tokSign                     // { } , : = != and the like
	tokNewline                  // or semicolon
)

// twoSigns are the signs of two characters.
var twoSigns = []string{"!=", "==", "<=", ">=", "<<", ">>"}

const (
	oneSign  = "{},:=<>!&|^()"
	wordMore = "_./-@*" // besides letters and digits
)

// lex cuts a text into tokens. Comments go, and so do line ends after a backslash.
func lex(text string) ([]token, error) {
	var list []token
	line, start := 1, 0
	for i := 0; i < len(text); {
		t := token{line: line, col: i - start + 1}
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
			continue
		case c == '\\' && strings.HasPrefix(text[i:], "\\\n"):
			i, line = i+2, line+1
			start = i
			continue
		case c == '\n' || c == ';':
			t.kind, t.text = tokNewline, ";"
			if i++; c == '\n' {
				line, start, t.text = line+1, i, "end of line"
			}
		case c == '"':
			end := strings.IndexAny(text[i+1:], "\"\n")
			if end < 0 || text[i+1+end] == '\n' {
				return nil, t.errorf("a string does not end on its line")
			}
			t.kind, t.text = tokString, text[i+1:i+1+end]
			i += end + 2
		case isWord(c):
			end := i + 1
			for end < len(text) && isWord(text[end]) {
				end++
			}
			t.kind, t.text = tokWord, text[i:end]
			i = end
		case strings.IndexByte(oneSign, c) >= 0:
			n := 1
			for _, s := range twoSigns {
				if strings.HasPrefix(text[i:], s) {
					n = 2
				}
			}
			t.kind, t.text = tokSign, text[i:i+n]
			i += n
		default:
			t.text = string(rune(c))
			return nil, t.errorf("not a character of the language")
		}
		list = append(list, t)
	}
	return append(list, token{kind: tokEnd, text: "end of text", line: line, col: len(text) - start + 1}), nil
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(wordMore, c) >= 0
}

// cursor walks tokens.
type cursor struct {
	tokens []token
	pos    int
}

func (c *cursor) peek() token { return c.tokens[c.pos] }

func (c *cursor) next() token {
	t := c.tokens[c.pos]
	if t.kind != tokEnd {
		c.pos++
	}
	return t
}

// is reports whether the next token is a word or sign as written.
func (c *cursor) is(text string) bool {
	t := c.peek()
	return t.text == text && (t.kind == tokWord || t.kind == tokSign)
}

// take skips the next token if it is as written.
func (c *cursor) take(text string) bool {
	ok := c.is(text)
	if ok {
		c.pos++
	}
	return ok
}

// want takes the next token, which has to be as written.
func (c *cursor) want(text string) error {
	if !c.take(text) {
		return c.peek().errorf("want %q here", text)
	}
	return nil
}

// word takes a word, and what says what it is.
func (c *cursor) word(what string) (token, error) {
	t := c.next()
	if t.kind != tokWord {
		return t, t.errorf("want %s here", what)
	}
	return t, nil
}

// blank skips line ends.
func (c *cursor) blank() {
	for c.peek().kind == tokNewline {
		c.pos++
	}
}

// end wants the end of a statement's line; the brace that closes a block is the next one's.
func (c *cursor) end() error {
	switch t := c.peek(); {
	case t.kind == tokNewline:
		c.blank()
	case t.kind != tokEnd:
		return t.errorf("want the end of the line here")
	}
	return nil
}
