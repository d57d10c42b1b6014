package main

import (
	"os"
	"strings"
	"testing"
)

// README's table names every command.
func TestREADMENamesEveryCommand(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newRoot().Commands() {
		if !c.Hidden && !strings.Contains(string(readme), "`podwire "+c.Name()) {
			t.Errorf("README does not name podwire %s", c.Name())
		}
	}
	for _, flag := range []string{"--report", "--designs", "--only", "--real-time"} {
		if !strings.Contains(string(readme), "`"+flag) {
			t.Errorf("README does not name %s", flag)
		}
	}
}
