//go:build !race

package emu_test

// raceEnabled says that every run takes ten times as long.
const raceEnabled = false
