//go:build race

package convergence

const raceEnabled = true
