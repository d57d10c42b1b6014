//go:build race

package conntrack

// raceEnabled says that every run takes ten times as long.
const raceEnabled = true
