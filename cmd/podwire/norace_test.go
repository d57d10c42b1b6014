//go:build !race

package main

// raceEnabled says that every run takes ten times as long.
const raceEnabled = false
