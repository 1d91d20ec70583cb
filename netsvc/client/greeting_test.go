package client

import (
	"strings"
	"testing"

	"roomd/netsvc/passwd"
	"roomd/netsvc/wire"
)

// The client reads the server's words, but may not import them.
func TestWordsOfTheServer(t *testing.T) {
	for _, w := range [][2]string{
		{youAre, wire.YouAre}, {askPassword, wire.AskPassword}, {speaksTLS, wire.SpeaksTLS},
		{BadRequest, wire.CodeBadRequest}, {BadName, wire.CodeBadName}, {Exists, wire.CodeExists}, {NoRoom, wire.CodeNoRoom},
		{Denied, wire.CodeDenied}, {Busy, wire.CodeBusy}, {ShuttingDown, wire.CodeShuttingDown}, {Internal, wire.CodeInternal},
		{string(Message), string(wire.TypeMessage)}, {string(Action), string(wire.TypeAction)}, {string(Topic), string(wire.TypeTopic)},
		{string(Join), string(wire.TypeJoin)}, {string(Leave), string(wire.TypeLeave)}, {string(Nick), string(wire.TypeNick)},
		{string(Notice), string(wire.TypeNotice)}, {string(Private), string(wire.TypePrivate)}, {string(Deleted), string(wire.TypeDeleted)},
		{string(typeOK), string(wire.TypeOK)}, {string(typeError), string(wire.TypeError)}, {string(typePong), string(wire.TypePong)},
		{string(typeMember), string(wire.TypeMember)},
	} {
		if w[0] != w[1] {
			t.Errorf("the client goes by %q, and the server says %q", w[0], w[1])
		}
	}
	if says := (passwd.Wrong{}).Error(); !strings.HasPrefix(says, wrongPassword) {
		t.Errorf("of a wrong password the server says %q", says)
	}
}
