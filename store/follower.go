package store

// Follower is told of everything that others can see, once it is part of the state:
// of lines and of changes, in their order, whoever has submitted them. Its functions
// are called on the committer's goroutine, before the call that made the change
// returns. They must not block, and ask the store for nothing but what is in memory
// (Stat, Identity).
type Follower struct {
	// Lines gets lines, each with its sequence number or with the error that kept it
	// out. It may be nil.
	Lines   func([]*Post)
	Changes *Changes // nil: nobody follows them
}

// Changes are what a Follower is told of changes. None is nil. An owner is what the
// caller has given with the change, in this process; nil: the change has come from
// elsewhere.
type Changes struct {
	// Created gets rooms that were created together (Room.Owner), and the name of
	// their creator, if the request did not come over the network (Room.Creator).
	Created func(rooms []Room, by string)
	// Deleted gets a room that went to the trash, what its members are to be told,
	// and the address of its deleter, if the request came over the network.
	Deleted func(r Room, say, from string)
	// Updated gets a room as it is now, and what was changed of it (Edit.Owner).
	Updated func(Room, Edit)
	// Restored gets a room that is back from the trash, and the number of its newest
	// line.
	Restored func(r Room, last uint64, owner any)
	// Purged gets a room that is gone for good as somebody wanted it.
	Purged func(Room)
	// Banned gets bans and mutes that are in force now, Unbanned the IDs of those that
	// are no longer.
	Banned   func(bans []Ban, owner any)
	Unbanned func(ids []uint64)
}
