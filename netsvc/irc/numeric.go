package irc

import "strconv"

// Numeric is a reply with three digits: RFC 2812, section 5, and
// https://modern.ircdocs.horse/#numerics. Names are those of the specifications.
type Numeric uint16

const (
	rplWelcome         Numeric = 1
	rplYourHost        Numeric = 2
	rplCreated         Numeric = 3
	rplMyInfo          Numeric = 4
	rplISupport        Numeric = 5
	rplEndOfStats      Numeric = 219
	rplUModeIs         Numeric = 221
	rplStatsUptime     Numeric = 242
	rplLUserClient     Numeric = 251
	rplLUserOp         Numeric = 252
	rplLUserUnknown    Numeric = 253
	rplLUserChannels   Numeric = 254
	rplLUserMe         Numeric = 255
	rplAdminMe         Numeric = 256
	rplAdminLoc1       Numeric = 257
	rplAdminLoc2       Numeric = 258
	rplAdminEmail      Numeric = 259
	rplTraceEnd        Numeric = 262
	rplTryAgain        Numeric = 263
	rplLocalUsers      Numeric = 265
	rplGlobalUsers     Numeric = 266
	rplAway            Numeric = 301
	rplUserHost        Numeric = 302
	rplIsOn            Numeric = 303
	rplUnaway          Numeric = 305
	rplNowAway         Numeric = 306
	rplWhoisUser       Numeric = 311
	rplWhoisServer     Numeric = 312
	rplWhowasUser      Numeric = 314
	rplEndOfWho        Numeric = 315
	rplWhoisIdle       Numeric = 317
	rplEndOfWhois      Numeric = 318
	rplWhoisChannels   Numeric = 319
	rplListStart       Numeric = 321
	rplList            Numeric = 322
	rplListEnd         Numeric = 323
	rplChannelModeIs   Numeric = 324
	rplCreationTime    Numeric = 329
	rplWhoisAccount    Numeric = 330
	rplNoTopic         Numeric = 331
	rplTopic           Numeric = 332
	rplTopicWhoTime    Numeric = 333
	rplWhoisActually   Numeric = 338
	rplInviting        Numeric = 341
	rplVersion         Numeric = 351
	rplWhoReply        Numeric = 352
	rplNamReply        Numeric = 353
	rplWhoSpcReply     Numeric = 354
	rplLinks           Numeric = 364
	rplEndOfLinks      Numeric = 365
	rplEndOfNames      Numeric = 366
	rplBanList         Numeric = 367
	rplEndOfBanList    Numeric = 368
	rplEndOfWhowas     Numeric = 369
	rplInfo            Numeric = 371
	rplMotd            Numeric = 372
	rplEndOfInfo       Numeric = 374
	rplMotdStart       Numeric = 375
	rplEndOfMotd       Numeric = 376
	rplWhoisHost       Numeric = 378
	rplTime            Numeric = 391
	errUnknownError    Numeric = 400
	errNoSuchNick      Numeric = 401
	errNoSuchServer    Numeric = 402
	errNoSuchChannel   Numeric = 403
	errCannotSend      Numeric = 404
	errTooManyChannels Numeric = 405
	errWasNoSuchNick   Numeric = 406
	errTooManyTargets  Numeric = 407
	errNoOrigin        Numeric = 409
	errInvalidCapCmd   Numeric = 410
	errNoRecipient     Numeric = 411
	errNoTextToSend    Numeric = 412
	errTooManyMatches  Numeric = 416
	errInputTooLong    Numeric = 417
	errUnknownCommand  Numeric = 421
	errNoMotd          Numeric = 422
	errNoNicknameGiven Numeric = 431
	errErroneousNick   Numeric = 432
	errNicknameInUse   Numeric = 433
	errUnavailable     Numeric = 437 // ERR_UNAVAILRESOURCE
	errUserNotInRoom   Numeric = 441 // ERR_USERNOTINCHANNEL
	errNotOnChannel    Numeric = 442
	errUserOnChannel   Numeric = 443
	errNotRegistered   Numeric = 451
	errNeedMoreParams  Numeric = 461
	errAlreadyReg      Numeric = 462 // ERR_ALREADYREGISTERED
	errPasswdMismatch  Numeric = 464
	errYoureBanned     Numeric = 465 // ERR_YOUREBANNEDCREEP
	errChannelIsFull   Numeric = 471
	errUnknownMode     Numeric = 472
	errInviteOnly      Numeric = 473
	errBannedFromChan  Numeric = 474
	errBadChannelKey   Numeric = 475
	errBadChanMask     Numeric = 476
	errNoPrivileges    Numeric = 481
	errChanOpPrivs     Numeric = 482 // ERR_CHANOPRIVSNEEDED
	errNoOperHost      Numeric = 491
	errUModeUnknown    Numeric = 501 // ERR_UMODEUNKNOWNFLAG
	errUsersDontMatch  Numeric = 502
	errHelpNotFound    Numeric = 524
	rplWhoisSecure     Numeric = 671
	errInvalidModePar  Numeric = 696 // ERR_INVALIDMODEPARAM
	rplHelpStart       Numeric = 704
	rplHelpTxt         Numeric = 705
	rplEndOfHelp       Numeric = 706
	rplMonOnline       Numeric = 730
	rplMonOffline      Numeric = 731
	rplMonList         Numeric = 732
	rplEndOfMonList    Numeric = 733
	errMonListFull     Numeric = 734
	rplLoggedIn        Numeric = 900
	rplLoggedOut       Numeric = 901
	errNickLocked      Numeric = 902
	rplSASLSuccess     Numeric = 903
	errSASLFail        Numeric = 904
	errSASLTooLong     Numeric = 905
	errSASLAborted     Numeric = 906
	errSASLAlready     Numeric = 907
	rplSASLMechs       Numeric = 908
)

