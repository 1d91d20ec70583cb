// Package browsertest has the tests that look at the page as people do: in a real browser, Debian's
// headless Chromium, with the real program behind it, which is killed and upgraded meanwhile. It
// finds things by what a screen reader is told of them, roles and names, and compares the codes and
// texts that a test has said itself. There is nothing here for others to import.
//
// One browser serves all tests of the package; each person in it has a profile of their own. A
// person that is left with an error in the console, an exception, a violation of the content
// security policy, a failed request or a request elsewhere fails the test, whatever it is about.
//
// Without the browser the tests are skipped, except in CI (the variable CI is set).
package browsertest
