// Functions without a body, as in processor.go, may be declared in a package that
// has a file of assembly.
