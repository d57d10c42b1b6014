//go:build !race

package conformance

// seedRuns is how often a scene is played again with the same seed.
const seedRuns = 50

// raceEnabled says that every run takes ten times as long.
const raceEnabled = false
