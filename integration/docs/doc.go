// Package docs keeps the documentation true: it compiles, and where it can runs,
// every Go snippet of the Markdown files and of the packages' doc comments, and
// looks for the targets of all relative links.
//
// A snippet is one of three things:
//
//   - A program (package main): it is built and run, and must end by itself
//     within a minute with exit code 0.
//   - Declarations, or statements as in the body of a function: they are
//     type-checked. Packages of leat, Watermill and the common ones of the
//     standard library need no import. Types and functions of earlier snippets of
//     the same page are known. A lower-case name that nobody declares is taken for
//     a variable of the reader's, so that "bus" and "ctx" need no ceremony; names
//     in a package, fields and methods are all checked. In a doc comment, too
//     small a place to declare everything, upper-case names are taken the same
//     way. "{ ... }" stands for any body.
//
// Marks are HTML comments before the fence, invisible to readers:
//
//	<!-- snippet: build, it needs a Redis -->     a program that is not run
//	<!-- snippet: skip, the sketch of an idea -->  not looked at; say why
//
// A fence with the info string "text output" right behind a program is what it
// prints. There "..." stands for any text in a line, and a line of "..." alone
// for any lines.
package docs
