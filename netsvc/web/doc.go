// Package web lets browsers into the rooms: a page, and a WebSocket (RFC 6455) for all rooms.
//
// # HTTP
//
// A request goes one way:
//
//	guard.go → site.go → page.go, or the WebSocket
//
// The guard refuses requests that another site has caused in a visitor's browser, and finds out who
// the client behind a proxy is. GET and HEAD change nothing; there are no other methods, no cookies
// and no forms. The page is static: its files are in the program, and all URLs in it are relative, so
// that it works below any path of a proxy.
package web
