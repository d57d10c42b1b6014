package explain

import (
	"fmt"
	"strings"
)

// verdict says in one sentence what became of the packet.
func verdict(r *Report) string {
	last := lastOf(r.Hops, "request")
	what := fmt.Sprintf("%s's %s to %s", r.From, r.kind(), r.target())
	if r.Answer == "" {
		switch {
		case last.Drop != "":
			return fmt.Sprintf("%s died at %s: %s%s", what, last.place(), last.Drop, because(last))
		case last.Direction == "in":
			return fmt.Sprintf("%s was delivered to %s, which did not answer", what, last.Machine)
		}
		return fmt.Sprintf("%s was last seen at %s: %s", what, last.place(), r.Error)
	}
	answer := fmt.Sprintf("%s answered with %s", r.AnswerBy, article(r.Answer))
	end := lastOf(r.Hops, "answer")
	switch {
	case r.Answered && last.Drop != "":
		return fmt.Sprintf("%s died at %s: %s; it was sent again, and %s", what, last.place(), last.Drop, answer)
	case r.Answered:
		return fmt.Sprintf("%s was delivered, and %s", what, answer)
	case last.Drop != "":
		answer = fmt.Sprintf("%s died at %s: %s%s; %s", what, last.place(), last.Drop, because(last), answer)
	default:
		answer = fmt.Sprintf("%s was delivered, and %s", what, answer)
	}
	if end.Drop != "" {
		answer += fmt.Sprintf(", which died at %s: %s%s", end.place(), end.Drop, because(end))
	} else if end.Machine != r.From {
		answer += fmt.Sprintf(", which was last seen at %s", end.place())
	}
	return answer
}

// because adds to a drop what was noted about it: the rule.
func because(h Hop) string {
	if h.Note == "" {
		return ""
	}
	return " (" + h.Note + ")"
}

// article puts a or an in front.
func article(what string) string {
	if strings.ContainsRune("aeiouAEIOU", rune(what[0])) && !strings.HasPrefix(what, "UDP") {
		return "an " + what
	}
	return "a " + what
}

// kind names what was sent.
func (r *Report) kind() string {
	switch r.Network {
	case "tcp":
		return "TCP SYN"
	case "udp":
		return "UDP datagram"
	}
	return "ping"
}

// target is whom it was sent to, as the user said it.
func (r *Report) target() string {
	if r.Port == 0 {
		return r.To
	}
	return fmt.Sprintf("%s:%d", r.To, r.Port)
}

func lastOf(hops []Hop, of string) (last Hop) {
	for _, h := range hops {
		if h.Of == of {
			last = h
		}
	}
	return last
}
