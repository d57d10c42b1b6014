//go:build !race

package convergence

// raceEnabled says that every run takes ten times as long.
const raceEnabled = false
