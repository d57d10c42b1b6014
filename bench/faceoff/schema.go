package faceoff

import _ "embed"

//go:embed compare.schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of a [Result]'s JSON form, with
// a description of every field. A test holds the two against each other.
func Schema() []byte { return append([]byte(nil), schema...) }
