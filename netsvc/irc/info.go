package irc

import "fmt"

// motd appends the message of the day: how the rooms are reached without IRC.
func (c *client) motd() {
	host := c.server.host()
	c.replyText(rplMotdStart, fmt.Sprintf("- %s Message of the day -", host))
	for _, l := range []string{
		"The rooms here are open to every client of plain text, too:",
		fmt.Sprintf("nc %s %d lists them, and each has a port of its own.", host, c.Service().Port()),
		"What is said is kept: you see what you have missed when you come back.",
	} {
		c.replyText(rplMotd, "- "+l)
	}
	c.reply(rplEndOfMotd)
}
