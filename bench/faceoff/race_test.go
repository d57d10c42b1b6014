//go:build race

package faceoff

// raceEnabled says that every run takes ten times as long.
const raceEnabled = true
