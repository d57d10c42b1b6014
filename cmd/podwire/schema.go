package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/podwire/podwire/bench/faceoff"
)

// schemas are the JSON Schemas of what podwire prints, by the command.
var schemas = map[string]func() []byte{"compare": faceoff.Schema}

func newSchema() *cobra.Command {
	names := slices.Sorted(maps.Keys(schemas))
	return &cobra.Command{
		Use:   "schema NAME",
		Short: "Print the JSON Schema of what a command prints with -o json: " + joinWords(names),
		Example: `  podwire schema compare > compare.schema.json
  podwire compare examples/faceoff.yaml -o json | check-jsonschema --schemafile compare.schema.json -`,
		ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("found %d names, want one of %s", len(args), joinWords(names))
			}
			schema, ok := schemas[args[0]]
			if !ok {
				return fmt.Errorf("found %q, want one of %s", args[0], joinWords(names))
			}
			_, err := c.OutOrStdout().Write(schema())
			return err
		},
	}
}
