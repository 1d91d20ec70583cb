// Package web is the door for browsers: a page over HTTP, and one WebSocket for all rooms, with the
// subprotocol roomd.v1 (docs/protocol.md).
//
// # HTTP
//
// A Door serves HTTP on the connections that netsvc gives it, mostly from the master port. A request goes
// one way:
//
//	guard.go → site.go → page.go, or the WebSocket
//
// The guard refuses requests that another site has caused in a visitor's browser, and finds out who
// the client behind a proxy is. GET and HEAD change nothing; there are no other methods, no cookies
// and no forms. The page is static: its files are in the program, and all URLs in it are relative, so
// that it works below any path of a proxy.
//
// # The page
//
// The page is in the folder page: ES modules as they are, without a build step. app.js holds the state
// and wires the others: link.js (the connection; socket.js and outbox.js below it), log.js (a window over a
// room's lines) and search.js, which speak to the server; rooms.js, people.js and composer.js, which draw; line.js, a
// line as an element; dialog.js, keys.js, text.js and keep.js, which know no room; theme.js, which runs
// before the first paint. They meet in events and callbacks: none of them imports app.js. Text reaches the
// document as text nodes only (text.js).
//
// # Sessions
//
// GET ws makes a session of a connection: a socket is the WebSocket as a connection of messages (transport.FrameConn), and a
// client is the protocol of the session. From then on the session has two goroutines, one that reads and
// one that writes, and a timer that pings. An idle one has no buffer but the two of net/http.
//
// # Messages and lines
//
// The session reads lines. The socket puts a line before the lines of each message, which names its
// room, and a line behind them (see markRoom): so that a line that has to wait knows its room, and limits
// and pending input are as on a room's port. In the other direction the session says for each write of
// which room it is, and the socket writes one message. What a member reads is the room's log as JSON,
// which is rendered once for all: nothing is rendered for a page but its answers.
//
// # WATCH
//
// One goroutine compares the rooms with what they were a second before, while there is a watcher, and
// tells all of them the same bytes. A watcher that did not read gets the whole list again.
//
// # Locks
//
// feed.mu comes before the locks of netsvc. Door.mu and client.mu come after all of them, and nothing is
// called under them.
package web
