// Package report writes what a comparison has found as one HTML page that needs
// nothing else: no network, no server, no file beside it.
//
//	r, err := faceoff.Run(ctx, scenario, options)
//	...
//	err = report.Write(f, r)
//
// The page holds the whole result as JSON, and its charts are drawn from that.
// Its text and every table are there without JavaScript. A content security
// policy forbids the page to load anything and to run any script but its own,
// which it names by their hashes.
package report

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/podwire/podwire/bench/faceoff"
)

//go:generate ./lib/update.sh

var (
	//go:embed page.html
	pageHTML string
	//go:embed style.css
	styleCSS string
	//go:embed script/*.js lib/*.js
	scripts embed.FS
)

// libraries are other people's, in the order in which they need each other.
// lib/README.md says where they come from.
var libraries = []string{"lib/d3.min.js", "lib/plot.umd.min.js"}

// ours are the parts of the page's own script. They share one scope.
var ours = []string{
	"script/page.js", "script/save.js", "script/bars.js", "script/lines.js",
	"script/headers.js", "script/path.js", "script/errors.js", "script/network.js", "script/start.js",
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{"slug": slug}).Parse(pageHTML))

// Write writes the page. The same result gives the same bytes. What the result
// says is shown as text, whatever it is.
func Write(w io.Writer, r *faceoff.Result) error {
	v, err := newView(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var b bytes.Buffer // a page that failed half way would look like one
	if err := page.Execute(&b, v); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// code returns the scripts of the page.
func code() []template.JS {
	var list []template.JS
	for _, name := range libraries {
		list = append(list, template.JS(read(name)))
	}
	var b strings.Builder
	b.WriteString("(() => {\n\"use strict\";\n")
	for _, name := range ours {
		b.WriteString(read(name))
	}
	b.WriteString("})();\n")
	return append(list, template.JS(b.String()))
}

func read(name string) string {
	b, err := scripts.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(b)
}

// policy lets the page run these scripts, style itself, and do nothing else.
// 'unsafe-inline' of styles is for the style attributes that charts are made of.
func policy(scripts []template.JS) string {
	var hashes strings.Builder
	for _, s := range scripts {
		sum := sha256.Sum256([]byte(s))
		fmt.Fprintf(&hashes, " 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
	}
	return "default-src 'none'; script-src" + hashes.String() + "; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
}

// data is JSON for a script element: "<", ">" and "&" are escaped, so that no
// string of it ends the element.
func data(v any) (template.JS, error) {
	b, err := json.Marshal(v)
	return template.JS(b), err
}
