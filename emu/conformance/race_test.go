//go:build race

package conformance

// seedRuns is small under the race detector: it makes a run ten times slower,
// and what it looks for shows in any run.
const seedRuns = 6

// raceEnabled says that every run takes ten times as long.
const raceEnabled = true
