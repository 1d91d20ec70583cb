// Package client talks to a roomd server. It makes, finds and deletes rooms, and joins them:
// a member stays in its room across restarts of the server and broken networks. The package
// needs only the standard library.
//
// Dial checks the server's master port. Client.Join returns a Room, which is a place in the
// room's stream of events and a way to send lines:
//
//	c, err := client.Dial(ctx, "127.0.0.1:8080", client.Options{})
//	if err != nil {
//		return err
//	}
//	room, err := c.Join(ctx, "lobby", client.JoinOptions{Nick: "echo"})
//	if err != nil {
//		return err
//	}
//	defer room.Close()
//	for ev := range room.Events(ctx) {
//		if ev.Type == client.Message && !ev.Notice && !ev.Own {
//			if _, err := room.SendNotice(ctx, ev.Text); err != nil {
//				return err
//			}
//		}
//	}
//	return room.Err()
//
// # Reading
//
// Every stored line (Message, Action, Topic; a Message may be a notice) comes once and in order, whatever happens to the
// connection. When the connection breaks, the room is joined again, first after a moment and
// then less and less often (every 30 s at most, with jitter), and the stream goes on behind
// the last line that came.
//
// JoinOptions.From says where the stream begins. A program that saves the Seq of each line it
// has handled, and starts again with After(seq), has every line once, too. Sequence numbers
// belong to one history: Event.Cursor is the Seq and what identifies the history. AfterCursor
// goes on there, and fails if the room is another one or a backup was restored meanwhile.
//
// The other events (Join, Leave, Nick, Notice, Private) are not stored: those that happen
// while the connection is broken do not come later.
//
// Four types are about the connection. Offline says that it broke and Text says why; Online
// says that it is back. Live says that all lines sent before have come, and Count says how
// many since Online: events that follow are as they happen. Gap says that lines may be
// missing and Text says why: the server no longer keeps them, or the room's history is
// shorter than it was.
//
// Events that the program does not take wait, first here, about a thousand of them, and then
// at the server. Sending goes on meanwhile.
//
// # Sending
//
// Room.Send returns the line's sequence number when the line is in the room, which by default
// means on disk. Room.Post does not wait, so that many lines can be on their way. Lines go
// out in the order of the calls, and those of one member keep their order. While the
// connection is broken both wait.
//
// No line is in the room twice. When the connection breaks, some lines may have been sent and not
// answered: their outcome is unknown. Each line has a random ID (/id of docs/protocol.md), so when the
// member is back under its nick it sends them again, and the server stores those that it does not have
// and answers all of them. Nobody else's lines matter: not those of a member that has had the nick
// meanwhile, or says the same text. The server keeps IDs for a day.
//
// While another member has the nick nothing is sent. (After a pulled cable the other member is our own
// old connection, for as long as the server's limits.dead_peer.) Without JoinOptions.Nick a random nick
// is taken before the first line is sent.
//
// A server of before /id is recognized, and a line that is too long with its ID (31 bytes more) goes
// without. For these the outcome is found by comparing. The server gives a nick to one member at a time,
// and frees it when the member that had it has left and all its lines are in the room. So when the member
// has its nick again, it has read every line of its own that arrived: as the next lines from that nick, in
// their order and with their text. Those are confirmed. The server has never read the other lines, and
// they are sent again. Two equal lines in a row count as two. So these lines depend on the nick:
//
//   - If Room.Rename takes another nick before they are told, their receipts fail with
//     ErrOutcomeUnknown.
//   - A member that takes the nick in the moment between, says the very text of a line whose
//     outcome is unknown, and leaves again, is taken for us. The room then has that line,
//     from that nick, once.
//   - A line that the server refused in the moment when the connection broke is known to be
//     missing, but the reason is lost (ErrRefused).
//
// A call that ends early because its context is done says with ErrOutcomeUnknown that the
// line may be in the room. Without that error the line is not in the room, and will not be.
//
// # Errors
//
// A refusal of the server is an *Error with a code: NoRoom, Exists, Denied and others, see
// docs/protocol.md. A room ends for good when the program closes it (ErrClosed), when it was
// deleted (ErrDeleted), or when its password was changed (an *Error of the code Denied). All
// other errors, such as a full room or a ban for an hour, are temporary: the room is joined
// again. IsTemporary says the same of an error of Dial or Join.
//
// Nothing is sent to a port before it has greeted as the room that was asked for. With mapped
// ports the number that the server gives may be a port of another server: then Join fails
// with the code WrongRoom, and a member that comes back tries again. Dial fails with
// NotMaster at the port of a room, and with NeedsTLS where the server speaks TLS and
// Options.TLS is not set.
//
// # Text
//
// The server cleans texts: they have no control characters. A program that prints to a
// terminal should clean them too, as the server may be another one.
//
// # Goroutines
//
// A Room has a goroutine that keeps the connection, and while there is one, a goroutine that
// reads it and one that writes it. Close ends them and waits for them. All methods may be
// called by any goroutine; each event goes to one caller.
package client
