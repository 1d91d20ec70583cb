// Package client talks to a roomd server: it makes, finds and deletes rooms, and
// is a member of them for as long as you like, across restarts of the server and
// broken networks. It needs nothing but the standard library.
//
// Dial finds the server by its master port. Client.Join makes a Room, which is a
// place in a room's stream of events and a way to speak:
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
//		if ev.Type == client.Message && !ev.Own {
//			if _, err := room.Send(ctx, ev.Text); err != nil {
//				return err
//			}
//		}
//	}
//	return room.Err()
//
// # Reading
//
// Every stored line (Message, Action, Topic) comes once and in order, whatever
// happens to the connection: when it breaks, the room is joined again, first
// after a moment and then less and less often (30 s at most, with jitter), and
// the stream goes on behind the last line that came. Where it begins is said
// with JoinOptions.From. A program that notes the
// Seq of each line it has dealt with and starts again with After(seq) has every
// line once, too. Numbers count in one history: Event.Cursor has with the Seq what
// tells it from others, and AfterCursor goes on from there, unless a backup was put back
// meanwhile, or the room is another one.
//
// The other events (Join, Leave, Nick, Notice, Private) are not stored: what
// happens while the connection is away does not come later.
//
// Four types are about the connection. Offline says that it broke and Text why;
// Online that it is back. Live says that all lines said before have come, and
// Count how many came since Online: what follows is as it happens. Gap says that
// lines may be missing, and Text why: they were too old to be kept, or the
// room's history is shorter than it was.
//
// Events that nobody takes wait: first here, about a thousand of them, then at
// the server. Sending goes on meanwhile.
//
// # Sending
//
// Room.Send returns when the line is in the room, which by default means on disk,
// with its sequence number. Room.Post does not wait, so that many lines can be
// under way; lines go out in the order of the calls, and one member's lines keep
// their order. While the connection is away both wait.
//
// No line is sent twice. When the connection breaks, some lines may have been
// sent and not seen: their fate is unknown. The member then comes back under
// its nick and reads on. The server gives a nick to one member at a time, and
// frees it when the one who had it has left and all that it said is in the room.
// So when the nick is ours again, every line of ours that arrived has been
// read: as the next lines from that nick after the last one read, in their order
// and with their text. Those are accounted for, the others were never read by
// the server and are sent again. Two equal lines in a row count as two.
//
// What that rests on:
//
//   - The nick. While somebody else has it, nothing is sent, and lines whose fate
//     is unknown stay so until the nick is free again (after a pulled cable it
//     is our own old connection, for as long as the server's limits.dead_peer).
//     If another nick is taken by Room.Rename meanwhile, their receipts fail
//     with ErrOutcomeUnknown. Without JoinOptions.Nick a name that nobody else would
//     have is made up before the first line is sent.
//   - Somebody who takes the nick in the moment between, says the very text that
//     is under way, and leaves again, is taken for us. The room then has that
//     line, from that nick, once.
//   - A line that the server refused in the moment when the connection broke is
//     known to be missing, but not why (ErrRefused).
//
// A call that ends early because its context is done says with ErrOutcomeUnknown that
// the line may be in the room; without it, it is not and will not be.
//
// # Errors
//
// What the server refuses is an *Error with a code: NoRoom, Exists, Denied
// and so on, see docs/protocol.md. A room ends for good when it is closed
// here (ErrClosed), when it was deleted, also meanwhile (ErrDeleted), or when its
// password is another one by now (an *Error of the code Denied). All else, a
// full room or a ban for an hour, passes: it is tried again. IsTemporary says the
// same of an error of Dial or Join.
//
// Nothing is said to a port before it has greeted as the room that was asked for.
// Behind mapped ports the number that the server gives may be that of another
// server: then Join fails with the code WrongRoom, and a member that comes back
// tries again. Dial fails with NotMaster at the port of a room, and with NeedsTLS where
// TLS is spoken and Options.TLS is not set.
//
// # Text
//
// The server cleans what it is given: control characters do not get through. A
// program that prints to a terminal should not rely on it.
//
// # Goroutines
//
// A Room has one goroutine that keeps the connection and, while there is one,
// one that reads and one that writes. Close ends them and waits for them. All
// methods may be called from any goroutine; events go to one caller each.
package client
