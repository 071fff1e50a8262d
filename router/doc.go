// Package router runs Watermill handlers so that a shutdown loses and repeats
// nothing that could be helped: it drains.
package router
