package topo

// An Action is what a step does, if it is one of those verbs that are a type of
// their own.
type Action interface {
	// Verb returns the word that the step was written with.
	Verb() string

	title() string              // of a step that has no name
	resolve(l *load, at string) // settles names; at says where, for messages
	play(p *player)             // does it, and fills in the outcome
}
