package report

// Slug is what names and anchors are made with.
var Slug = slug