// numericTexts has the text that is the last parameter of a numeric, where that is constant.
var numericTexts = map[Numeric]string{
	rplISupport:        "are supported by this server",
	rplEndOfStats:      "End of STATS",
	rplAdminMe:         "Administrative info",
	rplTraceEnd:        "End of TRACE",
	rplEndOfLinks:      "End of LINKS",
	rplTryAgain:        "Wait a moment and try again",
	rplLUserOp:         "operators online",
	rplLUserUnknown:    "unregistered connections",
	rplLUserChannels:   "rooms",
	rplUnaway:          "You are no longer marked as away",
	rplNowAway:         "You are marked as away",
	rplEndOfWho:        "End of the WHO list",
	rplWhoisIdle:       "seconds idle, connected since",
	rplEndOfWhois:      "End of WHOIS",
	rplListStart:       "Members  Topic",
	rplListEnd:         "End of LIST",
	rplWhoisAccount:    "is logged in as",
	rplNoTopic:         "No topic is set",
	rplEndOfNames:      "End of NAMES",
	rplEndOfBanList:    "End of the list of bans",
	rplEndOfWhowas:     "End of WHOWAS",
	rplEndOfInfo:       "End of INFO",
	rplEndOfMotd:       "End of MOTD",
	errNoSuchNick:      "Nobody here has that nick",
	errNoSuchServer:    "No server has that name",
	errNoSuchChannel:   "No room has that name",
	errCannotSend:      "You cannot write there",
	errTooManyChannels: "You are in too many rooms",
	errWasNoSuchNick:   "Nobody is remembered by that nick",
	errTooManyTargets:  "Too many targets",
	errNoOrigin:        "No token was given",
	errInvalidCapCmd:   "CAP has no such subcommand",
	errNoRecipient:     "No recipient was given",
	errNoTextToSend:    "No text to send",
	errTooManyMatches:  "More people match: these are the first ones",
	errInputTooLong:    "The line is too long: nothing of it was sent",
	errUnknownCommand:  "Unknown command: HELP lists the commands",
	errNoMotd:          "There is no message of the day",
	errNoNicknameGiven: "No nick was given",
	errErroneousNick:   "That cannot be a nick",
	errNicknameInUse:   "Somebody else has that nick",
	errUnavailable:     "That is not available now",
	errUserNotInRoom:   "They are not in that room",
	errNotOnChannel:    "You are not in that room",
	errUserOnChannel:   "is in that room already",
	errNotRegistered:   "Send NICK and USER first",
	errNeedMoreParams:  "Parameters are missing",
	errAlreadyReg:      "You have registered already",
	errPasswdMismatch:  "Wrong password",
	errYoureBanned:     "You are banned from this server",
	errChannelIsFull:   "The room is full",
	errUnknownMode:     "is no mode of a room",
	errInviteOnly:      "The room is for invited people",
	errBannedFromChan:  "You are banned from that room",
	errBadChannelKey:   "The password of the room is wrong or missing",
	errBadChanMask:     "That cannot be the name of a room",
	errNoPrivileges:    "Only the operator can do that, on the server's console",
	errChanOpPrivs:     "Only the operator can do that, on the server's console",
	errNoOperHost:      "The operator works on the server's console, not over IRC",
	errUModeUnknown:    "No such user mode",
	errUsersDontMatch:  "You can only change your own modes",
	errHelpNotFound:    "There is no help about that",
	rplWhoisSecure:     "uses TLS",
	rplEndOfHelp:       "End of HELP",
	rplEndOfMonList:    "End of MONITOR list",
	errMonListFull:     "The list is full",
	rplLoggedOut:       "You are logged out",
	errNickLocked:      "You have to log in to use that nick",
	rplSASLSuccess:     "You are logged in",
	errSASLFail:        "Login failed",
	errSASLTooLong:     "The SASL message is too long",
	errSASLAborted:     "The login was cancelled",
	errSASLAlready:     "You are logged in already",
	rplSASLMechs:       "are the mechanisms for logging in",
}

// String returns the three digits.
func (n Numeric) String() string {
	const zeros = "000"
	s := strconv.Itoa(int(n))
	return zeros[:max(len(zeros)-len(s), 0)] + s
}

// Text returns the constant text of the numeric, or "".
func (n Numeric) Text() string { return numericTexts[n] }

// appendNumeric appends a numeric to client ("*" before it has a nick), with its constant text, if
// it has one, behind the parameters.
func appendNumeric(b []byte, host, client string, n Numeric, params ...string) []byte {
	return appendReply(b, host, client, n, n.Text(), params...)
}

// appendReply is appendNumeric with another text; "": none.
func appendReply(b []byte, host, client string, n Numeric, text string, params ...string) []byte {
	var all [maxParams]string
	all[0] = client
	k := 1 + copy(all[1:maxParams-1], params)
	if text != "" {
		all[k] = text
		k++
	}
	return appendLine(b, host, n.String(), all[:k]...)
}
