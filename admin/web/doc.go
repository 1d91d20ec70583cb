// Package web is the operator's page: the process of roomd admin web serves it on 127.0.0.1,
// for the browser of the operator that has started it. The server is not involved: each
// request becomes a command through its admin socket, with the rights, questions, tokens and
// audit of the console.
//
// # The link
//
// The link is http://127.0.0.1:PORT/#TOKEN. A browser sends the part behind # to no server and
// in no Referer, and whatever opens the link before the operator does (a preview, a scanner)
// uses nothing up: GET changes nothing. The page at / takes the token out of the address bar
// and the history, and posts it to /session. The token is good for that one request. The answer
// sets a cookie and names the path of the page.
//
// Cookies do not know ports: a browser sends those of 127.0.0.1 to every server on it, also to
// one of another user of the machine. So the path of the cookie is the path of the page, which
// begins with 128 random bits: a server that does not know them never gets the cookie. The
// cookie is also HttpOnly and SameSite=Strict, and its name has the port, so that two pages do
// not overwrite each other's.
//
// # Refused requests
//
// A request is refused unless all of this holds: its connection comes from a process of the
// operator (Linux: peer.Owner; root also accepts the user that has called sudo); Host is
// 127.0.0.1:PORT or localhost:PORT, against DNS rebinding; Sec-Fetch-Site does not say that
// another site made it; if it can change something, Origin is this page's; and beyond /, the
// cookie is right (compared in constant time). With --read-only this process refuses commands
// that change something, whatever the page in the browser does.
//
// # Goroutines and locks
//
// Besides those of net/http, one goroutine follows the load of the server, keeps 15 minutes of
// it for the charts, and notices when the server is gone and back. Two more follow events and
// the log while a browser shows the page. feed.mu guards the kept values and the browsers, and
// access.mu the token. None is held during I/O: a browser that reads too slowly misses values
// and gets their number.
package web
